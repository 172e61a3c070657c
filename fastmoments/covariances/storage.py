"""Covariances over the points of a batch: storage, products and leading eigenpairs.

A point is a position of an image. The signal's covariance is stored in blocks of image pairs, only
``first <= second``, so that a block fits in the cache and a layer visits each block once; the
noise, drawn once per image, has blocks on the diagonal only, unless it moves the statistics of batches.
Both stand beside the logarithm of a common scale, so that no depth overflows.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import DTypeLike
from scipy.linalg import block_diag

#: Precisions of the stored signal covariance, the default first.
DTYPES = ("float64", "float32")


# Of a fully connected net the points of one tile stand where the positions of one image would.
MAX_TILE = 128


@lru_cache(maxsize=64)
def pairs(images: int) -> tuple[np.ndarray, np.ndarray]:
    """Indices (first, second) of the stored blocks, ``first <= second``, row by row."""
    first, second = np.triu_indices(images)
    return first.astype(np.int64), second.astype(np.int64)


@lru_cache(maxsize=64)
def block_index(images: int) -> np.ndarray:
    """Index of the stored block of any pair of images, shape (images, images)."""
    first, second = pairs(images)
    index = np.empty((images, images), dtype=np.int64)
    index[first, second] = index[second, first] = np.arange(first.size)
    return index


def tile_size(points: int) -> int:
    """Largest divisor of `points` that is at most `MAX_TILE`; `points` itself when that is tiny."""
    divisors = [size for size in range(1, min(points, MAX_TILE) + 1) if points % size == 0]
    return divisors[-1] if divisors[-1] >= 16 else points


def assembled(blocks: np.ndarray, images: int) -> np.ndarray:
    """The full symmetric matrix of stored blocks, in double precision."""
    size = blocks.shape[1]
    full = np.empty((images, size, images, size))
    for block, i, j in zip(blocks, *pairs(images), strict=True):
        full[i, :, j] = block
        full[j, :, i] = block.T
    return full.reshape(images * size, images * size)


def cut(full: np.ndarray, images: int) -> np.ndarray:
    """The stored blocks of a full symmetric matrix, the inverse of `assembled`."""
    size = len(full) // images
    parts = full.reshape(images, size, images, size).swapaxes(1, 2)
    return np.ascontiguousarray(parts[pairs(images)])


def gather_row_sums(sums: np.ndarray, images: int) -> np.ndarray:
    """Gather the kernels' by-product, (pairs, 2, size), into row sums over all points, in a fixed order."""
    index = block_index(images)
    out = np.empty((images, sums.shape[2]))
    for i in range(images):
        out[i] = sums[index[i, i:], 0].sum(0) + sums[index[:i, i], 1].sum(0)
    return out.ravel()


def _copied(blocks: np.ndarray, memory: np.ndarray | None) -> np.ndarray:
    """A copy of blocks, in `memory` if that has their shape."""
    from ..kernels.threads import spread

    if memory is None or memory.shape != blocks.shape:
        memory = np.empty_like(blocks)
    spread(_copy, blocks, memory)
    return memory


def _copy(worker: int, workers: int, blocks: np.ndarray, memory: np.ndarray) -> None:
    """A worker's share of a copy."""
    memory[worker::workers] = blocks[worker::workers]


