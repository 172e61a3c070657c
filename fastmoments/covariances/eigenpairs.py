"""Leading eigenpairs of symmetric positive operators, given by their products with vectors."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np

#: An operator: maps vectors (points, k) to its products with them.
Product = Callable[[np.ndarray], np.ndarray]

# Up to here all eigenvalues at once are cheaper than an iteration for the leading one.
DENSE_EIGENVALUES = 256


# Where the iteration for the leading one ends: its residual, as a share of the eigenvalue, or its products.
LANCZOS_RESIDUAL, LANCZOS_STEPS = 1e-5, 96


def leading_eigenvalue(
    product: Product, points: int, start: np.ndarray | None
) -> tuple[float, np.ndarray | None]:
    """Largest eigenvalue of a symmetric positive operator, and its eigenvector to start the next from.

    Lanczos' recursion, orthogonalised in full. (ARPACK draws from a generator of its own when it meets
    an invariant subspace, as it does on white noise, so that two runs would differ in the last bits.)

    Parameters
    ----------
    product : callable
        Maps vectors (points, k) to the operator times them.
    points : int
    start : ndarray, shape (points,), optional

    Returns
    -------
    value : float
        Exact up to `DENSE_EIGENVALUES` points, else a lower bound: to a residual of `LANCZOS_RESIDUAL`
        of it, or, in a cluster that takes more than `LANCZOS_STEPS` products, a little less.
    vector : ndarray or None
    """
    if points <= DENSE_EIGENVALUES:
        return float(np.linalg.eigvalsh(product(np.eye(points)))[-1]), None
    # A little of everything in the start: from an eigenvector alone no other would be found.
    vector = _everything(points)
    if start is not None:
        vector = start + 1e-3 / np.sqrt(points) * vector
    basis = np.empty((LANCZOS_STEPS, points))
    diagonal, below = [], []
    for step in range(LANCZOS_STEPS):
        basis[step] = vector / np.linalg.norm(vector)
        vector = product(basis[step][:, None])[:, 0]
        diagonal.append(float(basis[step] @ vector))
        for _ in range(2):  # orthogonalising twice is enough
            vector = vector - (basis[: step + 1] @ vector) @ basis[: step + 1]
        below.append(float(np.linalg.norm(vector)))
        value, weights = _largest_of_tridiagonal(np.array(diagonal), np.array(below[:-1]))
        if below[-1] * abs(weights[-1]) <= LANCZOS_RESIDUAL * abs(value):
            break
    return value, weights @ basis[: step + 1]


@lru_cache(maxsize=4)
def _everything(points: int) -> np.ndarray:
    """A vector with a part along any other."""
    return np.random.default_rng(0).standard_normal(points)


def _largest_of_tridiagonal(diagonal: np.ndarray, below: np.ndarray) -> tuple[float, np.ndarray]:
    """Largest eigenvalue of a symmetric tridiagonal matrix and its eigenvector.

    As `scipy.linalg.eigh_tridiagonal`, whose checks take ten times as long as matrices of this size.
    """
    from scipy.linalg.lapack import dstebz, dstein

    size = diagonal.size
    if size == 1:
        return float(diagonal[0]), np.ones(1)
    _, values, block, split, _ = dstebz(diagonal, below, 2, 0.0, 1.0, size, size, 0.0, "B")
    vectors, _ = dstein(diagonal, below, values[:1], block, split)
    return float(values[0]), vectors[:, 0]


def leading_pairs(
    product: Product,
    start: np.ndarray | None,
    count: int,
    iterations: int,
    points: int | None = None,
    *,
    residual: float = 0.0,
    floor: float = 1e-13,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Leading eigenpairs of a symmetric positive operator by a block iteration and Nystroem's formula.

    Parameters
    ----------
    product : callable
    start : ndarray, shape (points, k), optional
        Block to start from, such as the eigenvectors of the layer before; filled up at random.
    count : int
        Vectors in the block.
    iterations : int
        Products with the operator, at most.
    points : int, optional
        Needed without `start`.
    residual : float
        No further product once the block is invariant up to this share of its image.
    floor : float
        Eigenvalues below this share of the largest are rounding.

    Returns
    -------
    values : ndarray, shape (r,), falling; r is below `count` when the operator has a lower rank
    vectors : ndarray, shape (points, r), orthonormal
    turned : ndarray, shape (r,)
        Sine of the angle by which the last product turned each of them out of the block.
    """
    if start is not None:
        points = start.shape[0]
    assert points is not None
    have = 0 if start is None else start.shape[1]
    block = np.random.default_rng(0).standard_normal((points, count))
    if start is not None:
        block[:, :have] = start[:, :count]
    for _ in range(iterations):
        basis = np.linalg.qr(block)[0]
        block = product(basis)
        middle = basis.T @ block
        if np.linalg.norm(block - basis @ middle) <= residual * np.linalg.norm(middle):
            break
    values, vectors = np.linalg.eigh(0.5 * (middle + middle.T))
    keep = values > floor * max(values[-1], 1e-300)
    factor = block @ (vectors[:, keep] / np.sqrt(values[keep]))
    vectors, roots, _ = np.linalg.svd(factor, full_matrices=False)
    within = basis.T @ vectors
    return roots**2, vectors, np.sqrt(np.maximum(1.0 - np.sum(within * within, axis=0), 0.0))
