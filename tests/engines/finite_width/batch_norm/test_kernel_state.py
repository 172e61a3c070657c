"""The mean kernel before the first batch norm, and the noise of single points, against sampled ones."""

import math

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.special import polygamma

from fastmoments.engines.finite_width.batch_norm.kernel_state import KernelState, PointNoise

RNG = np.random.default_rng(0)
IMAGES = RNG.standard_normal((8, 60)) * np.linspace(0.8, 1.3, 8)[:, None] + 0.2


def noise_share(points, variance):
    """Share of a point's own variance in that of the mean of lognormal ones: E x^2 / (M (E x)^2)."""
    return math.exp(variance) / (points - 1.0 + math.exp(variance))


def test_channels_of_the_images_have_their_gram_matrix():
    kernel, h = KernelState.of_images(IMAGES, 1.5), np.eye(8) - 1.0 / 8
    gram = 1.5 * IMAGES @ IMAGES.T / 60
    assert_allclose(kernel.covariance, h @ gram @ h, atol=1e-12)
    assert_allclose(kernel.second, np.diag(gram))
    assert_allclose(kernel.extent, (np.log(np.trace(h @ gram)), np.log(1.5)))


def test_a_gain_scales_the_kernel():
    one, three = KernelState.of_images(IMAGES, 1.0), KernelState.of_images(IMAGES, 1.0).scaled(3.0)
    assert_allclose(three.covariance, 3.0 * one.covariance)
    assert_allclose(three.second, 3.0 * one.second)
    assert_allclose(three.log_noise, np.log(3.0))
    assert_allclose(three.shared_weights, 9.0 * one.shared_weights)


def test_noise_of_points_behind_a_linear_layer_is_that_of_sampled_channels():
    """A draw of noise on F features and of N channels for every net: variance of log D, what points share."""
    features, width, nets, points = 40, 100, 20_000, 4
    noise = PointNoise(points, features)
    assert noise.correlation == 1.0 / features and noise.apart == 2.0 / features
    rng = np.random.default_rng(1)
    draws = rng.standard_normal((nets, points, features))
    roots = np.linalg.cholesky(np.einsum("nif,njf->nij", draws, draws) / features)
    logs = np.log(np.square(roots @ rng.standard_normal((nets, points, width))).mean(2))
    covariance = np.cov(logs.T)
    off = ~np.eye(points, dtype=bool)
    apart = np.diag(covariance).mean() - covariance[off].mean()
    expected = noise.sampled(width)  # of the mean over points
    noise.sample(width)
    # 2 / F of the draw, then 2 / N (1 - r), r that of draws over nets.
    assert_allclose(noise.apart, 2.0 / features + 2.0 / width * (1.0 - 1.0 / features))
    assert_allclose(noise.correlation, 1.0 / features + 1.0 / width)
    # The logarithm of a chi-squared variable over its mean F has the variance 2 / F to O(1 / F).
    beyond = polygamma(1, features / 2) - 2.0 / features
    assert_allclose(apart, noise.apart + beyond, rtol=0.03)
    drawn = polygamma(1, points * features / 2)
    assert_allclose(np.log(np.exp(logs).mean(1)).var(), drawn + expected, rtol=0.03)
    share = noise_share(points, 2.0 / features)  # the points stand at quantiles of that law
    assert expected == pytest.approx(2.0 / width * (share + (1.0 - share) / features), rel=0.005)


def test_points_that_vary_alike_share_all():
    noise = PointNoise(16, 50)
    assert noise.participation == pytest.approx(noise_share(16, 2.0 / 50), rel=0.01)
    for _ in range(20):
        noise.sample(64)
    assert 1.0 / 16 < noise.participation < 1.0 and math.isfinite(noise.correlation)
