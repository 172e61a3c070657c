"""The loops over pairs of points of several Gaussians at once, against the same in matrices."""

import math

import hypothesis.strategies as st
import naive
import numpy as np
from hypothesis import given, settings
from numpy.testing import assert_allclose

from fastmoments.kernels.mixtures import mean_of_products, rectified_mixture

seeds = st.integers(0, 2**32 - 1)


def gaussians(rng, count, points):
    factors = rng.standard_normal((count, points, points + 1))
    return factors @ np.swapaxes(factors, 1, 2) / points


@given(seeds, st.integers(1, 4), st.integers(1, 9))
@settings(max_examples=25, deadline=None)
def test_a_rectified_mixture_is_the_sum_over_its_gaussians(seed, count, points):
    rng = np.random.default_rng(seed)
    pairs, weights = gaussians(rng, count, points), rng.uniform(0.1, 1.0, count)
    t, inside = rng.uniform(0.0, 2.0, count), rng.uniform(0.0, 1.0, (count, points))
    expected = np.zeros((5, points, points))
    for covariance, weight, time, shared in zip(pairs, weights, t, inside, strict=True):
        masks, alone = naive.mask(covariance), 1.0 - time * np.diag(covariance)
        expected[0] += weight * naive.relu(covariance)
        expected[1] += weight * masks
        expected[2] += weight * masks * np.outer(alone, alone)
        expected[3] += weight * masks * np.outer(1.0 - shared, 1.0 - shared)
        expected[4] += weight * time * covariance**2
    for found, wanted in zip(rectified_mixture(pairs, weights, t, inside), expected, strict=True):
        assert_allclose(found, wanted, rtol=1e-11, atol=1e-11)
        assert_allclose(found, found.T, rtol=0.0)


def test_points_without_variance_add_nothing():
    pairs = np.zeros((1, 2, 2))
    pairs[0, 0, 0] = 1.0
    kernel, *others = rectified_mixture(pairs, np.ones(1), np.ones(1), np.zeros((1, 2)))
    assert_allclose(kernel, [[0.5, 0.0], [0.0, 0.0]], atol=1e-140)
    assert np.all(np.isfinite(others))
    assert_allclose(mean_of_products(pairs, False), 0.25, rtol=1e-12)


@given(seeds, st.integers(1, 3), st.integers(1, 9))
@settings(max_examples=25, deadline=None)
def test_means_of_products_are_those_of_gaussian_pairs(seed, count, points):
    """By integration over the angle, pair by pair."""
    pairs = gaussians(np.random.default_rng(seed), count, points)
    expected = np.empty((2, count))
    for n, covariance in enumerate(pairs):
        r, scale = naive.correlation(covariance)
        for row, (f, degree) in enumerate(
            ((lambda u, v: np.abs(u * v), 2), (lambda u, v: u * v * np.abs(u * v), 4))
        ):
            products = np.vectorize(lambda c, f=f, degree=degree: naive.gaussian_pair(f, c, degree))(r)
            expected[row, n] = np.mean(scale ** (degree // 2) * products)
    assert_allclose(mean_of_products(pairs, False), expected[0], rtol=1e-10)
    assert_allclose(mean_of_products(pairs, True), expected[1], rtol=1e-9, atol=1e-12)


def test_means_of_products_are_sampled_ones():
    rng = np.random.default_rng(4)
    covariance = np.array([[1.0, 0.6], [0.6, 2.0]])
    y = rng.standard_normal((400_000, 2)) @ np.linalg.cholesky(covariance).T
    for odd, values in ((False, np.abs(y)), (True, y * np.abs(y))):
        samples = values.mean(1) ** 2  # the mean over pairs of products
        error = samples.std() / math.sqrt(len(y))
        assert abs(samples.mean() - mean_of_products(covariance[None], odd)[0]) < 3.5 * error
