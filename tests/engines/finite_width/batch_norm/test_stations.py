"""Moments at the stations of nets with batch norm, against sampled channels and sampled norms."""

import math

import numpy as np
from numpy.testing import assert_allclose

from fastmoments.engines.finite_width.batch_norm.noise_sampling import NoiseFluctuationState
from fastmoments.engines.finite_width.batch_norm.stations import (
    activated_moments,
    gaussian_moments,
    gaussian_variances,
    log_gaussian_means,
    noise_before_masks,
    normalised_moments,
    with_chi,
)
from fastmoments.engines.finite_width.shared.lognormal import Lognormal


def test_gaussian_stations_of_one_position_are_those_of_sampled_channels():
    """One position an image: V, shared by all points of a net, and N Gaussian channels given it."""
    rng, points, width, nets = np.random.default_rng(0), 8, 400, 4000
    factor = rng.standard_normal((points, 20)) * np.linspace(0.7, 1.4, points)[:, None]
    gram, h = factor @ factor.T / 20, np.eye(points) - 1.0 / points
    inner = h @ gram @ h
    spread = 0.02 * (np.eye(points) + 0.5)
    root, moved = np.linalg.cholesky(gram), np.linalg.cholesky(spread)

    def squared(matrix):
        roots = np.sqrt(np.diag(matrix))
        return 2.0 / width * (matrix / np.outer(roots, roots)) ** 2

    found = gaussian_variances(np.diag(gram), np.diag(inner), 0.0 * spread, squared(inner), squared(gram))
    logs, means = [], []
    for _ in range(nets):
        y = root @ rng.standard_normal((points, width))
        z = y - y.mean(0)
        moments = [np.abs(y).mean(), (y**2).mean(), (z**2).mean(), 3.0 * np.mean((z**2).mean(1) ** 2)]
        means.append(moments)
        logs.append(np.log(moments))
    variances, names = np.var(logs, 0), list(found)
    assert names == ["log_nu1_abs_signal", "log_nu2_signal", "log_mu2_signal", "log_mu4_signal"]
    # nu1 of N channels has a factor pi / 2 - 1 of its own, which squares do not.
    for which in (1, 2, 3):
        assert_allclose(found[names[which]], variances[which], rtol=0.12)
    expected = log_gaussian_means(np.diag(gram), np.diag(inner))
    assert_allclose([expected[name] for name in names], np.log(np.mean(means, 0)), atol=0.02)
    # V alone: shares of the points in the sum, to the power of the moment.
    alone = gaussian_variances(np.diag(inner), np.diag(inner), spread, 0.0 * spread, 0.0 * spread)
    d = (moved @ rng.standard_normal((points, 200_000))).T
    norms = np.diag(inner) * np.exp(d)
    assert_allclose(alone["log_nu2_signal"], np.log(norms.mean(1)).var(), rtol=0.05)
    assert_allclose(alone["log_mu4_signal"], np.log((norms**2).mean(1)).var(), rtol=0.05)
    assert_allclose(alone["log_nu1_abs_signal"], np.log(np.sqrt(norms).mean(1)).var(), rtol=0.05)


def test_positions_of_an_image_move_together():
    """A lattice of two positions is a net of points whose V is that of their images."""
    rng, images = np.random.default_rng(1), 3
    own = rng.uniform(0.5, 2.0, 2 * images)
    norms = np.diag(rng.uniform(0.1, 0.3, images))
    nothing = np.zeros((images, images))
    found = gaussian_variances(own, own, norms, nothing, nothing)
    every = np.kron(norms, np.ones((2, 2)))
    points = gaussian_variances(own, own, every, np.zeros((6, 6)), np.zeros((6, 6)))
    for name in ("log_nu2_signal", "log_mu4_signal", "log_nu1_abs_signal"):
        assert_allclose(found[name], points[name])


def test_masks_leave_what_was_sampled_before_them():
    state = NoiseFluctuationState(0.3, np.array([0.1, 0.05]))
    assert_allclose(noise_before_masks(state, 0.2, 0.8), 0.3 + 2.0 * 0.25 * 0.15 + 0.2)
    assert noise_before_masks(NoiseFluctuationState(0.3), 0.0, 0.0) == 0.3


