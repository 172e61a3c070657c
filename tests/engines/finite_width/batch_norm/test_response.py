"""The response of batch norm against differences and sampled covariances."""

import math

import numpy as np
import pytest
from numpy.testing import assert_allclose

from fastmoments.engines.finite_width.batch_norm.response import (
    GaussianMixture,
    _response,
    batch_norm_response,
)
from fastmoments.engines.finite_width.shared.matrices import centred
from fastmoments.maps.quadrature import BatchNormWeight


def covariance(rng, points):
    """A random covariance of full rank, with variances of several sizes."""
    factor = rng.standard_normal((points, points + 2))
    return factor @ factor.T / points * np.outer(*[np.exp(0.3 * rng.standard_normal(points))] * 2)


def z_of(samples, expected):
    return (samples.mean(0) - expected) / (samples.std(0, ddof=1) / math.sqrt(len(samples)))


def test_batch_norm_of_a_sampled_covariance():
    """The deterministic equivalent against sampled covariances, the inverse variance exactly integrated."""
    rng, points, samples = np.random.default_rng(4), 24, 200
    values = np.append(np.ones(points - 2) * 0.7, [4.0, 0.0])
    found = []
    for _ in range(200):
        x = rng.standard_normal((samples, points)) * np.sqrt(values)
        own = np.maximum(np.linalg.eigvalsh(x.T @ x / samples), 0)
        found.append(BatchNormWeight(own, np.ones(points), points, 1e-3).integral())
    expected = BatchNormWeight(values, np.ones(points), points, 1e-3, samples).integral()
    assert abs(z_of(np.array(found), expected)) < 3.5
    naive = BatchNormWeight(values, np.ones(points), points, 1e-3).integral()
    assert abs(z_of(np.array(found), naive)) > 5.0  # and the mean covariance alone would be wrong


def test_slopes_behind_batch_norm_are_derivatives():
    """By the logarithm of a point's variance at the same correlations, however strong these are."""
    rng, step = np.random.default_rng(0), 1e-4
    matrix = covariance(rng, 12)
    found = batch_norm_response(matrix, 1e-3, 0.0)
    absolute, fourth = found.slopes
    values, vectors = np.linalg.eigh(matrix)
    mix = GaussianMixture.of(BatchNormWeight(values, np.ones(12), 12, 1e-3), vectors, 0.0, 1.0)
    squares = np.tensordot(mix.weights * mix.t, mix.covariances(vectors) ** 2, 1)
    response = _response(mix, squares)
    for point in (0, 5, 11):
        ends = []
        for sign in (1.0, -1.0):
            factor = np.ones(12)
            factor[point] = math.exp(0.5 * sign * step)
            ends.append(batch_norm_response(matrix * np.outer(factor, factor), 1e-3, 0.0))
        above, below = ends
        assert_allclose(absolute[point], math.log(above.nu1 / below.nu1) / (2 * step), rtol=1e-3)
        assert_allclose(fourth[point], math.log(above.mu4 / below.mu4) / (2 * step), rtol=1e-3)
        slope = (above.log_inverse - below.log_inverse) / (2 * step)
        assert_allclose(found.inverse_slope[point], slope, rtol=1e-3)  # the rule serves what falls faster
        change = np.log(np.diag(above.kernel) / np.diag(below.kernel)) / (2 * step)  # of E z_i^2 / 2
        assert_allclose(response[:, point], change, rtol=1e-4)


@pytest.mark.parametrize(("points", "rank"), [(10, 4), (60, 12)])
def test_norms_of_sampled_channels_fluctuate_together(points, rank):
    """Of norms behind batch norm and ReLU, relative to their sum: images that are alike move alike."""
    rng, width, nets = np.random.default_rng(12), 200, 1500
    factors = rng.standard_normal((points, rank)) * rng.uniform(0.7, 1.4, (points, 1))
    covariance = centred(factors @ factors.T + 0.5 * np.eye(points))
    through = batch_norm_response(covariance, 1e-3, 0.0)
    values, vectors = np.linalg.eigh(covariance)
    root = vectors * np.sqrt(np.maximum(values, 0.0))
    found = []
    for _ in range(nets):
        y = root @ rng.standard_normal((points, width))
        z = np.maximum(y / np.sqrt((y**2).mean(0) + 1e-3), 0.0)
        norms = ((z - z.mean(0)) ** 2).sum(1)
        found.append(np.log(norms / norms.sum()))
    sampled = width * np.cov(np.array(found).T)
    apart = sampled - through.fresh
    assert np.abs(apart).max() < 0.3 * np.diag(sampled).mean()
    assert np.linalg.norm(apart) < 0.3 * np.linalg.norm(sampled)
    alone = np.diag(np.diag(through.fresh))
    assert np.linalg.norm(apart) < 0.7 * np.linalg.norm(sampled - alone)
