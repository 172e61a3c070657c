"""The loops over eigenvalues, against their equations solved by other means."""

import hypothesis.strategies as st
import numpy as np
from hypothesis import given, settings
from numpy.testing import assert_allclose
from scipy.optimize import brentq
from states import seeds

from fastmoments.kernels.spectra import bisected, real_curve


def population(seed, points, ratio):
    values = np.sort(np.exp(np.random.default_rng(seed).standard_normal(points)))
    return values, ratio * values**2 / points


@given(seeds, st.integers(1, 20), st.floats(0.05, 3.0))
@settings(max_examples=25)
def test_the_curve_is_the_root_that_a_solver_finds(seed, points, ratio):
    values, weights = population(seed, points, ratio)

    def total(square, a):
        return (weights / ((values + a) ** 2 + square)).sum()

    a = -values[[0, points // 2, -1]] * 1.001
    square, place = real_curve(a, values, weights)
    for at, found, x in zip(a, square, place, strict=True):
        expected = brentq(lambda square, at=at: total(square, at) - 1.0, 1e-14 * weights.min(), weights.sum())
        assert_allclose(found, expected, rtol=1e-7)
        w = at - 1j * np.sqrt(found)
        assert_allclose(x, (-w + (weights / values / (1 + values / w)).sum()).real, rtol=1e-10, atol=1e-12)


@given(seeds, st.integers(1, 20), st.floats(0.05, 3.0))
@settings(max_examples=25)
def test_the_order_of_eigenvalues_does_not_matter_and_scales_go_through(seed, points, ratio):
    values, weights = population(seed, points, ratio)
    a, order = -values[:1] * 1.01, np.random.default_rng(seed).permutation(points)
    square, place = real_curve(a, values, weights)
    for one, other in ((values[order], weights[order]), (4.0 * values, 16.0 * weights)):
        scale = one.sum() / values.sum()
        again, there = real_curve(scale * a, one, other)
        assert_allclose(again, scale**2 * square, rtol=1e-8)
        assert_allclose(there, scale * place, rtol=1e-8, atol=1e-10)


@given(seeds, st.integers(1, 20), st.floats(0.05, 3.0))
@settings(max_examples=25)
def test_bisection_ends_just_above_the_root(seed, points, ratio):
    """Right of all poles the sum falls from infinity to nothing."""
    values, weights = population(seed, points, ratio)
    far, near = np.sqrt(weights.sum()) - values[0] + 1.0, -values[0] + 1e-9 * values[0]
    for cubed, power in ((False, 2), (True, 3)):

        def total(a, power=power):
            return (weights / (values + a) ** power).sum()

        level = 0.5 * (total(far) + total(far + 1.0))
        found = bisected(np.array([far + 1.0]), np.array([near]), values, weights, cubed, level)
        expected = brentq(lambda a, total=total, level=level: total(a) - level, near, far + 1.0, xtol=1e-13)
        assert_allclose(found, expected, rtol=0, atol=1e-9 * (far + 1.0 - near))