class Passed:
    """A batch norm that is known by its numbers."""

    class chance:
        nu1, mu4, nu2, mu2 = 1.0, 2.0, 0.5, 1.5

    class channels:
        width = 10

        @staticmethod
        def before_masks():
            return 0.2

        class batch:
            variance = 0.2

    slopes = np.array([0.5, 0.0]), np.array([1.0, 2.0])
    norms = np.diag([0.04, 0.01])
    grown = 0.25

    class noise:
        variance, cross = 0.1, np.array([0.05])

        @staticmethod
        def observed(source):
            return 0.4


def test_stations_know_chi_and_what_batch_norm_fixes():
    means = {"log_nu1_abs_signal": 0.0, "log_mu4_signal": 1.0}
    means |= {"log_nu2_signal": 0.1, "log_mu2_signal": -0.2, "log_mu2_noise": 3.0}
    norm = normalised_moments(Passed, means, 0.6)
    assert norm["log_mu2_signal"] == Lognormal(-0.2) and norm["log_nu2_signal"] == Lognormal(0.1)
    assert_allclose(norm["log_mu2_noise"], (3.0 - 0.2, 0.4 + 0.25))  # growth shifts no mean
    assert_allclose(norm["log_chi"], (0.5 * (2.8 + 0.2 + 0.6), 0.25 * 0.65))
    assert_allclose(norm["log_nu1_abs_signal"], (-0.055, 0.1 + 0.01))  # chance / N and V
    assert_allclose(norm["log_mu4_signal"], (1.0 - 0.14, 0.2 + 0.08))
    act = activated_moments(Passed, means, 0.6)
    assert_allclose(act["log_nu2_signal"], (0.1 - 0.025, 0.05))
    assert_allclose(act["log_mu2_signal"].variance, 0.15)
    assert_allclose(act["log_mu2_noise"].variance, 0.4 + 0.25)
    shared = with_chi({key: norm[key] for key in means}, 0.0, 0.6, 0.1)["log_chi"]
    assert_allclose(shared.variance, norm["log_chi"].variance - 0.05)


def test_the_mean_of_a_logarithm_where_norms_vary():
    """log F = g d + b d^2 / 2, d of variance V: E F has V in it, and the mean of log F lies Var / 2 below."""
    slope, second, variance, chance = 0.7, 0.1, 0.02, 0.01
    rng = np.random.default_rng(2)
    d, e = rng.standard_normal((2, 1_000_000))
    d, e = math.sqrt(variance) * d, math.sqrt(chance) * e
    log_f = slope * d + 0.5 * second * d**2 + e - 0.5 * chance

    class Varied(Passed):
        norms = np.diag([variance])
        slopes = np.array([slope]), np.array([slope])

        class chance(Passed.chance):
            nu1 = 10 * 0.01

    means = dict.fromkeys(("log_mu4_signal", "log_nu2_signal", "log_mu2_signal", "log_mu2_noise"), 0.0)
    means["log_nu1_abs_signal"] = math.log(np.exp(log_f).mean())
    law = normalised_moments(Varied, means, 0.0)["log_nu1_abs_signal"]
    assert abs(law.mean - log_f.mean()) < 5e-4
    assert_allclose(law.variance, log_f.var(), rtol=0.01)


def test_gaussian_channels_share_with_the_signal_what_their_sampling_does():
    class Fluctuations:
        noise_here = NoiseFluctuationState(0.3, 0.0, 0.05)
        grown_here, shared_here = 0.1, 0.02

    means = {"log_mu2_signal": 0.5, "log_mu2_noise": 2.0}
    laws = gaussian_moments(means, {"log_mu2_signal": 0.2}, Fluctuations, 0.07, 0.0)
    sampled = 0.3 + 0.1 + 0.07
    assert_allclose(laws["log_mu2_noise"], (2.0 - 0.5 * sampled, sampled + 0.1))
    assert_allclose(laws["log_chi"].variance, 0.25 * (sampled + 0.1 + 0.2 - 0.04))
