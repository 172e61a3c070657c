"""Operations on covariances over points: centring, diagonals, means over pairs and over images."""

from __future__ import annotations

import numpy as np


def centred(matrix: np.ndarray) -> np.ndarray:
    """HKH over the last two axes: rows and columns of mean 0."""
    means = matrix.mean(-1, keepdims=True)
    return matrix - means - np.swapaxes(means, -1, -2) + means.mean(-2, keepdims=True)


def with_diagonal(covariance: np.ndarray, variances: np.ndarray) -> np.ndarray:
    """Bring a centred covariance to other variances at the same correlations, and centre it again."""
    old = np.maximum(np.diag(covariance), 1e-300)
    factor = np.sqrt(variances / old)
    return centred(covariance * np.outer(factor, factor))


def with_means(covariance: np.ndarray, second: np.ndarray) -> np.ndarray:
    """The covariance before it was centred, of which the diagonal is `second`: C_ij + u_i + u_j + m."""
    excess = second - np.diag(covariance)
    mean = excess.mean()
    means = 0.5 * (excess - mean)
    return covariance + means[:, None] + means + mean


def mean_of_pairs(matrix: np.ndarray) -> float:
    """Mean over pairs of different points; 0 of a single one."""
    points = len(matrix)
    return float((matrix.sum() - np.trace(matrix)) / max(points * (points - 1), 1))


def between_pairs(value: float | np.ndarray, points: int) -> np.ndarray:
    """Matrix (M, M) of a value, or of the values of a matrix, of pairs of different points; diagonal 0."""
    found = np.array(np.broadcast_to(value, (points, points)))
    np.fill_diagonal(found, 0.0)
    return found


def image_norms(diagonal: np.ndarray, images: int) -> np.ndarray:
    """Sum over the positions of every image."""
    return diagonal.reshape(images, -1).sum(1)


def by_images(matrix: np.ndarray, images: int, positions: int) -> np.ndarray:
    """Mean over pairs of positions of every pair of images, from a matrix over few of the positions."""
    parts = matrix.reshape(images, len(matrix) // images, images, -1)
    found, each = parts.mean((1, 3)), parts.shape[1]
    own = np.einsum("iaja->ij", parts).diagonal() / each
    apart = (found.diagonal() * each - own) / max(each - 1, 1)
    np.fill_diagonal(found, own / positions + (1.0 - 1.0 / positions) * apart)
    return found
