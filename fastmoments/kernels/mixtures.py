"""What the Gaussians of a quadrature rule over s add up to behind a ReLU: one visit to a pair of points."""

from __future__ import annotations

import math

import numpy as np

from .jit import helper, jit
from .threads import spread


@helper()
def _correlation(covariance, scale):
    """Correlation, clipped, and its sine."""
    c = covariance / scale if scale > 0.0 else 0.0
    c = min(max(c, -1.0), 1.0)
    return c, math.sqrt((1.0 - c) * (1.0 + c))


def rectified_mixture(
    pairs: np.ndarray, weights: np.ndarray, t: np.ndarray, inside: np.ndarray
) -> tuple[np.ndarray, ...]:
    """Weighted sums over the Gaussians, all of shape (M, M).

    Parameters
    ----------
    pairs : shape (n, M, M)
        Covariances S_s.
    weights, t : shape (n,)
    inside : shape (n, M)
        What t (S_s)_ii is of fluctuations that a group shares.

    Returns
    -------
    kernel : E relu relu', of variances a, b and correlation c: sqrt(a b) k1(c)
    masks : k0(c)
    alone, together : k0(c) d_i d_j, d = 1 - t (S_s)_ii, or 1 - `inside`
    squares : t (S_s)_ij^2
    """
    points = pairs.shape[1]
    found = tuple(np.empty((points, points)) for _ in range(5))
    variances = np.maximum(np.diagonal(pairs, axis1=1, axis2=2), 1e-300)
    spread(_rectified_mixture, pairs, np.ascontiguousarray(variances), weights, t, inside, *found)
    return found


@jit()
def _rectified_mixture(
    worker, workers, pairs, variances, weights, t, inside, kernel, masks, alone, together, squares
):
    count, points = pairs.shape[0], pairs.shape[1]
    for row in range(worker, (points + 1) // 2, workers):
        for half in range(2):  # a long row and a short one, so that threads share alike
            i = row if half == 0 else points - 1 - row
            if half == 1 and i == row:
                continue
            for j in range(i + 1):
                behind, mask, left, shared, square = 0.0, 0.0, 0.0, 0.0, 0.0
                for n in range(count):
                    here = pairs[n, i, j]
                    scale = math.sqrt(variances[n, i] * variances[n, j])
                    c, s = _correlation(here, scale)
                    if i == j:
                        c, s = 1.0, 0.0
                    k0 = 0.5 - math.acos(c) / (2.0 * math.pi)
                    behind += weights[n] * scale * (s / (2.0 * math.pi) + k0 * c)
                    mask += weights[n] * k0
                    left += weights[n] * k0 * (1.0 - t[n] * variances[n, i]) * (1.0 - t[n] * variances[n, j])
                    shared += weights[n] * k0 * (1.0 - inside[n, i]) * (1.0 - inside[n, j])
                    square += weights[n] * t[n] * here * here
                kernel[i, j] = kernel[j, i] = behind
                masks[i, j] = masks[j, i] = mask
                alone[i, j] = alone[j, i] = left
                together[i, j] = together[j, i] = shared
                squares[i, j] = squares[j, i] = square


def mean_of_products(pairs: np.ndarray, odd: bool) -> np.ndarray:
    """Of every Gaussian the mean over pairs of points of E |y_p y_q|, or of E y_p |y_p| y_q |y_q| if `odd`.

    With a, b the variances, c the correlation and s = sqrt(1 - c^2) they are

        sqrt(a b) (2 / pi) (s + c asin c)    and    a b (2 / pi) (3 s c + (1 + 2 c^2) asin c).

    Parameters
    ----------
    pairs : shape (n, M, M)
    odd : bool

    Returns
    -------
    ndarray, shape (n,)
    """
    rows = np.empty(pairs.shape[:2])
    spread(_sums_of_products, pairs, odd, rows)
    return 2.0 / math.pi * rows.sum(1) / pairs.shape[1] ** 2


@jit()
def _sums_of_products(worker, workers, pairs, odd, rows):
    count, points = pairs.shape[0], pairs.shape[1]
    for i in range(worker, points, workers):
        for n in range(count):
            total = 0.0
            for j in range(points):
                product = max(pairs[n, i, i], 1e-300) * max(pairs[n, j, j], 1e-300)
                c, s = _correlation(pairs[n, i, j], math.sqrt(product))
                if i == j:
                    c, s = 1.0, 0.0
                if odd:
                    total += product * (3.0 * s * c + (1.0 + 2.0 * c * c) * math.asin(c))
                else:
                    total += math.sqrt(product) * (s + c * math.asin(c))
            rows[n, i] = total
