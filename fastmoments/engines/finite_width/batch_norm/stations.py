"""Lognormal moments at the stations of a net with batch norm, on a lattice of points (image, position).

A fully connected net is the lattice of one position. With V the covariance over nets of the logarithms of the
norms of images (means of T_aa over positions), a moment F(T) has

    Var log F = grad' V grad + (finite-channel variance) / N,

grad its derivative by the logarithms of the norms. V shifts means as well, E F = F(E T) + tr F'' V / 2 at
O(1/N): the mean covariance has the diffused norms in it (`norm_diffusion`), so that the mean of a logarithm
lies Var / 2 below the logarithm of the mean, which is given.
"""

from __future__ import annotations

import math

import numpy as np

from ..shared.lognormal import Laws, Lognormal, chi_moment
from ..shared.matrices import image_norms
from .noise_sampling import NoiseFluctuationState
from .record import BatchNormRecord
from .unit_fluctuations import UnitFluctuations


def with_chi(laws: Laws, grown: float, log_input: float, shared: float = 0.0) -> Laws:
    """Moments with that of chi.

    Parameters
    ----------
    laws : dict
    grown : float
        What V adds to the variance of log mu2 of the noise. It is no martingale's, so shifts no mean.
    log_input : float
        Logarithm of mu2 of the images.
    shared : float
        Covariance of log mu2 of signal and noise.
    """
    noise = laws["log_mu2_noise"]
    noise = laws["log_mu2_noise"] = Lognormal(noise.mean, noise.variance + grown)
    return laws | {"log_chi": chi_moment(noise, laws["log_mu2_signal"], log_input, shared)}


def of_log_means(log_means: dict[str, float], variances: dict[str, float]) -> Laws:
    """Moments of these variances, from the logarithms of their means."""
    return {name: Lognormal.of_log_mean(log_means[name], float(value)) for name, value in variances.items()}


def noise_before_masks(noise: NoiseFluctuationState, source: float, whole: float) -> float:
    """Sampling variance of log mu2 of the noise between batch norm and ReLU.

    Parameters
    ----------
    noise : NoiseFluctuationState
        Before batch norm.
    source, whole : float
        Sampling variance without and with masks, of which their covariance with what was before has the
        same share.
    """
    share = source / max(whole, source, 1e-300)
    return noise.variance + 2.0 * share * float(np.sum(noise.cross)) + source


def _odd(passed: BatchNormRecord, log_means: dict[str, float], which: int, name: str) -> Lognormal:
    """Of nu1 (0) or mu4 (1) after batch norm."""
    slope, chance = passed.slopes[which], (passed.chance.nu1, passed.chance.mu4)[which]
    of_norms = float(slope @ passed.norms @ slope)
    return Lognormal.of_log_mean(log_means[name], chance / passed.channels.width + of_norms)


def normalised_moments(passed: BatchNormRecord, log_means: dict[str, float], log_input: float) -> Laws:
    """Station after batch norm, which fixes nu2 and mu2.

    Parameters
    ----------
    passed : BatchNormRecord
    log_means : dict
        Logarithms of means over nets.
    log_input : float
        As of `with_chi`.
    """
    laws = {
        name: _odd(passed, log_means, which, name)
        for which, name in enumerate(("log_nu1_abs_signal", "log_mu4_signal"))
    }
    laws |= {name: Lognormal(log_means[name]) for name in ("log_nu2_signal", "log_mu2_signal")}
    channels = passed.channels
    noise = noise_before_masks(passed.noise, channels.before_masks(), channels.batch.variance)
    laws |= of_log_means(log_means, {"log_mu2_noise": noise})
    return with_chi(laws, passed.grown, log_input)


def activated_moments(passed: BatchNormRecord, log_means: dict[str, float], log_input: float) -> Laws:
    """Station after the ReLU, without ranks; arguments as of `normalised_moments`.

    Batch norm fixes the sum of squares; only which half the ReLU keeps is random. nu1 is half of that before
    the ReLU, as a channel's mean is 0.
    """
    width = passed.channels.width
    variances = {
        "log_nu2_signal": passed.chance.nu2 / width,
        "log_mu2_signal": passed.chance.mu2 / width,
        "log_mu2_noise": passed.noise.observed(passed.channels.batch),
    }
    name = "log_nu1_abs_signal"
    laws = {name: _odd(passed, log_means, 0, name)} | of_log_means(log_means, variances)
    return with_chi(laws, passed.grown, log_input)


def gaussian_moments(
    log_means: dict[str, float], variances: dict[str, float], fluctuations: UnitFluctuations, sampled: float,
    log_input: float,
) -> Laws:  # fmt: skip
    """Station behind a linear layer, or a sum with one: N Gaussian channels.

    Parameters
    ----------
    log_means : dict
    variances : dict
        Of the signal's moments: `gaussian_variances`.
    fluctuations : UnitFluctuations
    sampled : float
        What N channels add to the variance of log mu2 of the noise.
    log_input : float
        As of `with_chi`.
    """
    noise = fluctuations.noise_here
    of_noise = {"log_mu2_noise": noise.variance + 2.0 * noise.sampled + sampled}
    laws = of_log_means(log_means, variances | of_noise)
    return with_chi(laws, fluctuations.grown_here, log_input, fluctuations.shared_here)


def gaussian_variances(
    own: np.ndarray, inner: np.ndarray, norms: np.ndarray, sampled: np.ndarray, raw: np.ndarray
) -> dict[str, float]:
    """Variances of the logarithms of moments of N Gaussian channels sampled after a linear layer.

    Every moment is a sum over points, log F = log sum_a w_a^(power): its variance is power^2 p' C p with the
    shares p of the images in the sum and the covariance C of the logarithms of their norms.

    Parameters
    ----------
    own, inner : shape (points,)
        Diagonals of the mean covariance, and of the same centred.
    norms : shape (images, images)
        V.
    sampled, raw : shape (images, images)
        What N channels add to it by chance: centred, and with their means.
    """
    images = len(norms)
    # What batch norm takes off, the channels' means, only has the chance of its last sampling.
    kept = image_norms(inner, images) / image_norms(own, images)
    raw = norms * np.outer(kept, kept) + raw

    def variance(weights: np.ndarray, matrix: np.ndarray, power: float) -> float:
        shares = image_norms(weights, images) / weights.sum()
        return power**2 * float(shares @ matrix @ shares)

    return {
        "log_nu1_abs_signal": variance(np.sqrt(own), raw, 0.5),
        "log_nu2_signal": variance(own, raw, 1.0),
        "log_mu2_signal": variance(inner, sampled, 1.0),
        "log_mu4_signal": variance(inner**2, norms + sampled, 2.0),
    }


def log_gaussian_means(own: np.ndarray, inner: np.ndarray) -> dict[str, float]:
    """Logarithms of nu1, nu2, mu2 and mu4 of Gaussian channels of these diagonals, shape (points,)."""
    return {
        "log_nu1_abs_signal": math.log(float(np.mean(np.sqrt(2.0 / math.pi * own)))),
        "log_nu2_signal": math.log(float(own.mean())),
        "log_mu2_signal": math.log(float(inner.mean())),
        "log_mu4_signal": math.log(float(3.0 * np.mean(inner**2))),
    }
