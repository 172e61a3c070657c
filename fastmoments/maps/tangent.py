"""The neural tangent kernel beside the covariance: what the weights of a layer add to it.

Theta_pq = sum over weights of df_p/dw df_q/dw, for one channel of f, is carried as noise of all images
together is (`covariances.storage.NoiseCovariance.joint`): every weight is a direction of noise of its own.
Source: Jacot, Gabriel and Hongler, 2018; layers as in Novak et al., 2020.
"""

from __future__ import annotations

import math

import numpy as np

from ..covariances.scales import log
from ..covariances.storage import Covariance, NoiseCovariance, pairs


def nothing(images: int, height: int, width: int) -> NoiseCovariance:
    """The tangent kernel before the first weights: 0, as a scale of exp(-inf)."""
    kernel = NoiseCovariance.white(images, height, width, view=True)
    kernel.log_scale = -math.inf
    return kernel


def add_covariance(kernel: NoiseCovariance, signal: Covariance) -> None:
    """Theta' = Theta + K, in place: K behind a layer is what its own weights and biases add.

    They are standard Gaussians, times the roots of gain / fan in and of the bias variance.
    """
    from ..kernels.threads import spread

    kernel.join()
    top = max(kernel.log_scale, signal.log_scale)
    if top == -math.inf:
        return
    mine, theirs = math.exp(kernel.log_scale - top), math.exp(signal.log_scale - top)
    spread(_add, kernel.blocks[0], mine, signal.blocks, theirs, *pairs(signal.grid[0]))
    kernel.log_scale = top


def _add(
    worker: int, workers: int, full: np.ndarray, mine: float, blocks: np.ndarray, theirs: float,
    first: np.ndarray, second: np.ndarray,
) -> None:  # fmt: skip
    """A worker's blocks; the full matrix stays symmetric to the last bit."""
    size = blocks.shape[1]
    for p in range(worker, len(blocks), workers):
        rows, columns = (slice(i * size, (i + 1) * size) for i in (first[p], second[p]))
        block = full[rows, columns]
        block *= mine
        block += theirs * blocks[p]
        full[columns, rows] = block.T


def centre(kernel: NoiseCovariance) -> None:
    """H Theta H, in place: the mean over the batch moves with the weights.

    Their part in its variance, one direction among infinitely many channels, vanishes.
    """
    kernel.join()
    full = kernel.blocks[0]
    means = full.mean(0)
    means -= 0.5 * means.mean()
    full -= means
    full -= means[:, None]
    level = kernel.mean_variance()
    if level > 0.0:
        full /= level
        kernel.log_scale += log(level)
    else:
        full[:], kernel.log_scale = np.eye(len(full)), -math.inf
