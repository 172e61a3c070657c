"""Noise that moves the statistics of batch norm, against simulated channels and integrals."""

import math

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.integrate import quad
from states import state

from fastmoments.covariances.storage import Covariance, NoiseCovariance
from fastmoments.maps.batch_norm import normalise
from fastmoments.nets.activations import Abs, LeakyReLU, ReLU

CHANNELS = 100_000


def simulated(full, noise, epsilon, gamma, activation):
    """Covariances of the noise before and behind an activation, each with its standard error."""
    rng = np.random.default_rng(3)
    size = len(full)
    z = np.linalg.cholesky(full) @ rng.standard_normal((size, CHANNELS))
    dz = np.linalg.cholesky(noise) @ rng.standard_normal((size, CHANNELS))
    deviation = np.sqrt(z.var(axis=0) + epsilon)
    y = (z - z.mean(axis=0)) / deviation
    between = gamma * (dz - dz.mean(axis=0) - y * (y * dz).mean(axis=0)) / deviation
    slopes = (1.0, 1.0) if activation is None else activation.slopes
    behind = between * np.where(y > 0, *slopes)
    for values in (between, behind):
        mean = values @ values.T / CHANNELS
        yield mean, np.sqrt((values**2 @ (values**2).T / CHANNELS - mean**2) / CHANNELS)


def whole(noise):
    return noise.blocks[0] * math.exp(noise.log_scale)


@pytest.mark.parametrize("size", [(3, 2, 2), (12, 1, 1), (1, 4, 3)])
@pytest.mark.parametrize("activation", [None, ReLU(), LeakyReLU(0.3), Abs()])
@pytest.mark.parametrize(("epsilon", "gamma"), [(0.0, 1.0), (0.05, 1.0), (10.0, 3.0)])
def test_the_covariance_is_that_of_simulated_channels(size, activation, epsilon, gamma):
    signal, noise, full, blocks = state(4, size, (0.5, -0.8))
    points = math.prod(size)
    dense = np.zeros((size[0], size[1] * size[2]) * 2)
    for image, block in enumerate(blocks):
        dense[image, :, image] = block
    full, dense = full.reshape(points, points), dense.reshape(points, points)
    done = normalise(signal, noise, epsilon, activation, gamma=gamma, moving=True)
    assert done.error < 1e-6
    found = [whole(done.between), whole(noise)]
    for ours, (mean, error) in zip(found, simulated(full, dense, epsilon, gamma, activation), strict=True):
        upper = np.triu_indices(points)
        error = np.maximum(error, 1e-9 * np.abs(mean).max())  # Abs: the mean over channels is 0 by symmetry
        assert np.abs((ours - mean) / error)[upper].max() < 4.5
    assert np.exp(done.station.log_noise) == pytest.approx(np.trace(found[0]) / points, rel=1e-12)
    assert_allclose(found[0].sum(axis=0), 0.0, atol=1e-12 * np.abs(found[0]).max())
    if activation is not None:  # by symmetry of the channels, whatever is in common
        assert_allclose(found[1].diagonal(), activation.second_moment * found[0].diagonal(), rtol=1e-12)


@pytest.mark.parametrize("epsilon", [1e-6, 1e-3, 1.0, 1e3])
def test_two_points_by_an_integral_over_their_difference(epsilon):
    """With x = (a, -a) and da of variance v: da' = eps da / (a^2 + eps)^(3/2)."""
    features = np.array([1.3, -0.4]).reshape(2, 1, 1, 1)
    signal, noise = Covariance.from_features(features, 1.0), NoiseCovariance.white(2, 1, 1)
    done = normalise(signal, noise, epsilon, ReLU(), moving=True)
    deviation = 0.5 * (1.3 + 0.4)

    def integrand(a):
        return np.exp(-0.5 * (a / deviation) ** 2) * epsilon**2 / (a * a + epsilon) ** 3

    root = math.sqrt(epsilon)
    parts = [quad(integrand, *ends, epsabs=0, epsrel=1e-10)[0] for ends in ((0, root), (root, 10 * root))]
    rest = quad(integrand, 10 * root, max(12.0, 20 * root), epsabs=0, epsrel=1e-10, limit=200)[0]
    wanted = 0.5 * (sum(parts) + rest) * 2.0 / (deviation * math.sqrt(2.0 * math.pi))
    assert_allclose(whole(done.between), wanted * np.array([[1, -1], [-1, 1]]), rtol=2e-6)
    assert_allclose(whole(noise), 0.5 * wanted * np.eye(2), rtol=2e-6, atol=1e-5 * wanted)


def test_many_points_hardly_tell():
    """The two directions that are projected off are a share of about 2 / M of the noise."""
    signal, noise, _, _ = state(1, (4, 6, 6))
    other, frozen = signal.copy(), noise.copy()
    moved = normalise(signal, noise, 1e-3, ReLU(), moving=True).station.log_noise
    held = normalise(other, frozen, 1e-3, ReLU()).station.log_noise
    assert -4.0 / noise.points < moved - held < 0.0
    assert_allclose(signal.dense(), other.dense(), rtol=1e-12)


def test_a_point_without_signal_loses_its_noise_behind_a_rectifier():
    """Its signal is the mean of all others in every channel."""
    rows = np.random.default_rng(0).standard_normal((5, 20))
    features = np.vstack([rows, rows.mean(axis=0)]).reshape(6, 1, 1, 20)
    for activation, passed in ((ReLU(), True), (LeakyReLU(0.1), False)):
        signal, noise = Covariance.from_features(features, 0.05), NoiseCovariance.white(6, 1, 1)
        if passed:
            normalise(signal, noise, 1e-3, activation, moving=True)
            assert not noise.blocks[0][5].any() and noise.blocks[0][:5, :5].all()
        else:
            with pytest.raises(ValueError, match="a point without signal has no derivative"):
                normalise(signal, noise, 1e-3, activation, moving=True)
