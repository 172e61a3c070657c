"""Activations about the means of Gaussians: by Hermite coefficients, against quadrature in two dimensions."""

import numpy as np
import pytest

import fastmoments as fm
from fastmoments.maps.bent import TERMS, bend, coefficients

SMOOTH = [fm.GELU(), fm.Tanh(), fm.SiLU(), fm.Erf(), fm.Sin(), fm.Softplus(), fm.Mish()]
KINKED = [fm.ELU(0.5), fm.HardSwish()]
NO_MIRROR = np.zeros(1, np.int64)


def naive(activation, mean, covariance, nodes=1200):
    """Means, mean slopes, covariance and E phi' phi' of a pair: trapezoidal rule, 1e-12 if smooth."""
    z = np.linspace(-9.0, 9.0, nodes)
    weights = np.exp(-0.5 * z * z)
    weights = weights / weights.sum()
    root = np.linalg.cholesky(covariance)
    x, y = mean[0] + root[0, 0] * z[:, None], mean[1] + root[1, 0] * z[:, None] + root[1, 1] * z
    both = weights[:, None] * weights
    fx, fy = np.broadcast_to(activation.value(x), both.shape), activation.value(y)
    sx, sy = np.broadcast_to(activation.slope(x), both.shape), activation.slope(y)
    means = np.array([(both * fx).sum(), (both * fy).sum()])
    slopes = np.array([(both * sx).sum(), (both * sy).sum()])
    centred = (both * (fx - means[0]) * (fy - means[1])).sum()
    return means, slopes, centred, (both * sx * sy).sum()


@pytest.mark.parametrize("activation", [*SMOOTH, *KINKED], ids=lambda each: type(each).__name__)
@pytest.mark.parametrize("r", [-0.9, 0.2, 0.95])
def test_a_pair_is_what_integration_finds(activation, r):
    mean, (s, t) = np.array([0.7, -1.3]), (1.1, 0.6)
    covariance = np.array([[s * s, r * s * t], [r * s * t, t * t]])
    signal, noise = covariance[None].copy(), np.ones((1, 2, 2))
    found = bend(activation, mean, signal, noise, NO_MIRROR)
    wanted = naive(activation, mean, covariance)
    # The oracle's own error where phi' jumps is of the order of its step, 0.015.
    atol, slope = (1e-9, 1e-9) if activation in SMOOTH else (1e-4, 5e-3)
    np.testing.assert_allclose(found[0], wanted[0], atol=atol)
    np.testing.assert_allclose(found[1], wanted[1], atol=slope)
    assert signal[0, 0, 1] == pytest.approx(wanted[2], abs=atol)
    assert noise[0, 0, 1] == pytest.approx(wanted[3], abs=slope)


def test_a_kink_off_the_mean_is_integrated_exactly():
    """ELU(1) + ELU(0) from ReLU: relu has closed forms, to which alpha 0 must come down."""
    rng = np.random.default_rng(0)
    root, mean = rng.standard_normal((6, 8)), rng.standard_normal(6)
    before = (root @ root.T / 8)[None]
    one, other = before.copy(), before.copy()
    noises = np.ones_like(before), np.ones_like(before)
    found = bend(fm.ELU(0.0), mean, one, noises[0], NO_MIRROR)
    wanted = bend(fm.ReLU(), mean, other, noises[1], NO_MIRROR)
    np.testing.assert_allclose(found[0], wanted[0], atol=1e-12)
    np.testing.assert_allclose(found[1], wanted[1], atol=1e-12)
    np.testing.assert_allclose(one, other, atol=1e-6)  # the expansion of a kink converges slowly
    np.testing.assert_allclose(np.diagonal(one[0]), np.diagonal(other[0]), atol=1e-12)
    np.testing.assert_allclose(np.diagonal(noises[0][0]), np.diagonal(noises[1][0]), atol=1e-12)


def test_displacements_are_matrices_of_their_own():
    rng = np.random.default_rng(1)
    root, mean = rng.standard_normal((3, 9)), rng.standard_normal(3)
    square = root @ root.T / 9
    signal, noise = np.stack([square, 0.5 * square, 0.5 * square]), np.ones((3, 3, 3))
    alone, factor = signal[:1].copy(), np.ones((1, 3, 3))
    bend(fm.Tanh(), mean, signal, noise, np.array([0, 2, 1]))
    bend(fm.Tanh(), mean, alone, factor, NO_MIRROR)
    np.testing.assert_array_equal(signal[0], alone[0])
    assert signal[1, 0, 0] < signal[0, 0, 0] and np.array_equal(signal[1], signal[2])


def test_without_deviation_it_is_the_function():
    value, slope, square, square_slope = coefficients(fm.GELU(), np.array([-0.4, 2.0]), np.zeros(2))
    x = np.array([-0.4, 2.0])
    np.testing.assert_allclose(value[0], fm.GELU().value(x), rtol=1e-13)
    np.testing.assert_allclose(slope[0], fm.GELU().slope(x), rtol=1e-13)
    np.testing.assert_allclose(value[1:], 0.0, atol=1e-13)
    np.testing.assert_allclose(square, fm.GELU().value(x) ** 2, rtol=1e-13)
    np.testing.assert_allclose(square_slope, fm.GELU().slope(x) ** 2, rtol=1e-13)
    assert value.shape == (TERMS, 2)
    signal, noise = np.zeros((1, 2, 2)), np.ones((1, 2, 2))
    bend(fm.GELU(), x, signal, noise, NO_MIRROR)
    np.testing.assert_allclose(signal, 0.0, atol=1e-14)
    np.testing.assert_allclose(noise[0], np.outer(slope[0], slope[0]), atol=1e-13)
