"""Spectra of samples: the equations that the loops solve, the law's moments, and sampled matrices."""

import math

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings
from numpy.testing import assert_allclose

from fastmoments.engines.finite_width.shared.marchenko_pastur import (
    _parts,
    mean_of_top_cell,
    sampled_largest,
    sampled_spectrum,
)
from fastmoments.kernels.spectra import bisected, real_curve

seeds = st.integers(0, 2**32 - 1)


def population(seed, points, ratio):
    """Eigenvalues, rising, and weights of the equations for them."""
    values = np.sort(np.exp(np.random.default_rng(seed).standard_normal(points)))
    return values, ratio * values**2 / points


@given(seeds, st.integers(1, 40), st.floats(0.01, 3.0))
@settings(max_examples=30, deadline=None)
def test_the_curve_solves_its_equation(seed, points, ratio):
    """With w = a - ib, x = -w + mean_k gamma t_k / (1 + t_k / w) is real."""
    values, weights = population(seed, points, ratio)
    for low, high in _parts(values, weights):
        a = np.linspace(low, high, 9)[1:-1]
        square, place = real_curve(a, values, weights)
        w = a - 1j * np.sqrt(square)
        x = -w + (weights / values / (1.0 + values / w[:, None])).sum(1)
        assert_allclose(x.real, place, rtol=1e-8, atol=1e-12)
        assert_allclose(x.imag, 0.0, atol=1e-8 * np.abs(w).max())


@given(seeds, st.integers(1, 40), st.floats(0.001, 3.0))
@settings(max_examples=30, deadline=None)
def test_parts_begin_and_end_where_their_sum_is_one(seed, points, ratio):
    values, weights = population(seed, points, ratio)
    parts = _parts(values, weights)
    for a in np.ravel(parts):
        assert_allclose((weights / (values + a) ** 2).sum(), 1.0, rtol=1e-3)
    ends = np.ravel(parts)
    assert np.all(np.diff(ends) > 0.0)
    inside = [np.any((low < -values) & (-values < high)) for low, high in parts]
    assert all(inside)


def test_bisection_of_third_powers_finds_the_minimum_between_poles():
    values, weights = np.array([1.0, 4.0]), np.array([0.3, 0.1])
    found = bisected(np.array([-1.0]), np.array([-4.0]), values, weights, True, 0.0)
    at = np.linspace(-3.9, -1.1, 100_001)
    h = (weights / (values + at[:, None]) ** 2).sum(1)
    assert_allclose(found, at[h.argmin()], atol=1e-4)


@given(seeds, st.integers(8, 80), st.floats(0.01, 1.5))
@settings(max_examples=30)
def test_spread_has_the_first_two_moments_of_the_free_convolution(seed, points, ratio):
    values = np.exp(np.random.default_rng(seed).standard_normal(points) * 0.7)
    found = sampled_spectrum(values, ratio)
    assert np.all(np.diff(found) >= 0) and found[0] >= -1e-12
    assert_allclose(found.mean(), values.mean(), rtol=1e-12)
    wanted = np.mean(values**2) + ratio * values.mean() ** 2
    # Means of cells miss the variance inside the cells.
    assert 0.9 * wanted - 0.1 * values.mean() ** 2 < np.mean(found**2) < 1.02 * wanted


@pytest.mark.parametrize("points", [20, 200])
def test_as_many_samples_as_points_fill_the_spectrum_down_to_zero(points):
    """White noise at ratio 1: x = 4 cos^2 t has the law (4 / pi) sin^2 t dt."""
    t, step = np.linspace(0.0, np.pi / 2.0, 200_001, retstep=True)
    mass = 4.0 / np.pi * np.sin(t) ** 2 * step
    above, first = np.cumsum(mass), np.cumsum(mass * 4.0 * np.cos(t) ** 2)
    expected = points * np.diff(np.interp(np.linspace(0.0, 1.0, points + 1), above, first))
    assert_allclose(sampled_spectrum(np.ones(points), 1.0)[::-1], expected, rtol=3e-3, atol=3e-4)


@pytest.mark.parametrize(("points", "width"), [(64, 512), (64, 64), (40, 20)])
def test_spread_is_the_spectrum_of_samples(points, width):
    rng = np.random.default_rng(7)
    values = np.append(np.ones(points - 2), [4.0, 12.0])
    found = []
    for _ in range(60):
        x = rng.standard_normal((width, points)) * np.sqrt(values)
        found.append(np.linalg.eigvalsh(x.T @ x / width))
    expected, mean = sampled_spectrum(values, points / width), np.mean(found, 0)
    assert_allclose(expected[-1], mean[-1], rtol=0.05)
    assert_allclose(np.sum(expected**2), np.sum(mean**2), rtol=0.05)
    assert_allclose(sampled_spectrum(values, 0.0), values)


@settings(max_examples=25, deadline=None)
@given(seeds, st.integers(3, 30), st.floats(0.01, 2.0))
def test_the_largest_eigenvalue_is_that_of_the_whole_spectrum(seed, points, ratio):
    values = np.sort(np.random.default_rng(seed).lognormal(0.0, 1.0, points))
    found = mean_of_top_cell(values, np.ones(points), ratio / points)
    assert_allclose(found, sampled_spectrum(values, ratio)[-1], rtol=0.03)
    doubled = mean_of_top_cell(np.sort(np.repeat(values, 2)), np.ones(2 * points), ratio / points)
    assert_allclose(mean_of_top_cell(values, np.full(points, 2.0), ratio / points), doubled, rtol=0.02)
    assert mean_of_top_cell(values, np.ones(points), 0.0) == values[-1]


@pytest.mark.parametrize("spike", [1.0, 1.8, 4.0])
def test_the_largest_eigenvalue_fluctuates_as_that_of_sampled_matrices(spike):
    """In the bulk, at the transition, and apart from it."""
    rng, points, samples, found = np.random.default_rng(6), 60, 240, []
    values = np.r_[np.ones(points - 1), spike]
    for _ in range(400):
        x = rng.standard_normal((samples, points)) * np.sqrt(values)
        found.append(np.linalg.eigvalsh(x.T @ x / samples)[-1])
    ours = sampled_largest(values, np.ones(points), 1.0 / samples)
    alone = 2.0 / samples * ours.apart * spike / ours.value + (1.0 - ours.apart) * ours.edge**2
    assert_allclose(ours.value, np.mean(found), rtol=0.05)
    assert 0.7 < math.sqrt(alone) / (np.std(found) / np.mean(found)) < 1.4
    assert (ours.apart > 0.8) == (spike > 2.0)
