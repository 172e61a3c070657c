"""Lognormal moments at the stations of convolutional nets with batch norm.

Means are the engine's, logarithms of means over nets; deviations are linear in the fluctuations. What N
channels have by chance, given the covariance before them, is added (`finite_channel_variance`).
"""

from __future__ import annotations

import numpy as np

from ....covariances.storage import block_index
from ....maps.batch_norm import spectrum
from ...protocol import Station
from ..shared.lognormal import Lognormal, chi_moment
from ..shared.marchenko_pastur import sampled_largest
from ..shared.matrices import image_norms
from .channel_noise_rank import channel_noise_rank


def laws_of(terms, station: Station) -> dict[str, Lognormal]:
    """The laws of a station that the engine `terms` just took."""
    moments, loc = station.moments, station.loc
    if loc == "norm":
        return _normalised(terms, moments)
    if loc == "act":
        return _activated(terms, moments) | terms.passed.ranks
    if loc == "input" and terms.passed is not None and not terms.residual:
        return _activated(terms, moments)
    if terms.state.images is not None:
        return _joined(terms, {name: Lognormal(value) for name, value in moments.items()}, 0.0)
    # Channels after the first layer of a branch are fresh.
    return _gaussian(terms, moments, 0.0 if loc == "conv" else terms.with_signal.cross)


def _joined(terms, laws: dict[str, Lognormal], grown: float, shared: float = 0.0) -> dict[str, Lognormal]:
    """Add the law of chi; `grown` is what of the noise's variance is no martingale's, so shifts no mean.

    `shared` is the covariance of log mu2 of signal and noise.
    """
    noise, signal = laws["log_mu2_noise"], laws["log_mu2_signal"]
    noise = laws["log_mu2_noise"] = Lognormal(noise.mean, noise.variance + grown)
    return laws | {"log_chi": chi_moment(noise, signal, terms.at_input[0], shared)}


def _normalised(terms, moments: dict) -> dict[str, Lognormal]:
    """After a batch norm, which fixes nu2 and mu2."""
    passed, width = terms.passed, terms.width
    (absolute, fourth), chance, bend = passed.slopes, passed.chance, passed.bend
    source = (passed.inverse_square - 1.0) / width
    share = source / max(passed.channels.pair.variance, source, 1e-300)
    sampling = passed.batch.variance + 2.0 * share * float(np.sum(passed.batch.cross)) + source
    laws = {
        "log_nu1_abs_signal": _odd(
            moments["log_nu1_abs_signal"], bend[0], chance.nu1 / width, absolute, passed
        ),
        "log_nu2_signal": Lognormal(moments["log_nu2_signal"]),
        "log_mu2_signal": Lognormal(moments["log_mu2_signal"]),
        "log_mu4_signal": _odd(moments["log_mu4_signal"], bend[1], chance.mu4 / width, fourth, passed),
        "log_mu2_noise": Lognormal.of_log_mean(moments["log_mu2_noise"], sampling),
    }
    return _joined(terms, laws, passed.grown)


def _activated(terms, moments: dict) -> dict[str, Lognormal]:
    """After a ReLU, without ranks."""
    passed, width = terms.passed, terms.width
    absolute, chance, bend = passed.slopes[0], passed.chance, passed.bend
    variances = {
        "log_nu2_signal": chance.nu2 / width,
        "log_mu2_signal": chance.mu2 / width,
        "log_mu2_noise": passed.batch.observed(passed.channels.pair),
    }
    nu1 = _odd(moments["log_nu1_abs_signal"], bend[0], chance.nu1 / width, absolute, passed)
    laws = {"log_nu1_abs_signal": nu1} | _about(moments, variances)
    return _joined(terms, laws, passed.grown)


def _odd(log_mean: float, bend: float, chance: float, slope: np.ndarray, passed) -> Lognormal:
    """Of nu1 or mu4: what its channels have by chance, and what V does to its mean and deviation."""
    by_chance = Lognormal.of_log_mean(log_mean, chance)
    return Lognormal(by_chance.mean + bend, chance + float(slope @ passed.points @ slope))


def _gaussian(terms, moments: dict, shared: float) -> dict[str, Lognormal]:
    """After a linear layer, or a sum with one: Gaussian channels."""
    signal, images = terms.state.signal, len(terms.chosen)
    chance = terms.gaussian_norms(signal)
    fluctuation = terms.points.variance + chance
    inner, own = signal.centred_diagonal, signal.diagonal
    kept = image_norms(inner, images) / image_norms(own, images)
    # What batch norm takes off, the channels' means, only has the chance of its last sampling.
    raw = terms.points.variance * np.outer(kept, kept) + terms.gaussian_norms(signal, raw=True)

    def variance(weights: np.ndarray, matrix: np.ndarray, power: float) -> float:
        shares = image_norms(weights, images) / weights.sum()
        return power**2 * float(shares @ matrix @ shares)

    whole = terms.batch_within()
    correlated = float(np.mean(terms.trails["noise"].variance)) + 1.0 / signal.points
    variances = {
        "log_nu1_abs_signal": variance(np.sqrt(own), raw, 0.5),
        "log_nu2_signal": variance(own, raw, 1.0),
        "log_mu2_signal": variance(inner, chance, 1.0),
        "log_mu4_signal": variance(inner**2, fluctuation, 2.0),
        "log_mu2_noise": whole.variance + 2.0 * whole.sampled + 2.0 / terms.width * correlated,
    }
    return _joined(terms, _about(moments, variances), terms.growth.variance, shared)


def _about(moments: dict, variances: dict) -> dict[str, Lognormal]:
    """Laws of these variances, whose means the engine took."""
    return {name: Lognormal.of_log_mean(moments[name], float(value)) for name, value in variances.items()}


def ranks(terms, state, moments: dict) -> dict[str, Lognormal]:
    """Effective ranks after a ReLU.

    That of the signal is that of infinite width, its largest eigenvalue raised as sampling raises it
    (`shared.marchenko_pastur`). Its deviation has two parts: the sampling of the leading eigenvector's own
    variance, and the norms of images. The part of an image that is constant over its positions, of which that
    eigenvector is made, follows the image's norm with an elasticity that the images of the batch show
    themselves (heuristic; of no less than 1). Where the leading eigenvalue does not stand apart from the
    others, the deviation of the edge of a bulk takes the place of the first part.
    """
    passed, signal, images = terms.passed, state.signal, len(terms.chosen)
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
