"""Small operations on covariances over points that the finite-width theory shares."""

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


def effective_rank(covariance: np.ndarray) -> float:
    """Trace over the largest eigenvalue."""
    return float(np.trace(covariance) / np.linalg.eigvalsh(covariance)[-1])
