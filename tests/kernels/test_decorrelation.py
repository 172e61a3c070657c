"""Lognormal distances behind a ReLU, against the rule spelled out, and sampled ones."""

import math

import hypothesis.strategies as st
import naive
import numpy as np
from hypothesis import given, settings
from numpy.testing import assert_allclose
from states import seeds

from fastmoments.kernels.decorrelation import mean_decorrelation


@given(seeds, st.integers(1, 9), st.sampled_from([1e-6, 1e-3, 0.3]))
@settings(max_examples=20, deadline=None)
def test_lognormal_distances_behind_a_relu_are_integrated_by_the_rule(seed, points, size):
    rng = np.random.default_rng(seed)
    tau, spread = (m + m.T for m in rng.uniform(0.0, 1.0, (2, points, points)))
    tau *= size
    spread[rng.uniform(size=tau.shape) < 0.3] = 0.0
    spread = np.minimum(spread, spread.T)
    nodes, weights = np.polynomial.hermite_e.hermegauss(5)
    weights /= weights.sum()
    mean, here = mean_decorrelation(tau, spread, nodes, weights)
    t = np.minimum(tau[..., None] * np.exp(np.sqrt(spread)[..., None] * nodes - 0.5 * spread[..., None]), 2.0)
    # Of small t the difference 1 - 2 k1 keeps few digits.
    assert_allclose(mean, (1.0 - 2.0 * naive.k1(1.0 - t)) @ weights, rtol=1e-9, atol=1e-15)
    assert_allclose(here, 1.0 - 2.0 * naive.k1(1.0 - tau), rtol=1e-9, atol=1e-15)
    assert_allclose(mean, mean.T, rtol=0.0)


def test_small_distances_keep_their_digits():
    t = np.array([[1e-20, 1e-9], [1e-9, 4.9e-5]])
    here = mean_decorrelation(t, np.zeros((2, 2)), np.zeros(1), np.ones(1))[1]
    theta = np.sqrt(2 * t)  # to leading orders 1 - f = t - theta^3 / 3 pi
    assert_allclose(here, t - theta**3 / (3 * math.pi), rtol=1e-6)
    assert np.all(here > 0.0)


def test_distances_are_those_of_sampled_points():
    rng, tau, variance, draws = np.random.default_rng(2), 0.02, 0.3, 400_000
    nodes, weights = np.polynomial.hermite_e.hermegauss(9)
    mean, _ = mean_decorrelation(
        np.full((1, 1), tau), np.full((1, 1), variance), nodes, weights / weights.sum()
    )
    t = tau * np.exp(math.sqrt(variance) * rng.standard_normal(draws) - 0.5 * variance)
    samples = 1.0 - 2.0 * naive.k1(1.0 - np.minimum(t, 2.0))
    assert abs(samples.mean() - mean[0, 0]) < 4.0 * samples.std() / math.sqrt(draws)


@given(st.floats(1e-6, 1.9), st.floats(1.0, 1.05))
def test_distances_shrink_and_keep_their_order(t, factor):
    """The map of correlations contracts: 0 < 1 - f < t, and it rises with t."""
    near, far = (
        mean_decorrelation(np.full((1, 1), at), np.zeros((1, 1)), np.zeros(1), np.ones(1))[1][0, 0]
        for at in (t, t * factor)
    )
    assert 0.0 < near < t
    assert near <= far
