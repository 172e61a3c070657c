"""Lognormal moments at the stations of convolutional nets with batch norm.

Means are the engine's, logarithms of means over nets; deviations are linear in the fluctuations. What N
channels have by chance, given the covariance before them, is added (`finite_channel_variance`).
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np

from ....covariances.storage import Covariance, block_index
from ....maps.batch_norm import spectrum
from ...infinite_width.state import State
from ...protocol import Station
from ..closures import Closures
from ..shared.fluctuations import FluctuationRecursion
from ..shared.lognormal import Laws, Lognormal
from ..shared.marchenko_pastur import sampled_largest
from ..shared.matrices import image_norms
from .channel_noise_rank import channel_noise_rank
from .record import BatchNormRecord
from .stations import (
    activated_moments,
    gaussian_moments,
    gaussian_variances,
    normalised_moments,
    of_log_means,
    with_chi,
)
from .unit_fluctuations import UnitFluctuations


class ChannelNoise(NamedTuple):
    """Of what the covariance of the noise over channels is made (`channel_noise_rank`)."""

    factors: list[float]
    first: tuple[float, float]


class Terms(Protocol):
    """What the laws need of the fluctuations beside a walk: `convolutional.FiniteTerms` has it."""

    width: int
    closures: Closures
    at_input: tuple[float, float]
    draw: float
    residual: bool
    passed: BatchNormRecord | None
    channel_noise: ChannelNoise | None
    ranks: Laws
    chosen: np.ndarray
    fluctuations: UnitFluctuations
    trails: dict[str, FluctuationRecursion]
    leading_vectors: np.ndarray | None

    @property
    def standing(self) -> State:
        """Where the signal stands."""

    def few(self, signal: Covariance, *, raw: bool = False) -> np.ndarray:
        """Covariance of the few points, centred unless `raw`."""


def laws_of(terms: Terms, station: Station) -> Laws:
    """The moments of a station that the engine `terms` just took."""
    log_means, loc, log_input = station.moments, station.loc, terms.at_input[0]
    if terms.standing.images is not None:
        laws = of_log_means(log_means, dict.fromkeys(log_means, 0.0) | {"log_mu2_noise": terms.draw})
        return with_chi(laws, 0.0, log_input)
    if terms.passed is not None and loc == "norm":
        return normalised_moments(terms.passed, log_means, log_input)
    if terms.passed is not None and (loc == "act" or (loc == "input" and not terms.residual)):
        laws = activated_moments(terms.passed, log_means, log_input)
        return laws | terms.ranks if loc == "act" else laws
    signal, fluctuations = terms.standing.covariance, terms.fluctuations
    variances = gaussian_variances(
        signal.diagonal,
        signal.centred_diagonal,
        fluctuations.norms_here,
        *(fluctuations.sampled_norms(terms.few(signal, raw=raw)) for raw in (False, True)),
    )
    correlated = float(np.mean(terms.trails["noise"].variance)) + 1.0 / signal.points
    return gaussian_moments(log_means, variances, fluctuations, 2.0 / terms.width * correlated, log_input)


def ranks(terms: Terms, moments: dict[str, float]) -> Laws:
    """Effective ranks after a ReLU.

    That of the signal is that of infinite width, its largest eigenvalue raised as sampling raises it
    (`shared.marchenko_pastur`). Its deviation has two parts: the sampling of the leading eigenvector's own
    variance, and the norms of images. The part of an image that is constant over its positions, of which that
    eigenvector is made, follows the image's norm with an elasticity that the images of the batch show
    themselves (heuristic; of no less than 1). Where the leading eigenvalue does not stand apart from the
    others, the deviation of the edge of a bulk takes the place of the first part.
    """
    passed, noises = terms.passed, terms.channel_noise
    assert passed is not None and noises is not None, "ranks are taken behind a batch norm"
    signal, images = terms.standing.covariance, len(terms.chosen)
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
    sampling = (passed.through.leading_kurtosis - 1.0) * float(terms.trails["mode"].variance)
    alone = sampling * sampled.apart * top / sampled.value + (1.0 - sampled.apart) * sampled.edge**2
    variance = alone * (1.0 - 1.0 / rank) ** 2 + float(slope @ passed.norms_behind @ slope)

    leading = float(np.linalg.eigvalsh(passed.few)[-1] / np.trace(passed.few))
    sizes = terms.width * passed.channels.batch.variance
    noise, deviation = channel_noise_rank(
        terms.width, noises.factors, noises.first, sizes, leading, passed.through.masks, terms.closures
    )
    # With fewer points than channels the points' own variances decide, as at infinite width.
    noise = min(noise, moments["reff_noise"])
    return {"reff_signal": Lognormal(rank, variance * rank**2), "reff_noise": Lognormal(noise, deviation**2)}
