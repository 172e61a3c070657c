"""Loops over the eigenvalues of a population, for the spectrum of samples of it (`marchenko_pastur`)."""

from __future__ import annotations

import numpy as np

from .jit import helper, jit
from .threads import spread

#: Steps of Newton and of bisections; relative change at which Newton's end. The next would be its square.
STEPS, PRECISION = 40, 1e-5


@helper(reassociate=True)
def _sums(a, square, values, weights):
    """Sums of weights / |values + w|^2, of its square without another weight, and of w's real part."""
    total, slope, shift = 0.0, 0.0, 0.0
    for k in range(values.size):
        gap = values[k] + a
        term = 1.0 / (gap * gap + square)
        total += weights[k] * term
        slope += weights[k] * term * term
        shift += weights[k] / values[k] * (1.0 - values[k] * gap * term)
    return total, slope, shift


def real_curve(a: np.ndarray, values: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """b^2 and x at every a, with w = a - ib, of x = -w + sum_k g_k / values_k / (1 + values_k / w).

    b^2 is the root of 1 / H - 1, H(b^2) = sum_k g_k / ((values_k + a)^2 + b^2), by Newton: 1 / H is concave
    and rises, so that from (nearly) 0 the steps approach the root from one side.

    Parameters
    ----------
    a : shape (n,)
    values, weights : shape (m,)
        Positive eigenvalues of the population; g.

    Returns
    -------
    square, place : shape (n,)
    """
    square, place = np.empty_like(a), np.empty_like(a)
    spread(_real_curve, a, values, weights, square, place)
    return square, place


@jit()
def _real_curve(worker, workers, a, values, weights, square, place):
    least = 1e-12 * weights.min()  # a may meet an eigenvalue to the last bit
    for n in range(worker, a.size, workers):
        found = least
        for _ in range(STEPS):
            total, slope, _shift = _sums(a[n], found, values, weights)
            step = (1.0 - 1.0 / total) * total * total / slope
            found += max(step, 0.0)
            if abs(step) <= PRECISION * found:
                break
        square[n] = found
        place[n] = -a[n] + _sums(a[n], found, values, weights)[2]


@helper(reassociate=True)
def _power_sum(a, values, weights, cubed):
    """Sum of weights / (values + a)^2, or of their third powers."""
    total = 0.0
    for k in range(values.size):
        gap = values[k] + a
        total += weights[k] / (gap * gap * gap if cubed else gap * gap)
    return total


def bisected(
    below: np.ndarray, above: np.ndarray, values: np.ndarray, weights: np.ndarray, cubed: bool, level: float
) -> np.ndarray:
    """Where the sum of weights / (values + a)^2, or of third powers, is `level`: shape (n,), just above it.

    Parameters
    ----------
    below, above : shape (n,)
        Places at which it is less and more than that.
    values, weights : shape (m,)
    cubed : bool
    level : float
    """
    found = np.empty_like(above)
    spread(_bisected, below, above, values, weights, cubed, level, found)
    return found


@jit()
def _bisected(worker, workers, below, above, values, weights, cubed, level, found):
    for n in range(worker, above.size, workers):
        less, more = below[n], above[n]
        for _ in range(STEPS):
            middle = 0.5 * (less + more)
            if _power_sum(middle, values, weights, cubed) > level:
                more = middle
            else:
                less = middle
        found[n] = more
