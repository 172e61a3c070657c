"""Lognormal angles against infinite width and quadrature."""

import math

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings
from numpy.testing import assert_allclose

from fastmoments.engines.finite_width.plain.angle_closure import AngleMoments
from fastmoments.engines.finite_width.shared.relu_moments import ReluMoments
from fastmoments.kernels.decorrelation import mean_decorrelation

seeds = st.integers(0, 2**32 - 1)


def covariance(rng, points):
    """A random covariance of full rank, with variances of several sizes."""
    factor = rng.standard_normal((points, points + 2))
    return factor @ factor.T / points * np.outer(*[np.exp(0.3 * rng.standard_normal(points))] * 2)


@pytest.mark.parametrize("kind", ["sampled", "rectified"])
def test_pairs_without_noise_are_those_of_infinite_width(kind):
    rng = np.random.default_rng(0)
    matrix = covariance(rng, 6)
    c = matrix / np.sqrt(np.outer(np.diag(matrix), np.diag(matrix)))
    found = getattr(AngleMoments.exact(c), kind)(1e15).mean_correlation()
    assert_allclose(found, c if kind == "sampled" else 2 * ReluMoments.of(c).k1 + 0 * c, atol=1e-7)


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
    assert_allclose(mean, (1.0 - 2.0 * ReluMoments.of(1.0 - t).k1) @ weights, rtol=1e-9, atol=1e-15)
    assert_allclose(here, 1.0 - 2.0 * ReluMoments.of(1.0 - tau).k1, rtol=1e-9, atol=1e-15)
    assert_allclose(mean, mean.T, rtol=0.0)


def test_small_distances_keep_their_digits():
    t = np.array([[1e-20, 1e-9], [1e-9, 4.9e-5]])
    here = mean_decorrelation(t, np.zeros((2, 2)), np.zeros(1), np.ones(1))[1]
    theta = np.sqrt(2 * t)  # to leading orders 1 - f = t - theta^3 / 3 pi
    assert_allclose(here, t - theta**3 / (3 * math.pi), rtol=1e-6)
    assert np.all(here > 0.0)
