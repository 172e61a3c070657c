"""Where a net with batch norm stands between two units: its channels' population, and how it fluctuates.

See `batch_normalised`, which carries it from unit to unit.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from .arc_cosine import correlations
from .channel_noise import NoiseFluctuation
from .coherence import Coherent, Growth
from .diagonal_law import diffused
from .matrices import centred, with_diagonal


@dataclass(frozen=True)
class NoiseLaw:
    """The noise's variances over points and nets.

    Attributes
    ----------
    log_mean : float
        Logarithm of E D.
    alone, across : NoiseFluctuation
        Variance of log D_ii, and covariance of two points' logarithms.
    whole : NoiseFluctuation
        Variance of the logarithm of mu2 of the noise.
    coherence : NoiseFluctuation
        r.
    overlap : Coherent
        zeta.
    with_signal : Coherent
        Its cross is the covariance of log mu2 of the noise with log mu2 of the N channels that are sampled.
    """

    log_mean: float
    alone: NoiseFluctuation
    across: NoiseFluctuation
    whole: NoiseFluctuation
    coherence: NoiseFluctuation
    overlap: Coherent
    with_signal: Coherent


@dataclass(frozen=True)
class Population:
    """Where a net stands between two units.

    Attributes
    ----------
    covariance : shape (M, M)
        Mean of the centred T.
    second : shape (M,)
        Mean of the diagonal of T, not centred.
    pairs : Coherent
        q.
    points : Coherent
        V, shape (M, M), of log T_ii.
    mean_points : Coherent
        The mean of its diagonal if batch norm had no restoring force, which drives `diagonal_law`.
    noise : NoiseLaw
    overlap : shape (M, M), or None
        What the channels' common first weights make signal and noise share: E C C' (`normalised`), until
        a ReLU. What is left behind it is of the order of 1 / (features of the images) and dropped.
    growth : Growth
        What V makes of the noise.
    """

    covariance: np.ndarray
    second: np.ndarray
    pairs: Coherent
    points: Coherent
    mean_points: Coherent
    noise: NoiseLaw
    growth: Growth
    overlap: np.ndarray | None = None


def of_images(images: np.ndarray, gain: float) -> Population:
    """Channels behind a linear layer of the images (n, features): N(0, gain times their Gram matrix)."""
    points, features = images.shape
    gram = gain / features * (images @ images.T)
    nothing = np.zeros((points, points))
    noise = NoiseLaw(
        math.log(gain),
        alone=NoiseFluctuation(0.0),  # the deviation of a single draw of the noise on the images is left out
        across=NoiseFluctuation(0.0),
        whole=NoiseFluctuation(0.0),
        coherence=NoiseFluctuation(1.0 / features),
        overlap=Coherent(0.0),
        with_signal=Coherent(0.0),
    )
    covariance = centred(gram)
    return Population(
        covariance,
        np.diag(gram).copy(),
        Coherent(0.0),
        Coherent(nothing, nothing),
        Coherent(0.0),
        noise,
        Growth(0.0, np.zeros(points)),
        gain / features * covariance,
    )


def resampled(before: Population, gain: float, width: int) -> Population:
    """Behind one more linear layer, whose population is the Gram matrix of N channels."""
    points, noise = len(before.covariance), before.noise
    c, _ = correlations(before.covariance)
    pairs = (1.0 + float((np.sum(c * c) - points) / max(points * (points - 1), 1))) / width
    covariance = with_diagonal(before.covariance, diffused(np.diag(before.covariance), 2.0 / width))
    r = noise.coherence.variance
    return Population(
        gain * covariance,
        gain * before.second,
        Coherent(before.pairs.variance + pairs),
        Coherent(before.points.variance + 2.0 / width * c * c, np.zeros((points, points))),
        Coherent(before.mean_points.variance + 2.0 / width),
        NoiseLaw(
            noise.log_mean + math.log(gain),
            alone=NoiseFluctuation(noise.alone.variance + 2.0 / width),
            across=NoiseFluctuation(noise.across.variance + 2.0 * r / width),
            whole=NoiseFluctuation(noise.whole.variance + (2.0 / points + 2.0 * r) / width),
            coherence=NoiseFluctuation(r + 1.0 / width),
            overlap=Coherent(noise.overlap.variance + 1.0 / width),
            with_signal=Coherent(0.0),
        ),
        before.growth,
        gain**2 * before.overlap,
    )
