"""Fluctuations on their way through a unit: of sampled Gram matrices, and on lattices of one position."""

import math

import numpy as np
import pytest
from numpy.testing import assert_allclose

from fastmoments.engines.finite_width.batch_norm.response import batch_norm_response
from fastmoments.engines.finite_width.batch_norm.tap_averaging import TapAveraging
from fastmoments.engines.finite_width.batch_norm.unit_fluctuations import UnitFluctuations, shares_of
from fastmoments.engines.finite_width.shared.matrices import centred

RNG = np.random.default_rng(0)
IMAGES = RNG.standard_normal((8, 60)) * np.linspace(0.8, 1.3, 8)[:, None]
ALONE = np.ones((1, 1))


def covariance(images=8):
    return centred(IMAGES[:images] @ IMAGES[:images].T / 60)


def centred_images(inputs):
    images = IMAGES[:, :inputs]
    return images - images.mean(0)


def points(width, images=8):
    return UnitFluctuations(TapAveraging((1, 1), True), images, 1, width, inputs=60, draw=0.0)


def passed(fluctuations, mean, epsilon=1e-3):
    record = fluctuations.before(mean, ALONE, epsilon)
    fluctuations.behind(record, ALONE, ALONE, record.through.inverse_square, 0.05, 0.125)
    return record


def test_what_a_linear_layer_samples_is_that_of_sampled_gram_matrices():
    width, nets, mean = 200, 3000, covariance()
    found = points(width)
    added = found.sample(mean, ALONE, ALONE, 0.01)
    values, vectors = np.linalg.eigh(mean)
    root = vectors * np.sqrt(np.maximum(values, 0.0))
    grams = np.array([y @ y.T / width for y in root @ RNG.standard_normal((nets, 8, width))])
    logs = np.log(np.einsum("nii->ni", grams))
    assert_allclose(found.norms_here, np.cov(logs.T), atol=0.1 * 2.0 / width)
    assert_allclose(added, 2.0 / width)
    own, off = np.diag(mean), ~np.eye(8, dtype=bool)
    relative = (grams - mean) / np.sqrt(np.outer(own, own))
    assert_allclose(found.pair_variance, (relative**2).mean(0)[off].mean(), rtol=0.05)
    assert found.noise_here.variance == 0.01


def test_norms_behind_a_batch_norm_are_those_of_sampled_channels():
    """Behind a batch norm and ReLU that see the mean: N times the covariance of log S_ii of N channels."""
    width, nets, mean = 400, 4000, covariance()
    found = points(width)
    record = passed(found, mean)
    values, vectors = np.linalg.eigh(mean)
    root = vectors * np.sqrt(np.maximum(values, 0.0))
    logs = []
    for _ in range(nets):
        z = root @ RNG.standard_normal((8, width))
        z -= z.mean(0)
        a = np.maximum(z / np.sqrt((z**2).mean(0) + 1e-3), 0.0)
        a -= a.mean(0)
        own = (a**2).mean(1)
        logs.append(np.log(own / own.sum()))
    sampled = np.cov(np.array(logs).T)
    assert_allclose(np.diag(record.norms_behind).mean(), np.diag(sampled).mean(), rtol=0.15)
    assert found.norms_here is record.norms_behind
    assert record.grown == 0.0 and found.noise_here.variance == pytest.approx(record.channels.batch.variance)


def test_a_unit_without_a_skip_leaves_what_its_branch_made():
    found, mean = points(100), covariance()
    found.sample(mean, ALONE, ALONE, 0.01)
    record = passed(found, mean)
    pairs, noise, behind = found.pair_variance, found.noise_here.variance, record.norms_behind
    grown = found.grown_here
    added = found.merge((1.0, 1.0))
    assert not found.layers
    assert_allclose(added, np.diag(record.fresh).mean())
    assert_allclose((found.pair_variance, found.noise_here.variance), (pairs, noise))
    assert_allclose(found.norms_here, behind)
    assert_allclose(found.grown_here, grown)
    assert found.shared_here == 0.0  # fresh channels


def test_a_branch_of_no_weight_leaves_everything_as_it_was():
    found, mean = points(100), covariance()
    found.sample(mean, ALONE, ALONE, 0.01)
    before = found.pair_variance, found.noise_here.variance, found.norms_here
    passed(found, mean)
    assert found.merge((0.0, 0.0)) == 0.0
    assert_allclose((found.pair_variance, found.noise_here.variance), before[:2])
    assert_allclose(found.norms_here, before[2])


