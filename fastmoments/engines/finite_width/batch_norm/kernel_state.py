"""State of the kernel of a net with batch norm between two units: mean, and covariances of its fluctuations.

See `fully_connected`, which carries it from unit to unit.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ..closures import CLOSURES, Closures
from ..shared.fluctuations import FluctuationMatrices, FluctuationState, NoiseGain
from ..shared.matrices import centred, with_diagonal
from ..shared.relu_moments import correlations
from .noise_sampling import NoiseFluctuationState
from .norm_diffusion import diffused


@dataclass(frozen=True)
class NoiseState:
    """The noise's variances over points and nets.

    Attributes
    ----------
    log_mean : float
        Logarithm of E D.
    point, pair : NoiseFluctuationState
        Variance of log D_ii, and covariance of two points' logarithms.
    batch : NoiseFluctuationState
        Variance of the logarithm of mu2 of the noise.
    correlation : NoiseFluctuationState
        r: mean square of the correlation of two points' noises.
    signal : FluctuationState
        zeta: N times the relative variance of the covariance of signal and noise.
    with_signal : FluctuationState
        Its cross is the covariance of log mu2 of the noise with log mu2 of the N channels that are sampled.
    """

    log_mean: float
    point: NoiseFluctuationState
    pair: NoiseFluctuationState
    batch: NoiseFluctuationState
    correlation: NoiseFluctuationState
    signal: FluctuationState[float]
    with_signal: FluctuationState[float]


@dataclass(frozen=True)
class KernelState:
    """Mean kernel of the channels between two units, and its fluctuations, which are of order N^-1/2.

    Attributes
    ----------
    covariance : shape (M, M)
        Mean of the centred T.
    second : shape (M,)
        Mean of the diagonal of T, not centred.
    pairs : FluctuationState
        q: relative variance of T_ij, i != j.
    norms : FluctuationMatrices
        V, shape (M, M): covariance over nets of log T_ii and log T_jj.
    free_norms : FluctuationState
        The mean of its diagonal if batch norm had no restoring force, which drives `norm_diffusion`.
    noise : NoiseState
    shared_weights : shape (M, M), or None
        What the channels' common first weights make signal and noise share: E C C' (`response`), until
        a ReLU. What is left after it is of the order of 1 / (features of the images) and dropped.
    noise_gain : NoiseGain
        What V makes of the noise.
    """

    covariance: np.ndarray
    second: np.ndarray
    pairs: FluctuationState[float]
    norms: FluctuationMatrices
    free_norms: FluctuationState[float]
    noise: NoiseState
    noise_gain: NoiseGain
    shared_weights: np.ndarray | None = None


def of_images(images: np.ndarray, gain: float) -> KernelState:
    """Channels after a linear layer of the images (n, features): N(0, gain times their Gram matrix)."""
    points, features = images.shape
    gram = gain / features * (images @ images.T)
    nothing = np.zeros((points, points))
    noise = NoiseState(
        math.log(gain),
        point=NoiseFluctuationState(
            0.0
        ),  # the deviation of a single draw of the noise on the images is left out
        pair=NoiseFluctuationState(0.0),
        batch=NoiseFluctuationState(0.0),
        correlation=NoiseFluctuationState(1.0 / features),
        signal=FluctuationState(0.0),
        with_signal=FluctuationState(0.0),
    )
    covariance = centred(gram)
    return KernelState(
        covariance,
        np.diag(gram).copy(),
        FluctuationState(0.0),
        FluctuationMatrices(nothing, nothing),
        FluctuationState(0.0),
        noise,
        NoiseGain(0.0, np.zeros(points)),
        gain / features * covariance,
    )


def resampled(before: KernelState, gain: float, width: int, closures: Closures = CLOSURES) -> KernelState:
    """After one more linear layer, whose population is the Gram matrix of N channels."""
    points, noise = len(before.covariance), before.noise
    c, _ = correlations(before.covariance)
    pairs = (1.0 + float((np.sum(c * c) - points) / max(points * (points - 1), 1))) / width
    covariance = with_diagonal(before.covariance, diffused(np.diag(before.covariance), 2.0 / width, closures))
    r = noise.correlation.variance
    return KernelState(
        gain * covariance,
        gain * before.second,
        FluctuationState(before.pairs.variance + pairs),
        FluctuationMatrices(before.norms.variance + 2.0 / width * c * c, np.zeros((points, points))),
        FluctuationState(before.free_norms.variance + 2.0 / width),
        NoiseState(
            noise.log_mean + math.log(gain),
            point=NoiseFluctuationState(noise.point.variance + 2.0 / width),
            pair=NoiseFluctuationState(noise.pair.variance + 2.0 * r / width),
            batch=NoiseFluctuationState(noise.batch.variance + (2.0 / points + 2.0 * r) / width),
            correlation=NoiseFluctuationState(r + 1.0 / width),
            signal=FluctuationState(noise.signal.variance + 1.0 / width),
            with_signal=FluctuationState(0.0),
        ),
        before.noise_gain,
        None if before.shared_weights is None else gain**2 * before.shared_weights,
    )
