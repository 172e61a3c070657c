"""Activations of two slopes of Gaussians with means: against integrals, and at the edges."""

import math

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings
from scipy.stats import norm

from fastmoments.maps.rectified import normal_table, rectify
from fastmoments.nets.activations import Abs, LeakyReLU, ReLU

ACTIVATIONS = [ReLU(), LeakyReLU(0.3), Abs(), LeakyReLU(1.0)]


def moments(activation, mean, covariance, noise=None):
    covariance = np.array(covariance, float)[None].copy()
    noise = np.ones_like(covariance) if noise is None else np.array(noise, float)[None].copy()
    means, slopes = rectify(activation, np.array(mean, float), covariance, noise)
    return means, slopes, covariance[0], noise[0]


def naive(activation, mean, covariance):
    """Mean, mean slope, covariance and E phi' phi' of a pair: one variable at a time, cut at the kinks."""
    (s, t), (m0, m1) = activation.slopes, mean
    s0, c = math.sqrt(covariance[0][0]), covariance[0][1]
    left = math.sqrt(covariance[1][1] - c * c / covariance[0][0])
    edges = np.unique(np.clip([-m0 / s0, *np.linspace(-10, 10, 81)], -10, 10))
    nodes, weights = np.polynomial.legendre.leggauss(20)
    half = np.diff(edges)[:, None] / 2
    z = (edges[:-1, None] + half + half * nodes).ravel()
    density = (half * weights).ravel() * norm.pdf(z)
    x = m0 + s0 * z
    inner = m1 + c / s0 * z  # mean of the other, given this one
    positive = norm.cdf(inner / left)
    other = (s - t) * (inner * positive + left * norm.pdf(inner / left)) + t * inner
    other_slope = (s - t) * positive + t
    value, slope = np.where(x > 0, s, t) * x, np.where(x > 0, s, t)
    means = density @ value, density @ other
    return (
        means,
        (density @ slope, density @ other_slope),
        density @ (value * (other - means[1])),
        density @ (slope * other_slope),
    )


@given(
    st.sampled_from(ACTIVATIONS), st.floats(-3, 3), st.floats(-3, 3), st.floats(-0.98, 0.98),
    st.floats(0.2, 3), st.floats(0.2, 3),
)  # fmt: skip
@settings(max_examples=60, deadline=None)
def test_a_pair_is_what_integration_finds(activation, m0, m1, r, s0, s1):
    mean, covariance = (m0, m1), [[s0 * s0, r * s0 * s1], [r * s0 * s1, s1 * s1]]
    means, slopes, after, factor = moments(activation, mean, covariance)
    wanted = naive(activation, mean, covariance)
    np.testing.assert_allclose(means, wanted[0], atol=1e-11)
    np.testing.assert_allclose(slopes, wanted[1], atol=1e-11)
    assert after[0, 1] == pytest.approx(wanted[2], abs=1e-11)
    assert factor[0, 1] == pytest.approx(wanted[3], abs=1e-11)


def test_a_linear_one_changes_nothing():
    rng = np.random.default_rng(0)
    root = rng.standard_normal((5, 7))
    _, slopes, after, factor = moments(LeakyReLU(1.0), rng.standard_normal(5), root @ root.T)
    np.testing.assert_allclose(after, root @ root.T, rtol=1e-14)
    np.testing.assert_array_equal(slopes, 1.0)
    np.testing.assert_array_equal(factor, 1.0)


def test_no_deviation_is_a_number():
    """Above 0 it passes with its slope, below it is cut, whatever others do."""
    covariance = np.diag([0.0, 0.0, 1.0])
    means, slopes, after, factor = moments(ReLU(), [2.0, -2.0, 0.0], covariance)
    np.testing.assert_allclose(means, [2.0, 0.0, 1 / math.sqrt(2 * math.pi)], atol=1e-15)
    np.testing.assert_allclose(slopes, [1.0, 0.0, 0.5], atol=1e-15)
    np.testing.assert_allclose(after, np.diag([0.0, 0.0, 0.5 - 0.5 / math.pi]), atol=1e-15)
    np.testing.assert_allclose(factor, [[1, 0, 0.5], [0, 0, 0], [0.5, 0, 0.5]], atol=1e-15)


@pytest.mark.parametrize("mean", [40.0, 1e10, 1e300])
def test_far_from_the_kink_it_is_linear(mean):
    covariance = [[1.0, 0.9], [0.9, 1.0]]
    means, slopes, after, _ = moments(ReLU(), [mean, -mean], covariance)
    np.testing.assert_array_equal(means, [mean, 0.0])
    np.testing.assert_allclose(slopes, [1.0, 0.0], atol=1e-299)
    np.testing.assert_allclose(after, [[1.0, 0.0], [0.0, 0.0]], atol=1e-15)


def test_the_noise_is_multiplied_by_the_share_of_both_slopes():
    noise = [[2.0, 0.5], [0.5, 3.0]]
    covariance = [[1.0, 0.2], [0.2, 1.0]]
    *_, factor = moments(ReLU(), [0.1, -0.4], covariance)
    *_, behind = moments(ReLU(), [0.1, -0.4], covariance, noise)
    np.testing.assert_allclose(behind, factor * noise, rtol=1e-15)


def test_the_normal_table_keeps_its_digits_far_out():
    """psi(-20) = phi(20) (1/20^2 - 3/20^4 + ...), of which a difference would leave nothing."""
    table = normal_table(np.array([-20.0, 20.0]))
    assert table[2, 0] == pytest.approx(norm.pdf(20.0) * (20.0**-2 - 3 * 20.0**-4 + 15 * 20.0**-6), rel=1e-4)
    assert table[2, 1] == pytest.approx(20.0 + table[2, 0]) and table[3, 1] == table[2, 0]


def test_samples_of_one_layer():
    """Entry by entry within 4.5 standard errors, of 10 units: 55 pairs."""
    rng = np.random.default_rng(5)
    root, mean, samples = rng.standard_normal((10, 10)) / 3, rng.standard_normal(10), 200_000
    means, _, after, _ = moments(ReLU(), mean, root @ root.T)
    values = np.maximum(mean + rng.standard_normal((samples, 10)) @ root.T, 0.0)
    centred = values - values.mean(0)
    found = centred.T @ centred / (samples - 1)
    squares = (centred**2).T @ centred**2 / samples - found**2
    assert np.abs((values.mean(0) - means) / values.std(0)).max() * math.sqrt(samples) < 4.5
    assert np.abs((found - after) / np.sqrt(squares)).max() * math.sqrt(samples) < 4.5
