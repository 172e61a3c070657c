"""The law of a channel at one point."""

import math

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy.special import ndtr

from fastmoments.maps.channels import gaussian, nearly_gaussian
from fastmoments.nets.activations import Abs, LeakyReLU, ReLU

ACTIVATIONS = (ReLU(), LeakyReLU(0.2), Abs())


@given(st.floats(0.03, 0.97), st.floats(0.0, 1.0), st.sampled_from(ACTIVATIONS))
@settings(max_examples=25, deadline=None)
def test_one_point_behind_a_half_gaussian_is_exact(share, noise_share, activation):
    """phi(x) + s g against quadrature over x: mass above 0, second moment, noise that passes."""
    a, b = activation.slopes
    x, w = np.polynomial.legendre.leggauss(400)
    x, w = 4.5 * (x + 1.0), 4.5 * w * np.exp(-0.5 * (4.5 * (x + 1.0)) ** 2) / math.sqrt(2.0 * math.pi)
    second = 0.5 * (a * a + b * b)
    width, scale = math.sqrt(share), math.sqrt((1.0 - share) / second)
    found = gaussian().activated(activation).plus(np.array([share]), np.array([noise_share]))
    positive, negative = found.halves
    open_above, open_below = ndtr(scale * a * x / width), ndtr(-scale * b * x / width)
    open_below = ndtr(scale * b * -x / width)
    assert_allclose(found.density[0] @ positive, w @ (open_above + open_below), atol=2e-5)
    assert_allclose(found.mean(2), 1.0, rtol=2e-5)
    kept = (1.0 - noise_share) / second
    passed = w @ (open_above * (kept * a * a + noise_share) + open_below * (kept * b * b + noise_share))
    assert_allclose(found.passed((1.0, 0.0)), passed, atol=3e-5)
    assert_allclose(found.passed((1.0, 1.0)), 1.0)
    assert negative.sum() > 0.0


def test_the_fourth_moment_of_what_is_nearly_gaussian():
    """Of a sum the fourth cumulants add up."""
    assert_allclose(gaussian().kurtosis, 0.0, atol=1e-7)
    one, other = nearly_gaussian(-0.3), nearly_gaussian(0.2)
    assert_allclose([one.kurtosis, other.kurtosis], [-0.3, 0.2], atol=1e-7)
    share = np.array([0.4])
    found = one.plus(share, share, other)
    assert_allclose(found.mean(2), 1.0, rtol=1e-6)
    assert_allclose(found.kurtosis, 0.6**2 * -0.3 + 0.4**2 * 0.2, atol=2e-5)
    assert nearly_gaussian(-5.0).kurtosis == nearly_gaussian(-1.0).kurtosis


def test_the_law_is_taken_and_restored():
    channels = gaussian().activated(LeakyReLU(0.3)).plus(np.array([0.2, 0.4]), np.array([0.5, 0.1]))
    arrays, described = channels.taken()
    again = type(channels).restored(arrays, described)
    assert again.slopes == channels.slopes and again.zero == channels.zero and again.step == channels.step
    assert_allclose(again.mean(1), channels.mean(1), rtol=0)
