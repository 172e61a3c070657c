"""Means over positions: of covariances, each side by itself, and of images.

Unlike the taps of a convolution, which carry weights of their own each, the positions of a window are added
up, so that those on one side meet all of those on the other: K' = P K P'.
"""

from __future__ import annotations

import numpy as np

from ..covariances.scales import log
from ..covariances.storage import Covariance, NoiseCovariance, assembled, cut, gather_row_sums, pairs
from ..nets.fixed import Averaging
from .convolution import regroup, tiled

#: Averages along the height and along the width: shapes (height behind, height), (width behind, width).
Sides = tuple[np.ndarray, np.ndarray]


def average(signal: Covariance, noise: NoiseCovariance, layer: Averaging) -> None:
    """Means over windows of both points independently, in place: K' = P K P', D likewise. Exact.

    Of a Gaussian signal the means are Gaussian; of others these are second moments.
    """
    images, grid = noise.seen, noise.grid
    sides = layer.averages(grid[0]), layer.averages(grid[1])
    if grid == (1, 1):
        regroup(signal, (images, 1, 1))
    behind = (len(sides[0]), len(sides[1]))
    size = behind[0] * behind[1]
    blocks = np.empty((len(signal.blocks), size, size), signal.blocks.dtype)
    sums = np.zeros((len(blocks), 2, size))
    _spread(signal.blocks, blocks, sides, sums)
    on_diagonal = blocks[np.equal(*pairs(images))]
    signal.blocks, signal.grid = blocks, (images, *behind)
    signal.diagonal = np.einsum("npp->np", on_diagonal).ravel().astype(np.float64)
    signal.row_sums = gather_row_sums(sums, images)
    rescale(signal)
    tiled(signal)
    average_noise(noise, layer)


def average_noise(noise: NoiseCovariance, layer: Averaging) -> None:
    """D' = P D P', in place."""
    sides = layer.averages(noise.grid[0]), layer.averages(noise.grid[1])
    images = noise.seen
    source = cut(noise.blocks[0], images) if noise.joint else noise.blocks
    size = len(sides[0]) * len(sides[1])
    blocks = np.empty((len(source), size, size))
    _spread(source, blocks, sides)
    joint = noise.joint
    noise.blocks = assembled(blocks, images)[None] if joint else blocks
    noise.grid = (len(sides[0]), len(sides[1]))
    level = noise.mean_variance()
    noise.blocks /= level
    noise.log_scale += log(level)


def average_images(images: np.ndarray, layer: Averaging) -> np.ndarray:
    """Means over windows of images (n, h, w, c)."""
    down, across = (layer.averages(size).astype(images.dtype) for size in images.shape[1:3])
    count, height, width, channels = images.shape
    rows = np.matmul(down, images.reshape(count, height, -1)).reshape(-1, width, channels)
    return np.matmul(across, rows).reshape(count, len(down), len(across), channels)


def flatten(signal: Covariance, noise: NoiseCovariance) -> None:
    """Positions become channels of one position, in place: K'_ij = mean_a K_(i,a),(j,a), D likewise."""
    images, positions = noise.seen, noise.blocks.shape[1] // (noise.seen if noise.joint else 1)
    if noise.grid == (1, 1):
        return
    means = np.einsum("npp->n", signal.blocks, dtype=np.float64)[:, None, None] / positions
    signal.blocks, signal.grid = means.astype(signal.blocks.dtype), (images, 1, 1)
    signal.diagonal = signal.diagonal.reshape(images, -1).mean(1)
    signal.row_sums = assembled(means, images).sum(1)
    rescale(signal)
    tiled(signal)
    flatten_noise(noise)


def flatten_noise(noise: NoiseCovariance) -> None:
    """D'_ij = mean_a D_(i,a),(j,a), in place."""
    images, positions = noise.seen, noise.grid[0] * noise.grid[1]
    if noise.joint:
        full = noise.blocks[0].reshape(images, positions, images, positions)
        noise.blocks = np.einsum("iaja->ij", full)[None] / positions
    else:
        noise.blocks = np.einsum("npp->n", noise.blocks)[:, None, None] / positions
    noise.grid = (1, 1)


def rescale(signal: Covariance) -> None:
    """Bring the blocks back to order one."""
    level = float(np.mean(signal.diagonal))
    if level > 0.0:
        signal.blocks *= 1.0 / level
        signal.diagonal = signal.diagonal / level
        signal.row_sums = signal.row_sums / level
        signal.log_scale += log(level)


def _spread(source: np.ndarray, target: np.ndarray, sides: Sides, sums: np.ndarray | None = None) -> None:
    """``target = P source P'`` of every block, and the row and column sums."""
    from ..kernels.threads import spread

    down, across = (side.astype(source.dtype) for side in sides)
    spread(_average, source, target, down, across, sums)


def _average(
    worker: int, workers: int, source: np.ndarray, target: np.ndarray, down: np.ndarray, across: np.ndarray,
    sums: np.ndarray | None,
) -> None:  # fmt: skip
    """A worker's share of the blocks."""
    (new_height, height), (new_width, width) = down.shape, across.shape
    size, new_size = height * width, new_height * new_width
    for p in range(worker, len(source), workers):
        rows = np.matmul(down, source[p].reshape(height, width * size))
        rows = np.matmul(across, rows.reshape(new_height, width, size))
        columns = np.matmul(rows.reshape(new_size * height, width), across.T)
        columns = np.matmul(down, columns.reshape(new_size, height, new_width))
        target[p] = columns.reshape(new_size, new_size)
        if sums is not None:
            sums[p, 0] = target[p].sum(1, dtype=np.float64)
            sums[p, 1] = target[p].sum(0, dtype=np.float64)
