"""Batch norm against the exact formula by adaptive quadrature with dense matrices."""

import math

import hypothesis.strategies as st
import naive
import numpy as np
import pytest
from hypothesis import given, settings
from states import assert_consistent, in_full, seeds, state

from fastmoments.covariances.storage import Covariance, NoiseCovariance
from fastmoments.maps import batch_norm
from fastmoments.nets.activations import ReLU


@given(
    seeds,
    st.sampled_from([(2, 2, 2), (1, 4, 2), (3, 2, 3)]),
    st.sampled_from([0.0, 1e-3, 0.5]),
    st.floats(-3, 3),
)
@settings(max_examples=12)
def test_batch_norm(seed, size, epsilon, log_scale):
    signal, noise, full, blocks = state(seed, size, (log_scale, 0.4))
    exact = naive.BatchNorm(naive.flat(full), epsilon)
    done = batch_norm.normalise(signal, noise, epsilon, activation=ReLU())
    station, known = done.station, done.known
    assert done.error < 1e-6
    expected = exact.relu()
    np.testing.assert_allclose(signal.dense(), expected, rtol=0, atol=2e-6 * expected.max())
    assert_consistent(signal)
    np.testing.assert_allclose(
        station.diagonal * np.exp(station.log_scale), np.diag(exact.linear()), rtol=1e-5
    )
    assert np.exp(station.known["log_mu4_signal"]) == pytest.approx(exact.mu4(), rel=1e-5)
    assert np.exp(station.known["log_nu1_abs_signal"]) == pytest.approx(exact.nu1(), rel=1e-5)
    squares = np.mean(np.diag(exact.linear()) ** 2)
    assert done.kurtosis == pytest.approx(exact.mu4() / squares - 3.0, abs=1e-4)
    assert np.exp(known["log_nu1_abs_signal"]) == pytest.approx(0.5 * exact.nu1(), rel=1e-5)
    variance = np.mean(np.einsum("npp->np", blocks)) * exact.inverse_variance()
    assert np.exp(station.log_noise) == pytest.approx(variance, rel=1e-8)
    positions = size[1] * size[2]
    masks = exact.mask()
    for i in range(size[0]):
        here = slice(i * positions, (i + 1) * positions)
        masked = blocks[i] * masks[here, here]
        np.testing.assert_allclose(in_full(noise)[i], masked, rtol=0, atol=1e-5 * np.abs(masked).max())


@given(seeds, st.sampled_from([0.0, 1e-3]))
@settings(max_examples=6)
def test_batch_norm_without_relu(seed, epsilon):
    size = (2, 3, 2)
    signal, noise, full, blocks = state(seed, size)
    exact = naive.BatchNorm(naive.flat(full), epsilon)
    batch_norm.normalise(signal, noise, epsilon, activation=None)
    expected = exact.linear()
    np.testing.assert_allclose(signal.dense(), expected, rtol=0, atol=2e-6 * expected.max())
    np.testing.assert_allclose(np.diag(signal.dense()), signal.diagonal * np.exp(signal.log_scale), rtol=1e-6)
    np.testing.assert_allclose(in_full(noise), blocks * exact.inverse_variance(), rtol=1e-8)


@given(seeds)
@settings(max_examples=5)
def test_batch_norm_keeps_the_trace(seed):
    """With epsilon 0 the weighted traces add up to M exactly: the batch variance of z is 1."""
    signal, noise, _, _ = state(seed, (2, 4, 4))
    station = batch_norm.normalise(signal, noise, 0.0, activation=None).station
    assert station.log_scale + math.log(station.diagonal.mean()) == pytest.approx(0.0, abs=2e-7)


@pytest.mark.parametrize("size", [(2, 1, 1), (3, 1, 1)])
def test_batch_norm_of_a_rank_below_three_needs_epsilon(size):
    signal, noise, _, _ = state(0, size)
    with pytest.raises(ValueError, match="rank 3 or more"):
        batch_norm.normalise(signal, noise, 0.0, activation=ReLU())


def test_batch_norm_by_leading_pairs_is_close_to_the_dense_formula():
    rng = np.random.default_rng(3)
    features = rng.standard_normal((6, 8, 8, 400)) * np.geomspace(1.0, 0.01, 400)
    features += rng.standard_normal((6, 1, 1, 400)) * np.geomspace(1.0, 0.1, 400)
    results = []
    for rank in (384, 32, 64):
        signal = Covariance.from_features(features, 1 / 400)
        noise = NoiseCovariance.white(6, 8, 8)
        station = batch_norm.normalise(signal, noise, 1e-3, activation=ReLU(), rank=rank).station
        results.append((signal.dense(), in_full(noise), station))
    (dense, mask, exact), *approximate = results
    for (full, noise, station), bound in zip(approximate, (1e-3, 3e-4), strict=True):
        assert np.abs(full - dense).max() < bound * dense.max()
        assert np.abs(noise - mask).max() < bound * mask.max()
        for name, value in exact.moments().items():
            assert station.moments()[name] == pytest.approx(value, abs=bound)
    assert np.abs(approximate[0][0] - dense).max() > 1e-9  # the shortcut was taken


def test_the_rank_follows_the_spectrum():
    """As many pairs as have their share of the trace, between the bounds, whatever it starts from."""
    rng = np.random.default_rng(0)
    basis = np.linalg.qr(rng.standard_normal((448, 448)) - 1e-3)[0]
    for leading in (3, 30, 100):
        values = np.r_[np.full(leading, 1.0), np.geomspace(1e-2, 1e-3, 448 - leading)]
        features = (basis * np.sqrt(values)).reshape(7, 8, 8, 448)
        signal = Covariance.from_features(features, 1.0)
        expected = min(max(leading, batch_norm.LEAST_RANK), batch_norm.MOST_RANK)
        cold = batch_norm.spectrum(signal, None, None)
        warm = batch_norm.spectrum(signal, cold.block, None)
        assert cold.values.size in (expected, expected - 1)  # centring takes one direction
        assert warm.values.size == cold.values.size
        assert cold.block.shape[1] <= batch_norm.MOST_RANK + batch_norm.SPARE


INDEX = np.arange(1.0, 384.0)
TEN_LEAD = np.r_[np.ones(10), 1e-3 * INDEX[:300]]


@pytest.mark.parametrize("rank", [8, 16, 32, 64, 128])
@pytest.mark.parametrize(
    "spectrum",
    [1.0 / INDEX, INDEX**-1.5, INDEX**-2, INDEX**-3, np.exp(-INDEX / 20.0), TEN_LEAD],
    ids=["-1", "-1.5", "-2", "-3", "exp", "ten"],
)  # fmt: skip
def test_the_error_that_is_claimed_covers_that_of_the_leading_pairs(spectrum, rank):
    """Against the dense formula, of the centred covariance; no more than ten times what it is."""
    basis = np.linalg.qr(np.random.default_rng(rank).standard_normal((384, spectrum.size)))[0]
    features = (basis * np.sqrt(spectrum)).reshape(6, 8, 8, -1)

    def normalised(rank):
        signal, noise = Covariance.from_features(features, 384.0), NoiseCovariance.white(6, 8, 8)
        done = batch_norm.normalise(signal, noise, 1e-3, None, rank=rank)
        centred = signal.centred_product(np.eye(384))
        return centred / np.trace(centred), done.error

    (found, claim), (exact, _) = normalised(rank), normalised(384)
    error = np.linalg.norm(found - exact) / np.linalg.norm(exact)
    assert 0.1 * claim < error < 1.1 * claim