@dataclass
class Covariance:
    """Second moments of the signal over all pairs of points, ``exp(log_scale)`` times `blocks`.

    Attributes
    ----------
    blocks : shape (images (images + 1) / 2, height width, height width)
        Of double or single precision; all else is of double precision.
    grid : (images, height, width)
        Of a fully connected net: (tiles, points of a tile, 1).
    log_scale : float
    diagonal : float64, shape (images height width,)
        In the scale of the blocks, as are the row sums.
    row_sums : float64, shape (images height width,)
    """

    blocks: np.ndarray
    grid: tuple[int, int, int]
    log_scale: float
    diagonal: np.ndarray
    row_sums: np.ndarray

    @classmethod
    def from_features(
        cls, features: np.ndarray, factor: float, bias: float = 0.0, tile: int | None = None,
        dtype: DTypeLike = np.float64,
    ) -> Covariance:  # fmt: skip
        """Gram matrix ``factor * features features' + bias`` of features given at every point.

        Parameters
        ----------
        features : ndarray, shape (n, h, w, f)
        factor, bias : float
        tile : int, optional
            With one position per image: points to a block (a divisor of n); chosen if left out.
        dtype : dtype-like
            Of the blocks: double or single precision.
        """
        n, h, w, f = features.shape
        grid = (n, h, w)
        if h * w == 1:
            size = tile or tile_size(n)
            grid = (n // size, size, 1)
        rows = features.reshape(grid[0], -1, f)
        first, second = pairs(grid[0])
        size = rows.shape[1]
        blocks = np.empty((first.size, size, size), dtype)
        for p in range(first.size):
            np.matmul(rows[first[p]], rows[second[p]].T, out=blocks[p], casting="same_kind")
        blocks *= factor
        blocks += bias
        flat = rows.reshape(-1, f)
        diagonal = factor * np.einsum("pf,pf->p", flat, flat) + bias
        row_sums = factor * (flat @ flat.sum(0)) + bias * flat.shape[0]
        return cls(blocks, grid, 0.0, diagonal, row_sums)

    @property
    def points(self) -> int:
        """M, the number of points."""
        return self.diagonal.size

    @property
    def means(self) -> np.ndarray:
        """Row means less half the grand mean: S_pq = K_pq - means_p - means_q is centred."""
        row_means = self.row_sums / self.points
        return row_means - 0.5 * row_means.mean()

    @property
    def centred_diagonal(self) -> np.ndarray:
        """Diagonal of the centred covariance S = HKH."""
        return np.maximum(self.diagonal - 2.0 * self.means, 0.0)

    def copy(self, memory: np.ndarray | None = None) -> Covariance:
        """A covariance of its own memory; its blocks in `memory`, if that has their shape."""
        blocks = _copied(self.blocks, memory)
        return Covariance(blocks, self.grid, self.log_scale, self.diagonal.copy(), self.row_sums.copy())

    def dense(self) -> np.ndarray:
        """The full matrix, scale included, shape (points, points)."""
        return self.unscaled() * np.exp(self.log_scale)

    def unscaled(self) -> np.ndarray:
        """The full matrix in the scale of the blocks, shape (points, points)."""
        return assembled(self.blocks, self.grid[0])

    def centred_product(self, vectors: np.ndarray) -> np.ndarray:
        """HKH times `vectors`, shape (points, k), in the scale of the blocks."""
        from ..kernels import blocks as kernels
        from ..kernels.threads import spread

        images, size = self.grid[0], self.blocks.shape[1]
        centred = np.ascontiguousarray(vectors - vectors.mean(0), dtype=self.blocks.dtype)
        shape = (images, size, vectors.shape[1])
        sums = np.zeros((min(kernels.PARTS, len(self.blocks)), *shape), centred.dtype)
        spread(kernels.multiply, self.blocks, *pairs(images), centred.reshape(shape), sums)
        out = sums.sum(0).reshape(centred.shape)
        return out - out.mean(0, dtype=np.float64)

    def centred_square_diagonal(self) -> np.ndarray:
        """Diagonal of the square of HKH, shape (points,): its row sums of squares."""
        from ..kernels import blocks as kernels
        from ..kernels.threads import spread

        first, second = pairs(self.grid[0])
        sums = np.zeros((first.size, 2, self.blocks.shape[1]))
        means = self.means.astype(self.blocks.dtype)
        spread(kernels.sum_squares, self.blocks, first, second, means, sums)
        return gather_row_sums(sums, self.grid[0])


@dataclass
class NoiseCovariance:
    """Noise covariance within each image, ``exp(log_scale)`` times `blocks`.

    Or of all images together, once they have something in common: of one image then, as it were.

    Attributes
    ----------
    blocks : float64, shape (images, positions, positions)
        Or (1, positions, positions) while all images still share it; (1, points, points) of all together.
    images : int
        1 of all together.
    grid : (height, width)
    log_scale : float
    """

    blocks: np.ndarray
    images: int
    grid: tuple[int, int]
    log_scale: float = 0.0

    @classmethod
    def white(cls, images: int, height: int, width: int, view: bool = False) -> NoiseCovariance:
        """Independent noise of unit variance at every position; a `view` takes no memory until `own`."""
        size = height * width
        if not view:
            return cls(np.eye(size)[None], images, (height, width))
        row = np.zeros(2 * size - 1)
        row[size - 1] = 1.0
        # The identity as a view of one row, since large images are seen by their first layer only.
        eye = as_strided(row[size - 1 :], (1, size, size), (0, -8, 8), writeable=False)
        return cls(eye, images, (height, width))

    def own(self) -> None:
        """Give the blocks memory of their own, which a view of `white` has not."""
        self.blocks = np.array(self.blocks)

    def mean_variance(self) -> float:
        """Mean of the diagonal, in the scale of the blocks."""
        return float(np.einsum("npp->", self.blocks)) / (self.blocks.shape[0] * self.blocks.shape[1])

    @property
    def points(self) -> int:
        """M, the number of points."""
        return self.images * self.blocks.shape[1]

    def centred_trace(self) -> float:
        """Trace of HDH, in the scale of the blocks."""
        repeats = self.images / self.blocks.shape[0]
        return self.mean_variance() * self.points - repeats * float(self.blocks.sum()) / self.points

    @property
    def seen(self) -> int:
        """Images, whether together or not."""
        return self.points // (self.grid[0] * self.grid[1])

    @property
    def joint(self) -> bool:
        """Whether it is that of several images together."""
        return self.blocks.shape[1] != self.grid[0] * self.grid[1]

    def join(self) -> None:
        """Put all images into one block."""
        if self.images > 1:
            self.separate()
            self.blocks, self.images = block_diag(*self.blocks)[None], 1

    def separate(self) -> None:
        """Give every image a block of its own, if they are not together."""
        if self.blocks.shape[0] != self.images:
            self.blocks = np.repeat(self.blocks, self.images, axis=0)

    def copy(self, memory: np.ndarray | None = None) -> NoiseCovariance:
        """A covariance of its own memory; its blocks in `memory`, if that has their shape."""
        return NoiseCovariance(_copied(self.blocks, memory), self.images, self.grid, self.log_scale)

    def centred_product(self, vectors: np.ndarray) -> np.ndarray:
        """HDH times `vectors`, shape (points, k), in the scale of the blocks."""
        vectors = vectors - vectors.mean(0)
        parts = vectors.reshape(self.images, self.blocks.shape[1], -1)
        product = np.matmul(self.blocks, parts).reshape(vectors.shape)
        return product - product.mean(0)
