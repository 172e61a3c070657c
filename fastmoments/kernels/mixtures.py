"""What the Gaussians of a quadrature rule over s add up to behind a ReLU: one visit to a pair of points."""

from __future__ import annotations

import math

import numpy as np
from numba import prange

from .jit import helper, jit


@helper()
def _correlation(covariance, scale):
    """Correlation, clipped, and its sine."""
    c = covariance / scale if scale > 0.0 else 0.0
    c = min(max(c, -1.0), 1.0)
    return c, math.sqrt((1.0 - c) * (1.0 + c))


@jit()
def rectified_mixture(pairs, weights, t, inside):
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
    count, points = pairs.shape[0], pairs.shape[1]
    kernel, masks, alone = np.empty((3, points, points))
    together, squares = np.empty((2, points, points))
    variances = np.empty((count, points))
    for n in range(count):
        for i in range(points):
            variances[n, i] = max(pairs[n, i, i], 1e-300)
    for row in prange((points + 1) // 2):
        for half in range(2):  # a long row and a short one, so that threads share alike
            i = np.int64(row) if half == 0 else points - 1 - np.int64(row)
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
    return kernel, masks, alone, together, squares


@jit()
def mean_of_products(pairs, odd):
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
    count, points = pairs.shape[0], pairs.shape[1]
    rows = np.empty((count, points))
    for i in prange(points):
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
    means = np.empty(count)
    for n in range(count):
        means[n] = 2.0 / math.pi * rows[n].sum() / points**2
    return means
