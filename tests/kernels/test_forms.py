"""Orders of quadratic forms of rectified Gaussians, against loops and derivatives."""

import math

import hypothesis.strategies as st
import naive
import numpy as np
from hypothesis import given, settings
from numpy.testing import assert_allclose
from states import seeds

from fastmoments.kernels.forms import rectified_orders


def fields(rng, points):
    """A covariance and what the kernel takes of it, by their definitions."""
    factor = rng.standard_normal((points, points + 2))
    covariance = factor @ factor.T / points
    roots = np.sqrt(np.diag(covariance))
    c, _ = naive.correlation(covariance)
    slope = np.sqrt((1 - c) * (1 + c)) / (2 * math.pi) * np.outer(1 / roots, roots)
    return covariance, (c, naive.mask(covariance), slope, covariance, roots)


def symmetric(rng, *shape):
    form = rng.standard_normal((*shape, shape[-1]))
    return form + np.swapaxes(form, -1, -2)


@given(seeds, st.integers(1, 3), st.integers(1, 6))
@settings(max_examples=20)
def test_orders_are_those_of_the_formula_element_by_element(seed, count, points):
    rng = np.random.default_rng(seed)
    covariance, arguments = fields(rng, points)
    c, k0, slope, _, roots = arguments
    forms, unit = symmetric(rng, count, points), 1 / math.sqrt(2 * math.pi)
    first, second, third = (np.zeros(shape) for shape in (forms.shape[:2], forms.shape, forms.shape))
    for which, a, b in np.ndindex(forms.shape):
        weight = forms[which, a, b]
        first[which, a] += 2 * unit * weight * roots[b] * (1 + c[a, b])
        second[which, a, b] += 4 * weight * k0[a, b]
        second[which, a, a] += 4 * weight * slope[a, b]
        if a == b:
            third[which, a, a] += 4 * unit * weight / roots[a]
        else:
            third[which, a, b] += 6 * unit * weight / roots[a]
            third[which, a, a] -= 2 * unit * weight * covariance[a, b] / roots[a] ** 3
    for found, expected in zip(rectified_orders(forms, *arguments), (first, second, third), strict=True):
        assert_allclose(found, expected, rtol=1e-10, atol=1e-10)


@given(seeds, st.integers(1, 5), st.floats(-3.0, 3.0))
@settings(max_examples=20)
def test_orders_are_linear_in_the_form(seed, points, factor):
    rng = np.random.default_rng(seed)
    _, arguments = fields(rng, points)
    one, other = symmetric(rng, 2, points)
    both = np.stack([one, other, one + factor * other])
    for order in rectified_orders(both, *arguments):
        assert_allclose(order[2], order[0] + factor * order[1], rtol=1e-9, atol=1e-9)


def test_orders_are_means_of_derivatives_of_sampled_fields():
    """Of phi_a phi_b, phi = sqrt(2) relu: the gradient, and where points differ the mixed derivative."""
    rng, draws = np.random.default_rng(6), 400_000
    covariance, arguments = fields(rng, 3)
    form = symmetric(rng, 3)
    first, second, _ = rectified_orders(form[None], *arguments)
    y = rng.standard_normal((draws, 3)) @ np.linalg.cholesky(covariance).T
    phi, on = math.sqrt(2) * np.maximum(y, 0.0), math.sqrt(2) * (y > 0)
    for a in range(3):
        gradient = 2 * on[:, a] * (phi @ form[a])
        assert abs(gradient.mean() - first[0, a]) < 4 * gradient.std() / math.sqrt(draws)
        for b in set(range(3)) - {a}:
            mixed = 2 * form[a, b] * on[:, a] * on[:, b]
            assert abs(mixed.mean() - second[0, a, b]) < 4 * mixed.std() / math.sqrt(draws)
