"""Hermite expansions of forms of rectified Gaussians."""

import math

import hypothesis.strategies as st
import numpy as np
from hypothesis import given, settings
from numpy.testing import assert_allclose

from fastmoments.engines.finite_width.shared.hermite_forms import (
    ContractedForm,
    GaussianField,
    HermiteForm,
    linear_form,
    mask_form,
    pulled_back,
    rectified_form,
    square_form,
)
from fastmoments.engines.finite_width.shared.relu_moments import correlations

seeds = st.integers(0, 2**32 - 1)


def covariance(rng, points):
    """A random covariance of full rank, with variances of several sizes."""
    factor = rng.standard_normal((points, points + 2))
    return factor @ factor.T / points * np.outer(*[np.exp(0.3 * rng.standard_normal(points))] * 2)


def symmetric(rng, *shape):
    matrix = rng.standard_normal((*shape, shape[-1]))
    return matrix + np.swapaxes(matrix, -1, -2)


def gaussian(rng, matrix, count):
    return rng.standard_normal((count, len(matrix))) @ np.linalg.cholesky(matrix).T


@given(seeds, st.integers(1, 5))
@settings(max_examples=20)
def test_what_is_pulled_back_is_the_gradient(seed, points):
    rng = np.random.default_rng(seed)
    matrix, form = covariance(rng, points), symmetric(rng, points)
    found = pulled_back(form, GaussianField.of(matrix))
    assert_allclose(rectified_form(form, GaussianField.of(matrix)).gradient, found, rtol=1e-12, atol=1e-12)
    for a in range(points):
        for b in range(a + 1):
            step = np.zeros((points, points))
            step[a, b] = step[b, a] = 1e-6 * math.sqrt(matrix[a, a] * matrix[b, b])
            ends = [np.sum(form * GaussianField.of(matrix + sign * step).rectified()) for sign in (1, -1)]
            slope = (ends[0] - ends[1]) / (2 * step[a, b])
            assert_allclose(
                found[a, b] * (1 if a == b else 2), slope, rtol=1e-5, atol=1e-6 * np.abs(form).sum()
            )


def test_three_orders_hold_most_of_the_variance():
    one = rectified_form(np.ones((1, 1)), GaussianField.of(np.ones((1, 1))))
    assert_allclose(one.variance(np.ones((1, 1))), 4 / math.pi * 2 + 2 + 4 / (3 * math.pi), rtol=1e-12)
    rng = np.random.default_rng(5)
    for _ in range(3):
        matrix, form = covariance(rng, 4), symmetric(rng, 4)
        y = gaussian(rng, matrix, 400_000)
        phi = math.sqrt(2) * np.maximum(y, 0)
        samples = np.einsum("na,ab,nb->n", phi, form, phi)
        field = GaussianField.of(matrix)
        seen = ContractedForm.of(rectified_form(form, field), matrix)
        assert 0.92 < seen.covariance(seen) / samples.var() < 1.01
        weights = rng.standard_normal(4)
        masks = (2.0 * (y > 0)) @ weights
        mixed = (masks - masks.mean()) * (samples - samples.mean())
        expected = mask_form(weights, field).covariance(seen)
        assert abs(mixed.mean() - expected) < 0.05 * masks.std() * samples.std()


@given(seeds, st.integers(1, 5))
@settings(max_examples=20)
def test_orders_of_a_rectified_form_are_what_the_module_says(seed, points):
    rng = np.random.default_rng(seed)
    forms, matrix = symmetric(rng, 2, points), covariance(rng, points)
    field = GaussianField.of(matrix)
    (c, roots), k0, unit = correlations(matrix), field.relu.k0, 1.0 / math.sqrt(2.0 * math.pi)
    found = rectified_form(forms, field)
    for which, form in enumerate(forms):
        for a in range(points):
            first = 2.0 * unit * sum(form[a, b] * roots[b] * (1.0 + c[a, b]) for b in range(points))
            assert_allclose(found.first[which, a], first, rtol=1e-10, atol=1e-10)
            for b in range(points):
                second, third = 4.0 * form[a, b] * k0[a, b], 6.0 * unit * form[a, b] / roots[a]
                if a == b:
                    others = [n for n in range(points) if n != a]
                    second += 4.0 * form[a] @ field.slope[a]
                    third = unit / roots[a] * 4.0 * form[a, a]
                    third -= unit / roots[a] ** 3 * 2.0 * form[a, others] @ matrix[a, others]
                assert_allclose(found.second[which, a, b], second, rtol=1e-10, atol=1e-10)
                assert_allclose(found.third[which, a, b], third, rtol=1e-10, atol=1e-10)


@given(seeds, st.integers(1, 6))
@settings(max_examples=20)
def test_functions_of_single_points_are_diagonal_forms(seed, points):
    rng = np.random.default_rng(seed)
    field = GaussianField.of(covariance(rng, points))
    weights, forms = rng.standard_normal(points), symmetric(rng, 3, points)
    squares, masks = square_form(weights, field), mask_form(weights, field)
    dense = rectified_form(np.diag(weights), field)
    for order in ("second", "third"):
        assert_allclose(np.diag(getattr(squares, order)), getattr(dense, order), atol=1e-12)
    many = ContractedForm.of(rectified_form(forms, field), field.covariance)
    assert_allclose(squares.first, dense.first, atol=1e-12)
    both = 0.3 * squares + masks.faded(0.5)
    spelled_out = HermiteForm(both.first, np.diag(both.second), np.diag(both.third))
    expected = ContractedForm.of(spelled_out, field.covariance).covariance(many)
    found = [both.covariance(many[k]) for k in range(3)]
    assert_allclose(found, expected, rtol=1e-9, atol=1e-9 * np.abs(expected).max())


@given(seeds, st.integers(1, 4), st.floats(0.1, 1.0))
@settings(max_examples=20)
def test_covariances_are_bilinear_symmetric_and_fade(seed, points, fade):
    rng = np.random.default_rng(seed)
    field = GaussianField.of(covariance(rng, points))
    one, other = (rectified_form(symmetric(rng, points), field) for _ in range(2))
    a, b, both = (ContractedForm.of(expansion, field.covariance) for expansion in (one, other, one + other))
    assert_allclose(a.covariance(b), b.covariance(a), rtol=1e-9, atol=1e-9)
    expected = a.covariance(a) + 2 * a.covariance(b) + b.covariance(b)
    assert a.covariance(a) >= 0.0
    assert_allclose(both.covariance(both), expected, rtol=1e-9)
    # Of a Gaussian whose covariance is fade^2 of this one: the same functional of fade * y.
    faded = linear_form(symmetric(rng, points))
    smaller = faded.variance(fade**2 * field.covariance)
    faded.fade(fade)
    assert_allclose(faded.variance(field.covariance), smaller, rtol=1e-9)
    total = one + other
    one.add(other)
    for order in ("first", "second", "third"):
        assert_allclose(getattr(one, order), getattr(total, order))
