"""The jitted loops as plain Python on a small job, where coverage can see their lines.

Run by itself with NUMBA_DISABLE_JIT=1; compiled, it is a quick test of the same loops.
"""

from dataclasses import replace

import naive
import numpy as np
import pytest
from states import in_full, state

from fastmoments.engines.finite_width.plain_convolutional.functionals import transposed
from fastmoments.kernels import decorrelation, forms, mixtures, spectra
from fastmoments.maps import batch_norm
from fastmoments.maps.activation import activate
from fastmoments.maps.convolution import convolve
from fastmoments.nets.activations import ReLU
from fastmoments.nets.linear import Conv, Gaussian


@pytest.mark.parametrize("padding", ["periodic", "zeros", "symmetric"])
@pytest.mark.parametrize("active", [False, True])
def test_convolution(padding, active):
    size = (2, 3, 3)
    conv = Conv(3, weights=Gaussian(bias_variance=0.1), padding=padding)
    signal, noise, full, _ = state(0, size)
    convolve(signal, noise, conv, activation=ReLU() if active else None)
    expected = naive.flat(naive.convolve(full, conv))
    expected = naive.relu(expected) if active else expected
    np.testing.assert_allclose(signal.dense(), expected, rtol=1e-11)


@pytest.mark.parametrize(
    "conv",
    [
        Conv(3, stride=2),
        Conv(2, stride=3, padding="symmetric"),
        Conv(5, padding="zeros"),
        Conv(3, weights=Gaussian(tap_variances=[[1.0, 2.0, 3.0], [0.0, 1.0, 0.0], [4.0, 0.0, 1.0]])),
    ],
)
def test_other_taps(conv):
    signal, noise, full, _ = state(0, (2, 4, 4))
    convolve(signal, noise, replace(conv, weights=replace(conv.weights, bias_variance=0.1)), activation=None)
    expected = naive.flat(
        naive.convolve(full, replace(conv, weights=replace(conv.weights, bias_variance=0.1)))
    )
    np.testing.assert_allclose(signal.dense(), expected, rtol=1e-11)


def test_transposed_convolution():
    """Of a sum over all pairs, every element of the covariance is seen nine times."""
    found = transposed(np.ones((1, 18, 18)), (2, 3, 3), Conv(3))
    np.testing.assert_allclose(found, 1.0, rtol=1e-14)


def test_lognormal_distances():
    """Points alike stay alike, and opposite ones become orthogonal: 1 - f(-1) = 1."""
    found = decorrelation.mean_decorrelation(np.diag([2.0, 0.0]), np.diag([0.0, 1.0]), np.ones(1), np.ones(1))
    np.testing.assert_allclose(found, [np.diag([1.0, 0.0])] * 2, atol=1e-15)


def test_spectrum_of_white_noise():
    """One eigenvalue: the curve is a circle around -1 of radius sqrt(gamma)."""
    gamma, a = np.array([0.25]), np.array([-1.3, -1.0])
    square, place = spectra.real_curve(a, np.ones(1), gamma)
    np.testing.assert_allclose(square, 0.25 - (1.0 + a) ** 2, rtol=1e-9)
    np.testing.assert_allclose(place, -a + 0.25 * (1.0 - (1.0 + a) / 0.25), rtol=1e-9)
    ends = spectra.bisected(np.array([-3.0]), np.array([-1.1]), np.ones(1), gamma, False, 1.0)
    np.testing.assert_allclose(ends, -1.5, rtol=1e-9)


def test_orders_of_a_form():
    """phi^2 of one point of variance 1: 4 / sqrt(2 pi), 2 and 4 / sqrt(2 pi)."""
    one = np.ones((1, 1))
    found = forms.rectified_orders(one[None], one, 0.5 * one, 0.0 * one, one, np.ones(1))
    for order, expected in zip(found, [1.595769, 2.0, 1.595769], strict=True):
        np.testing.assert_allclose(order, expected, rtol=1e-6)


def test_gaussians_of_a_mixture():
    """Two points that are one: k0 = 1 / 2, E relu^2 = 1 / 2, E y^2 = 1, E y^4 = 3; all damped to 1 - t."""
    pairs = np.ones((1, 2, 2))
    found = mixtures.rectified_mixture(pairs, np.ones(1), np.full(1, 0.2), np.full((1, 2), 0.5))
    for sums, expected in zip(found, [0.5, 0.5, 0.32, 0.125, 0.2], strict=True):
        np.testing.assert_allclose(sums, expected, rtol=1e-12)
    np.testing.assert_allclose(mixtures.mean_of_products(pairs, False), 1.0, rtol=1e-12)
    np.testing.assert_allclose(mixtures.mean_of_products(pairs, True), 3.0, rtol=1e-12)


def test_relu():
    signal, noise, full, blocks = state(0, (2, 2, 2))
    activate(signal, noise, ReLU())
    np.testing.assert_allclose(signal.dense(), naive.relu(naive.flat(full)), rtol=1e-12)
    np.testing.assert_allclose(
        in_full(noise)[0], blocks[0] * naive.mask(naive.flat(full)[:4, :4]), rtol=1e-12
    )


@pytest.mark.parametrize("active", [False, True])
def test_batch_norm(active):
    signal, noise, full, _ = state(0, (2, 2, 2))
    exact = naive.BatchNorm(naive.flat(full), 1e-3)
    batch_norm.normalise(signal, noise, 1e-3, activation=ReLU() if active else None)
    expected = exact.relu() if active else exact.linear()
    np.testing.assert_allclose(signal.dense(), expected, rtol=0, atol=1e-6 * expected.max())
