"""Gradients of functionals of a covariance against differences."""

import hypothesis.strategies as st
import numpy as np
from hypothesis import given, settings
from numpy.testing import assert_allclose

from fastmoments.engines.finite_width.plain.functionals import FUNCTIONALS, functionals, rank_gradient


def values(kernel):
    h = np.eye(len(kernel)) - 1.0 / len(kernel)
    inner = h @ kernel @ h
    return np.array(
        [
            np.log(np.trace(inner)),
            np.log(np.mean(np.diag(inner) ** 2)),
            np.log(np.trace(inner) / np.linalg.eigvalsh(inner)[-1] - 1.0),
        ]
    )


@given(st.integers(0, 2**32 - 1), st.integers(3, 7))
@settings(max_examples=20, deadline=None)
def test_gradients_are_differences(seed, points):
    rng = np.random.default_rng(seed)
    x, step = rng.standard_normal((points, points + 3)), rng.standard_normal((points, points))
    kernel, step = x * np.linspace(1.0, 3.0, points)[:, None], 1e-6 * (step + step.T)
    kernel = kernel @ kernel.T
    change = (values(kernel + step) - values(kernel - step)) / 2.0
    found = functionals(kernel)
    assert len(found) == len(FUNCTIONALS)
    assert_allclose((found * step).sum((1, 2)), change, rtol=1e-3, atol=1e-9)


def test_a_single_direction_has_no_excess_to_vary():
    assert_allclose(rank_gradient(2.0, 2.0, np.array([0.6, 0.8])), 0.0)
