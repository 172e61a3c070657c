"""Activations of a sum that is not Gaussian: one point exactly, pairs by a copula, and its limits."""

import math

import numpy as np
import pytest
from numpy.testing import assert_allclose

from fastmoments.covariances.storage import Covariance, NoiseCovariance
from fastmoments.maps.batch_norm import normalise
from fastmoments.maps.channels import gaussian, nearly_gaussian
from fastmoments.maps.merge import merge
from fastmoments.maps.post_activation import absolute_moment, activate_sum, added
from fastmoments.nets.activations import Abs, LeakyReLU, ReLU

ACTIVATIONS = (ReLU(), LeakyReLU(0.2), Abs())


def covariances(points, seed, features=6):
    """A covariance of `points` with a mean, and noise of different variances."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((points, 1, 1, features)) + 0.5
    noise = NoiseCovariance(rng.uniform(0.5, 2.0, (points, 1, 1)), points, (1, 1))
    return Covariance.from_features(x, 1.0 / features), noise


def drawn(rng, covariance, samples):
    values, vectors = np.linalg.eigh(covariance)
    return rng.standard_normal((samples, len(values))) @ (vectors * np.sqrt(np.maximum(values, 0.0))).T


def unit(signal, noise, branch, branch_noise, channels, activation):
    """One merge and its activation; what was before is overwritten."""
    channels = added(channels, signal, noise, branch, branch_noise)
    merge(branch, branch_noise, signal, noise)
    return activate_sum(branch, branch_noise, channels, activation)


@pytest.mark.parametrize("activation", ACTIVATIONS, ids=repr)
def test_two_units_against_a_drawn_population(activation):
    """Second moments, noise and E|x| behind one and two merges: 400,000 channels from a Gaussian on.

    Behind the first merge all is exact but for the grid; behind the second pairs go by the copula.
    """
    samples, points, slopes = 400_000, 5, activation.slopes
    rng = np.random.default_rng(3)
    signal, noise = covariances(points, 0)
    z = drawn(rng, signal.dense(), samples)
    slope = np.where(z > 0, *slopes)
    x, energy = slope * z, slope**2 * noise.blocks[:, 0, 0]
    from fastmoments.maps.activation import activate

    activate(signal, noise, activation)
    channels = gaussian().activated(activation)
    for number in range(2):
        branch, branch_noise = covariances(points, 7 + number)
        z = x + drawn(rng, branch.dense(), samples)
        energy = energy + branch_noise.blocks[:, 0, 0]
        slope = np.where(z > 0, *slopes)
        x, energy = slope * z, slope**2 * energy
        channels, known = unit(signal, noise, branch, branch_noise, channels, activation)
        signal, noise = branch, branch_noise
        error = np.sqrt(((x[:, :, None] * x[:, None]) ** 2).mean(0) / samples)
        gap = np.abs(signal.dense() - x.T @ x / samples)
        assert (gap < 4.5 * error + (0.01 * signal.dense() if number else 0.0)).all()
        assert_allclose(np.diag(signal.dense()), signal.diagonal * math.exp(signal.log_scale))
        variances = noise.blocks[:, 0, 0] * math.exp(noise.log_scale)
        assert_allclose(variances, energy.mean(0), atol=5.0 * float(energy.std(0).max()) / samples**0.5)
        assert_allclose(math.exp(known["log_nu1_abs_signal"]), np.abs(x).mean(), rtol=4e-3)
        assert_allclose(signal.row_sums, signal.unscaled().sum(0))


def test_points_that_are_alike_stay_alike():
    """K' of points with the same values is that of one of them, whatever the class."""
    one, _ = covariances(3, 1)
    x = np.repeat(np.linalg.cholesky(one.dense()), 2, axis=0)
    signal, branch = (Covariance.from_features(x.reshape(6, 1, 1, 3), scale) for scale in (1.0, 0.7))
    noises = [NoiseCovariance(np.ones((6, 1, 1)), 6, (1, 1)) for _ in range(2)]
    unit(signal, noises[0], branch, noises[1], gaussian().activated(ReLU()), ReLU())
    found = branch.dense()
    assert_allclose(found[0::2, 1::2].diagonal(), found.diagonal()[0::2], rtol=1e-6)
    assert_allclose(found[0::2, 0::2], found[1::2, 1::2], rtol=1e-12)


def test_noise_of_two_positions_that_are_alike_is_that_of_one():
    x = np.repeat(np.random.default_rng(0).standard_normal((3, 1, 4)), 2, axis=1)[:, None]
    signal, branch = (Covariance.from_features(x, scale) for scale in (1.0, 0.7))
    noises = [NoiseCovariance(np.ones((3, 2, 2)), 3, (1, 2)) for _ in range(2)]
    unit(signal, noises[0], branch, noises[1], gaussian().activated(ReLU()), ReLU())
    blocks = noises[1].blocks
    assert_allclose(blocks[:, 0, 1], blocks[:, 0, 0], rtol=2e-2)  # the masks of a series of 40 terms
    assert_allclose(blocks[:, 0, 1], blocks[:, 1, 0])


def test_joint_noise_of_images_without_common_noise_is_theirs():
    found = []
    for join in (False, True):
        rng = np.random.default_rng(0)
        x = rng.standard_normal((3, 2, 2, 5))
        signal, branch = (Covariance.from_features(x, scale) for scale in (1.0, 0.7))
        noises = [NoiseCovariance(np.stack([np.eye(4)] * 3), 3, (2, 2)) for _ in range(2)]
        for noise in noises if join else ():
            noise.join()
        unit(signal, noises[0], branch, noises[1], gaussian().activated(ReLU()), ReLU())
        found.append(noises[1])
    found[0].join()
    assert_allclose(found[0].blocks, found[1].blocks)


def test_the_absolute_moment_of_a_gaussian():
    signal, _ = covariances(4, 0)
    known = absolute_moment(signal, gaussian())
    expected = np.log(np.mean(np.sqrt(2.0 / math.pi * signal.diagonal)))
    assert_allclose(known["log_nu1_abs_signal"], expected)
    assert known["log_mu4_signal"] is None


def test_a_unit_behind_batch_norm_against_drawn_channels():
    """Few points, where batch norm leaves less of large values than a Gaussian has: 1.7% of E|x|."""
    samples, points = 200_000, 16
    rng = np.random.default_rng(1)
    covariance, _ = covariances(points, 0, features=20)

    def normalised(before):
        y = drawn(rng, before, samples)
        y -= y.mean(1, keepdims=True)
        return y / np.sqrt((y * y).mean(1, keepdims=True))

    x = np.maximum(normalised(covariance.dense()), 0.0)
    expected = np.maximum(x + normalised(2.0 * x.T @ x / samples), 0.0)
    noise = NoiseCovariance(np.ones((points, 1, 1)), points, (1, 1))
    kurtosis = normalise(covariance, noise, 0.0, ReLU()).kurtosis
    assert kurtosis < -0.3
    branch, branch_noise = covariance.copy(), noise.copy()
    fresh = nearly_gaussian(normalise(branch, branch_noise, 0.0, None).kurtosis)
    channels = added(
        nearly_gaussian(kurtosis).activated(ReLU()), covariance, noise, branch, branch_noise, fresh
    )
    merge(branch, branch_noise, covariance, noise)
    known = activate_sum(branch, branch_noise, channels, ReLU())[1]
    assert_allclose(math.exp(known["log_nu1_abs_signal"]), expected.mean(), rtol=4e-3)
    assert_allclose(branch.diagonal.mean() * math.exp(branch.log_scale), (expected**2).mean(), rtol=2e-3)
