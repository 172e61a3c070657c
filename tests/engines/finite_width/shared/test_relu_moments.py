"""Expectations of rectified Gaussians against sampled ones."""

import math

import numpy as np
import pytest
from numpy.testing import assert_allclose

from fastmoments.engines.finite_width.shared.relu_moments import (
    ReluMoments,
    correlation_of_squares,
)


@pytest.mark.parametrize("c", [-0.7, 0.0, 0.4, 0.95])
def test_expectations_of_two_rectified_gaussians(c):
    rng = np.random.default_rng(3)
    u, rest = rng.standard_normal((2, 400_000))
    v = c * u + math.sqrt(1 - c * c) * rest
    a, b, relu = np.maximum(u, 0), np.maximum(v, 0), ReluMoments.of(np.array(c))
    products = [(u > 0) * (v > 0), a * b, a**2 * b**2, a**3 * b]
    for product, found in zip(products, (relu.k0, relu.k1, relu.j2, relu.m31), strict=True):
        error = product.std() / math.sqrt(len(u))
        assert abs(product.mean() - float(found)) < 3.5 * error


def test_expectations_at_the_ends():
    relu = ReluMoments.of(np.array([1.0, -1.0]))
    assert_allclose(
        [relu.k0, relu.k1, relu.j2, relu.m31], [[0.5, 0], [0.5, 0], [1.5, 0], [1.5, 0]], atol=1e-15
    )


@pytest.mark.parametrize("c", [-0.5, 0.0, 0.3, 0.8, 1.0])
def test_squares_of_rectified_gaussians(c):
    rng = np.random.default_rng(0)
    u = rng.standard_normal(4_000_000)
    v = c * u + math.sqrt(1 - c * c) * rng.standard_normal(u.size)
    a, b = ((np.maximum(x, 0) - 1 / math.sqrt(2 * math.pi)) ** 2 for x in (u, v))
    products = (a - a.mean()) * (b - b.mean()) / (a.std() * b.std())
    error = products.std() / math.sqrt(products.size)
    assert abs(products.mean() - correlation_of_squares(np.array([c]))[0]) < 4.0 * error + 1e-9
