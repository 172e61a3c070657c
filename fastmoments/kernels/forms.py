"""Expansion of quadratic forms of a rectified Gaussian field (`finite_width.shared.hermite_forms`)."""

from __future__ import annotations

import math

import numpy as np

from .jit import helper, jit
from .threads import spread


@helper(reassociate=True)
def _row_sums(form, c, slope, covariance, roots):
    """Of one row G_ab: sums over b of G (1 + c) sqrt(K_bb), of G A and of G K."""
    first, bent, others = 0.0, 0.0, 0.0
    for b in range(form.size):
        first += form[b] * (1.0 + c[b]) * roots[b]
        bent += form[b] * slope[b]
        others += form[b] * covariance[b]
    return first, bent, others


def rectified_orders(
    forms: np.ndarray, c: np.ndarray, k0: np.ndarray, slope: np.ndarray, covariance: np.ndarray,
    roots: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:  # fmt: skip
    """Orders 1 to 3 of sum_ab G_ab phi_a phi_b: one visit to every element of G.

    Parameters
    ----------
    forms : shape (k, M, M)
        G, symmetric.
    c, k0, slope, covariance : shape (M, M)
        Of the field.
    roots : shape (M,)
        Of the diagonal of its covariance.

    Returns
    -------
    first, second, third : shape (k, M), (k, M, M) and (k, M, M)
    """
    first = np.empty(forms.shape[:2])
    second, third = np.empty_like(forms), np.empty_like(forms)
    spread(_rectified_orders, forms, c, k0, slope, covariance, roots, first, second, third)
    return first, second, third


@jit()
def _rectified_orders(worker, workers, forms, c, k0, slope, covariance, roots, first, second, third):
    count, points = forms.shape[:2]
    unit = 1.0 / math.sqrt(2.0 * math.pi)
    for n in range(worker, count * points, workers):
        which, a = n // points, n % points
        form, root = forms[which, a], roots[a]
        row, bent, others = _row_sums(form, c[a], slope[a], covariance[a], roots)
        first[which, a] = 2.0 * unit * row
        for b in range(points):
            second[which, a, b] = 4.0 * form[b] * k0[a, b]
            third[which, a, b] = 6.0 * unit / root * form[b]
        here = form[a]
        second[which, a, a] += 4.0 * bent
        third[which, a, a] = unit / root * (4.0 * here - 2.0 * (others / root**2 - here))
