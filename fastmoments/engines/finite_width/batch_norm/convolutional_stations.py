"""Lognormal moments at the stations of convolutional nets with batch norm.

Means are the engine's, logarithms of means over nets; deviations are linear in the fluctuations. What N
channels have by chance, given the covariance before them, is added (`finite_channel_variance`).
"""

from __future__ import annotations

from typing import Protocol

import numpy as np

from ....covariances.storage import Covariance, block_index
from ....maps.batch_norm import spectrum
from ...infinite_width.state import State
from ...protocol import Station
from ..closures import Closures
from ..shared.fluctuations import FluctuationMatrices, FluctuationRecursion, FluctuationState, NoiseGain
from ..shared.lognormal import Laws, Lognormal
from ..shared.marchenko_pastur import sampled_largest
from ..shared.matrices import image_norms
from .channel_noise_rank import channel_noise_rank
from .noise_sampling import NoiseFluctuationState
from .record import BatchNormRecord
from .stations import (
    activated_moments,
    by_norms,
    gaussian_variances,
    noise_before_masks,
    normalised_moments,
    of_log_means,
    with_chi,
)


class Terms(Protocol):
    """What the laws need of the fluctuations beside a walk: `convolutional.FiniteTerms` has it."""

    width: int
    closures: Closures
    at_input: tuple[float, float]
    residual: bool
    passed: BatchNormRecord | None
    chosen: np.ndarray
    trails: dict[str, FluctuationRecursion]
    points: FluctuationMatrices
    growth: NoiseGain
    with_signal: FluctuationState[float]
    leading_vectors: np.ndarray | None

    @property
    def record(self) -> BatchNormRecord:
        """`passed`, behind a batch norm."""

    @property
    def standing(self) -> State:
        """Where the signal stands."""

    def gaussian_norms(self, signal: Covariance, *, raw: bool = False) -> np.ndarray:
        """Covariance of the logarithms of images' norms of Gaussian channels."""

    def batch_within(self) -> NoiseFluctuationState:
        """Of log mu2 of the noise, within a branch."""


def laws_of(terms: Terms, station: Station) -> Laws:
    """The moments of a station that the engine `terms` just took."""
    log_means, loc = station.moments, station.loc
    if loc == "norm":
        return _normalised(terms, log_means)
    if loc == "act":
        return _activated(terms, log_means) | terms.record.ranks
    if loc == "input" and terms.passed is not None and not terms.residual:
        return _activated(terms, log_means)
    if terms.standing.images is not None:
        return with_chi({name: Lognormal(value) for name, value in log_means.items()}, 0.0, terms.at_input[0])
    # Channels after the first layer of a branch are fresh.
    return _gaussian(terms, log_means, 0.0 if loc == "conv" else terms.with_signal.cross)


def _odd(terms: Terms, log_means: dict[str, float], which: int, name: str) -> Lognormal:
    """Of nu1 (0) or mu4 (1) after batch norm."""
    passed = terms.record
    slope, chance = passed.slopes[which], (passed.chance.nu1, passed.chance.mu4)[which]
    of_norms = float(slope @ passed.points @ slope)
    return by_norms(log_means[name], chance / terms.width, of_norms, passed.bend[which])


def _normalised(terms: Terms, log_means: dict[str, float]) -> Laws:
    passed = terms.record
    odd = {
        name: _odd(terms, log_means, which, name)
        for which, name in enumerate(("log_nu1_abs_signal", "log_mu4_signal"))
    }
    noise = noise_before_masks(passed.batch, passed.channels.before_masks(), passed.channels.pair.variance)
    return normalised_moments(log_means, odd, noise, passed.grown, terms.at_input[0])


def _activated(terms: Terms, log_means: dict[str, float]) -> Laws:
    passed = terms.record
    nu1 = _odd(terms, log_means, 0, "log_nu1_abs_signal")
    noise = passed.batch.observed(passed.channels.pair)
    return activated_moments(
        log_means, nu1, passed.chance, terms.width, noise, passed.grown, terms.at_input[0]
    )


def _gaussian(terms: Terms, log_means: dict[str, float], shared: float) -> Laws:
    """After a linear layer, or a sum with one: Gaussian channels."""
    signal, norms = terms.standing.covariance, terms.points.variance
    sampled, raw = terms.gaussian_norms(signal), terms.gaussian_norms(signal, raw=True)
    variances = gaussian_variances(signal.diagonal, signal.centred_diagonal, norms, sampled, raw)
    batch = terms.batch_within()
    correlated = float(np.mean(terms.trails["noise"].variance)) + 1.0 / signal.points
    variances["log_mu2_noise"] = batch.variance + 2.0 * batch.sampled + 2.0 / terms.width * correlated
    laws = of_log_means(log_means, variances)
    return with_chi(laws, terms.growth.variance, terms.at_input[0], shared)


def ranks(terms: Terms, moments: dict[str, float]) -> Laws:
    """Effective ranks after a ReLU.

    That of the signal is that of infinite width, its largest eigenvalue raised as sampling raises it
    (`shared.marchenko_pastur`). Its deviation has two parts: the sampling of the leading eigenvector's own
    variance, and the norms of images. The part of an image that is constant over its positions, of which that
    eigenvector is made, follows the image's norm with an elasticity that the images of the batch show
    themselves (heuristic; of no less than 1). Where the leading eigenvalue does not stand apart from the
    others, the deviation of the edge of a bulk takes the place of the first part.
    """
    passed, signal, images = terms.record, terms.standing.covariance, len(terms.chosen)
    found = spectrum(signal, terms.leading_vectors, None)
    terms.leading_vectors = found.block
    values, counts = found.weighted_values
    order = np.argsort(values)
    top = float(found.values.max())
    pairs = float(np.mean(terms.trails["leading"].variance))
    sampled = sampled_largest(values[order], counts[order], pairs)
    rank = moments["reff_signal"] * top / sampled.value

    norms = image_norms(signal.centred_diagonal, images)
    own = signal.blocks[np.diag(block_index(images))].mean((1, 2))
    constant = own - 2.0 * signal.means.reshape(images, -1).mean(1)
    log_norms = np.log(np.maximum(norms, 1e-300))
    apart = log_norms - log_norms.mean()
    elasticity = float(apart @ np.log(np.maximum(constant, 1e-300)) / max(apart @ apart, 1e-300))
    shares = image_norms(found.vectors[:, np.argmax(found.values)] ** 2, images)
    slope = max(elasticity, terms.closures.least_elasticity) * shares - norms / norms.sum()
    points = passed.response @ passed.points @ passed.response.T + passed.fresh
    sampling = (passed.through.leading_kurtosis - 1.0) * float(terms.trails["mode"].variance)
    alone = sampling * sampled.apart * top / sampled.value + (1.0 - sampled.apart) * sampled.edge**2
    variance = alone * (1.0 - 1.0 / rank) ** 2 + float(slope @ points @ slope)

    leading = float(np.linalg.eigvalsh(passed.few)[-1] / np.trace(passed.few))
    sizes = terms.width * passed.channels.pair.variance
    noise, deviation = channel_noise_rank(
        terms.width, passed.noise_factors, passed.first, sizes, leading, passed.through.masks, terms.closures
    )
    # With fewer points than channels the points' own variances decide, as at infinite width.
    noise = min(noise, moments["reff_noise"])
    return {"reff_signal": Lognormal(rank, variance * rank**2), "reff_noise": Lognormal(noise, deviation**2)}
