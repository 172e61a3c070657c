"""Norms with a deterministic divisor against their definitions."""

import math

import hypothesis.strategies as st
import naive
import numpy as np
import pytest
from hypothesis import given, settings
from states import assert_consistent, in_full, seeds, sizes, state

from fastmoments.maps.norms import channel_norm, population_norm

SHARES = st.sampled_from([0.0, 0.8, -0.3])
EPSILONS = st.sampled_from([0.0, 1e-5, 1.0, 1e3])


@given(seeds, sizes | st.just((18, 1, 1)), EPSILONS, SHARES, st.booleans(), st.floats(-3, 3))
@settings(max_examples=60)
def test_channel_norm(seed, size, epsilon, share, image, up):
    signal, noise, full, blocks = state(seed, size, (up, -0.7))
    matrix = naive.flat(full)
    mean = share * np.sqrt(np.diag(matrix))
    expected, deviation = naive.channel_norm(matrix, mean, size[0], epsilon, image)
    means = channel_norm(signal, noise, epsilon, 1.5, share, image)
    left = mean - np.repeat(mean.reshape(size[0], -1).mean(1), mean.size // size[0]) if image else 0.0 * mean
    behind = means * math.exp(0.5 * signal.log_scale)
    np.testing.assert_allclose(
        behind, 1.5 * left / deviation, rtol=0, atol=1e-11 * np.abs(mean / deviation).max()
    )
    scale = np.abs(expected).max()
    np.testing.assert_allclose(signal.dense(), 2.25 * expected, rtol=0, atol=1e-12 * scale)
    assert_consistent(signal)
    each = deviation.reshape(size[0], -1)
    pieces = 2.25 * blocks / (each[:, :, None] * each[:, None, :])
    np.testing.assert_allclose(in_full(noise), pieces, rtol=1e-11)
    if not epsilon and not image:
        np.testing.assert_allclose(np.diag(signal.dense()), 2.25, rtol=1e-11)


@given(seeds, sizes, EPSILONS, st.floats(-3, 3))
def test_population_norm(seed, size, epsilon, up):
    signal, noise, full, blocks = state(seed, size, (up, -0.7))
    centred = naive.centre(naive.flat(full))
    square = np.trace(centred) / len(centred) + epsilon
    before = np.random.default_rng(seed).standard_normal(len(centred))
    unit = math.exp(0.5 * signal.log_scale)
    means = population_norm(signal, noise, epsilon, 0.5, before)
    behind = 0.5 * unit * (before - before.mean()) / np.sqrt(square)
    np.testing.assert_allclose(
        means * math.exp(0.5 * signal.log_scale), behind, rtol=0, atol=1e-11 * unit / np.sqrt(square) * 5
    )
    expected = 0.25 * centred / square
    np.testing.assert_allclose(signal.dense(), expected, rtol=0, atol=1e-11 * expected.max())
    np.testing.assert_allclose(in_full(noise), 0.25 * blocks / square, rtol=1e-11)
    np.testing.assert_allclose(signal.diagonal, np.diag(signal.unscaled()), rtol=0, atol=1e-12)


@pytest.mark.parametrize("up", [-2000.0, 2000.0])
def test_no_scale_overflows(up):
    for norm, rest in ((channel_norm, (0.5, True)), (population_norm, ())):
        signal, noise, _, _ = state(0, (2, 3, 2), (0.0, 0.0))
        signal.log_scale = noise.log_scale = up
        norm(signal, noise, 1e-5, 1.0, *rest)
        assert np.isfinite(signal.blocks).all() and np.isfinite(noise.blocks).all()
        expected = up - math.log(1e-5) if up < 0 else 0.0
        assert abs(noise.log_scale - expected) < 10.0


def test_a_signal_without_variance_is_refused_without_epsilon():
    signal, noise, _, _ = state(0, (2, 3, 2))
    signal.diagonal[3] = 0.0
    with pytest.raises(ValueError, match="use an epsilon above 0"):
        channel_norm(signal, noise, 0.0, 1.0, 0.0, False)


def test_noise_of_all_images_together():
    signal, noise, _, _ = state(0, (2, 3, 2))
    apart = state(0, (2, 3, 2))
    noise.join()
    channel_norm(signal, noise, 0.1, 1.0, 0.4, False)
    channel_norm(apart[0], apart[1], 0.1, 1.0, 0.4, False)
    apart[1].join()
    np.testing.assert_allclose(in_full(noise), in_full(apart[1]), rtol=1e-12)
