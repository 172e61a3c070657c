"""Norms whose divisor is deterministic at infinite width: over channels, and batch norm of a population.

All are K'_pq = f_p f_q (K_pq - l_p r_q - r_p l_q) and D'_pq = f_p f_q D_pq. The part of the noise along the
signal, which a layer norm takes away, is one direction among infinitely many channels.
"""

from __future__ import annotations

import math

import numpy as np

from ..covariances.scales import log
from ..covariances.storage import Covariance, NoiseCovariance, gather_row_sums, pairs


def channel_norm(
    signal: Covariance, noise: NoiseCovariance, epsilon: float, gamma: float, share: float | np.ndarray,
    image: bool,
) -> np.ndarray:  # fmt: skip
    """Norm over channels, in place: K'_pq = E (y_p - m_p)(y_q - m_q) / sqrt((v_p + epsilon)(v_q + epsilon)).

    Exact at infinite width.

    Parameters
    ----------
    signal, noise : overwritten
    epsilon, gamma : float
    share : float or ndarray, shape (points or 1,)
        Mean over channels relative to the root of the mean square.
    image : bool
        Whether m and v are over all positions of an image, and not of each by itself.

    Returns
    -------
    ndarray, shape (points,)
        Means over channels behind it, in units of the root of the signal's scale.

    Raises
    ------
    ValueError
        If a point has no variance over channels and epsilon is 0.
    """
    mean = share * np.sqrt(signal.diagonal)
    taken, square = mean, signal.diagonal
    if image:
        taken, square = (_over_images(values, noise.seen) for values in (mean, square))
    # What rounding leaves of a variance that is 0 is none.
    variance = np.where(square - taken**2 > 1e-14 * square, square - taken**2, 0.0)
    return (mean - taken) * _divide(signal, noise, (taken, mean - 0.5 * taken), variance, epsilon, gamma)


def population_norm(
    signal: Covariance, noise: NoiseCovariance, epsilon: float, gamma: float, means: np.ndarray | None = None
) -> np.ndarray | None:
    """Batch norm that divides by the deterministic deviation, in place: K' = HKH / (tr HKH / M + epsilon).

    `means` over channels before it, if they are known, give those behind it, in the same units: of the root
    of the signal's scale.

    Raises
    ------
    ValueError
        If the signal does not vary over the points and epsilon is 0.
    """
    variance = np.full(signal.points, signal.centred_diagonal.mean())
    left_right = signal.means, np.ones(signal.points)
    factors = _divide(signal, noise, left_right, variance, epsilon, gamma)
    return None if means is None else factors * (means - means.mean())


def _over_images(values: np.ndarray, images: int) -> np.ndarray:
    """Means over the positions of each image, at every point."""
    means = values.reshape(images, -1).mean(1)
    return np.repeat(means, values.size // images)


def _divide(
    signal: Covariance, noise: NoiseCovariance, taken: tuple[np.ndarray, np.ndarray], variance: np.ndarray,
    epsilon: float, gamma: float,
) -> np.ndarray:  # fmt: skip
    """Take l_p r_q + r_p l_q off and divide by the deviations, in place; the factors on the blocks' roots."""
    from ..kernels.threads import spread

    if epsilon == 0.0 and not variance.all():
        raise ValueError(
            "A norm with epsilon 0 of a signal without variance has no value; use an epsilon above 0, or "
            "images and paddings that leave no point at 0."
        )
    left, right = taken
    diagonal = np.maximum(signal.diagonal - 2.0 * left * right, 0.0)
    # Variance and epsilon in units of their sum's mean.
    log_epsilon = log(epsilon) - signal.log_scale
    common = float(np.logaddexp(log(float(variance.mean())), log_epsilon))
    factors = 1.0 / np.sqrt(variance * math.exp(-common) + math.exp(log_epsilon - common))
    level = float(np.mean(factors**2 * diagonal)) or 1.0
    scaled = factors / math.sqrt(level)
    first, second = pairs(signal.grid[0])
    sums = np.zeros((first.size, 2, signal.blocks.shape[1]))
    spread(_scale, signal.blocks, first, second, left, right, scaled, sums)
    signal.diagonal = scaled**2 * diagonal
    signal.row_sums = gather_row_sums(sums, signal.grid[0])
    noise.log_scale += 2.0 * log(gamma) - signal.log_scale - common
    signal.log_scale = 2.0 * log(gamma) - common + log(level)
    noise.separate()
    each = factors.reshape(noise.blocks.shape[:2])
    noise.blocks *= each[:, :, None]
    noise.blocks *= each[:, None, :]
    mean = noise.mean_variance()
    noise.blocks /= mean
    noise.log_scale += log(mean)
    return scaled


def _scale(
    worker: int, workers: int, blocks: np.ndarray, first: np.ndarray, second: np.ndarray, left: np.ndarray,
    right: np.ndarray, factors: np.ndarray, sums: np.ndarray,
) -> None:  # fmt: skip
    """A worker's share of the blocks."""
    size, centred = blocks.shape[1], bool(left.any())
    left, right, factors = (values.astype(blocks.dtype) for values in (left, right, factors))
    for p in range(worker, len(blocks), workers):
        block = blocks[p]
        here, there = (slice(image * size, (image + 1) * size) for image in (first[p], second[p]))
        if centred:
            block -= np.outer(left[here], right[there])
            block -= np.outer(right[here], left[there])
        block *= factors[here, None]
        block *= factors[there]
        sums[p, 0] = block.sum(1, dtype=np.float64)
        sums[p, 1] = block.sum(0, dtype=np.float64)
