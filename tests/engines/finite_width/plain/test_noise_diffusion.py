"""The diffusion of the noise of plain nets against sampled layers."""

import dataclasses
import math

import numpy as np
import pytest
from numpy.testing import assert_allclose

from fastmoments.engines.finite_width.closures import CLOSURES
from fastmoments.engines.finite_width.plain.noise_diffusion import (
    NoiseDiffusion,
    SignalNoiseAlignment,
    _of_the_mean,
)
from fastmoments.engines.finite_width.shared.relu_moments import ReluMoments


def sampled_noises(rng, nets, width, c, rho, rectified):
    """Noises of two points behind a layer, (nets, width) each, of unit variances and given correlations."""
    y, fresh = rng.standard_normal((2, nets, width))
    nu, other = rng.standard_normal((2, nets, width))
    nu2 = rho * nu + math.sqrt(1.0 - rho**2) * other
    if not rectified:
        return nu, nu2
    y2 = c * y + math.sqrt(1.0 - c * c) * fresh
    return math.sqrt(2.0) * (y > 0.0) * nu, math.sqrt(2.0) * (y2 > 0.0) * nu2


@pytest.mark.parametrize("rho", [0.0, 0.4, 0.7])
@pytest.mark.parametrize("c", [0.0, 0.5, 0.95])
def test_squared_correlations_behind_a_relu_are_sampled_ones(rho, c):
    """E rho'^2 to O(1/N), all its terms, among them 40 f r p."""
    rng, nets, width = np.random.default_rng(5), 20_000, 200
    a, b = sampled_noises(rng, nets, width, c, rho, True)
    squares = (a * b).sum(1) ** 2 / ((a * a).sum(1) * (b * b).sum(1))
    r = rho**2 * (1.0 - np.eye(2))
    before = NoiseDiffusion(r, 0.0, 0.0, SignalNoiseAlignment(0.0, 0.0))
    matrix = np.array([[1.0, c], [c, 1.0]])
    found = before.rectified(width, ReluMoments.of(matrix), matrix)
    error = squares.std() / math.sqrt(nets)
    assert abs(squares.mean() - found.squared_correlation[0, 1]) < 3.5 * error + 20.0 / width**2
    logs = np.log([(a * a).mean(1), (b * b).mean(1)])
    assert_allclose(found.point_variance, logs.var(1).mean(), rtol=0.05)
    assert abs(found.pair_covariance - np.cov(logs)[0, 1]) < 0.05 * found.point_variance


@pytest.mark.parametrize("rho", [0.0, 0.4, 0.7])
def test_correlations_and_variances_behind_a_linear_layer_are_sampled_ones(rho):
    rng, nets, width = np.random.default_rng(6), 20_000, 200
    a, b = sampled_noises(rng, nets, width, 0.0, rho, False)
    logs = np.log([(x * x).mean(1) for x in (a, b)])
    found = NoiseDiffusion(rho**2 * (1.0 - np.eye(2)), 0.0, 0.0, SignalNoiseAlignment(0.0, 0.0))
    found = found.sampled(width)
    products = (a * b).sum(1)
    squares = products**2 / ((a * a).sum(1) * (b * b).sum(1))
    # The mean of X is known, and X varies with the squares: a control variate.
    control = products / width - rho
    slope = np.cov(squares, control)[0, 1] / control.var()
    squares = squares - slope * control
    error = squares.std() / math.sqrt(nets)
    assert abs(squares.mean() - found.squared_correlation[0, 1]) < 3.5 * error + 5.0 / width**2
    assert_allclose(found.point_variance, logs.var(1).mean(), rtol=0.05)
    assert abs(found.pair_covariance - np.cov(logs)[0, 1]) < 0.05 * found.point_variance


def test_the_alignment_of_signal_and_noise_is_that_of_sampled_layers():
    """Vectors x and dx of a point, carried through 12 ReLU layers of 100 channels by sampling."""
    rng, nets, width, layers = np.random.default_rng(7), 20_000, 100, 12
    a = np.full(nets, math.sqrt(0.2))
    law = SignalNoiseAlignment(0.2, 0.04)
    for _ in range(layers):
        y, z = rng.standard_normal((2, nets, width))
        dy = a[:, None] * y + np.sqrt(1.0 - a[:, None] ** 2) * z
        x, dx = np.maximum(y, 0.0), (y > 0.0) * dy
        a = (x * dx).sum(1) / np.sqrt((x * x).sum(1) * (dx * dx).sum(1))
        law = law.diffused(1.0 / width)
    for power, found in ((2, law.first), (4, law.second)):
        moments = a**power
        assert_allclose(found, moments.mean(), rtol=0.06)
    other = dataclasses.replace(CLOSURES, third_moment=lambda first, second: 0.0)
    assert law.diffused(0.1).second > SignalNoiseAlignment(law.first, law.second).diffused(0.1, other).second


def test_the_mean_of_lognormal_variables():
    rng, points = np.random.default_rng(8), 10
    logs = math.sqrt(0.02) * rng.standard_normal((200_000, 1))
    logs = logs + math.sqrt(0.08) * rng.standard_normal((200_000, points))
    assert_allclose(_of_the_mean(0.02, 0.1, points), np.log(np.exp(logs).mean(1)).var(), rtol=0.02)