def test_a_shortcut_keeps_channels_and_with_them_their_sampling():
    """The second unit samples the channels that the first did: it adds in amplitude, not in variance."""
    found, mean = points(100), covariance()
    record = passed(found, mean)
    found.merge((0.3, 0.3))
    assert np.all(np.diag(found.norms.cross) > 0.0) and found.with_signal.cross != 0.0
    again = found.before(mean, ALONE, 1e-3)
    alone = again.response @ found.norms.variance @ again.response.T + record.fresh
    assert np.trace(again.norms_behind) > np.trace(alone)


def test_positions_that_are_alike_are_one_position():
    """A lattice whose positions are the same point: all errors are shared, and none is averaged away."""
    one, mean = points(100, 4), covariance(4)
    lattice = TapAveraging((1, 2), True)
    two = UnitFluctuations(lattice, 4, 2, 100, inputs=60, draw=0.0)
    same = np.ones(lattice.shape)
    one.sample(mean, ALONE, ALONE, 0.0)
    two.sample(np.kron(mean, np.ones((2, 2))), same, same, 0.0)
    assert_allclose(two.norms_here, one.norms_here, rtol=1e-12)
    assert_allclose(two.overlap.variance.mean(), one.overlap.variance.mean())


@pytest.mark.parametrize("inputs", [8, 60])
def test_weights_of_the_first_layer_make_both_signal_and_noise(inputs):
    """White noise on few inputs: what the channels' batch norm makes of it."""
    rng, width, nets, images = np.random.default_rng(5), 200, 4000, centred_images(inputs)
    found = UnitFluctuations(TapAveraging((1, 1), True), 8, 1, width, inputs, draw=0.0)
    record = found.before(images @ images.T / inputs, ALONE, 0.0)
    found.behind(record, ALONE, ALONE, record.through.inverse_square, 1.0 / inputs)
    weights = rng.standard_normal((nets, inputs, width))
    signals = np.square(images @ weights / math.sqrt(inputs)).mean(1)
    logs = np.log(np.mean(np.square(weights).mean(1) / signals, axis=1))
    sampled = record.channels.before_masks()
    assert abs(sampled / logs.var() - 1.0) < 3.5 * math.sqrt(2.0 / nets) + 10.0 / width
    alone = width * sampled / (record.through.inverse_square * (1.0 + 2.0 / inputs) - 1.0)
    assert alone < 0.8 if inputs == 8 else 0.8 < alone < 1.1


def test_a_batch_norm_takes_away_what_a_stem_made_of_both():
    """A linear layer, and batch norm behind another: the variance of log mu2 of the noise, of few inputs.

    The images are eight whose centred directions are all alike, so that their norms tell all of E 1 / q.
    """
    rng, inputs, width, nets = np.random.default_rng(6), 8, 1000, 1000
    images = math.sqrt(inputs) * (np.eye(8) - 1.0 / 8)
    found = UnitFluctuations(TapAveraging((1, 1), True), 8, 1, width, inputs, draw=0.0)
    found.sample(images @ images.T / inputs, ALONE, ALONE, 2.0 / (inputs * width))
    record = found.before(images @ images.T / inputs, ALONE, 0.0)
    logs = np.empty(nets)
    for net in range(nets):
        weights = rng.standard_normal((inputs, width))
        signal = images @ weights / math.sqrt(inputs)
        through = batch_norm_response(centred(signal @ signal.T / width), 0.0, 0.0)
        logs[net] = math.log(np.mean(weights**2)) + through.log_inverse
    expected = record.noise.variance + record.grown
    # Seven directions of eight; the rule of the slope errs by 0.2% of terms that are up to 14 times as large.
    assert expected == pytest.approx(2.0 / (width * 7 * 8), rel=0.04)
    assert abs(expected / logs.var() - 1.0) < 3.5 * math.sqrt(2.0 / nets) + 0.05


def test_norms_are_held_at_the_variance_of_their_law():
    found, mean = points(50), covariance()
    found.sample(mean, ALONE, ALONE, 0.0)
    found.hold(np.exp(0.01 * np.arange(8.0)))
    assert_allclose(np.diag(found.norms_here), np.log(np.exp(0.01 * np.arange(8.0))).var())


def test_shares_are_those_of_the_sums():
    shares = shares_of((math.log(3.0), 0.0), (math.log(4.0), math.log(2.0)))
    assert_allclose(shares, (0.25, 0.5))
    assert shares_of((0.0, 0.0), (-0.1, 0.0)) == (0.0, 0.0)  # rounding may not give a share below 0
