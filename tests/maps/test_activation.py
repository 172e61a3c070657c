"""The ReLU of a Gaussian: its naive formula, its definition, its symmetries, and samples."""

import math

import hypothesis.strategies as st
import naive
import numpy as np
import pytest
from hypothesis import given, settings
from states import assert_consistent, in_full, seeds, sizes, state

from fastmoments.covariances.storage import Covariance, NoiseCovariance
from fastmoments.maps.activation import activate
from fastmoments.nets.layers import ReLU


@pytest.mark.parametrize("r", [-1.0, -0.999, -0.3, 0.0, 0.5, 0.9999, 1.0])
def test_the_naive_formulas_are_the_expectations_they_stand_for(r):
    """By integration over the angle, of which no arc cosine is taken but the one that defines r."""
    both = naive.gaussian_pair(lambda u, v: (u > 0) & (v > 0), r, 0)
    product = naive.gaussian_pair(lambda u, v: np.maximum(u, 0) * np.maximum(v, 0), r, 2)
    np.testing.assert_allclose([naive.k0(r), naive.k1(r)], [both, product], rtol=0, atol=1e-14)


@given(seeds, sizes)
def test_relu_alone(seed, size):
    signal, noise, full, blocks = state(seed, size, (-2.0, 3.0))
    activate(signal, noise, ReLU())
    expected = naive.relu(naive.flat(full))
    np.testing.assert_allclose(signal.dense(), expected, rtol=0, atol=1e-13 * expected.max())
    assert_consistent(signal)
    positions = size[1] * size[2]
    for i in range(size[0]):
        here = slice(i * positions, (i + 1) * positions)
        masked = blocks[i] * naive.mask(naive.flat(full)[here, here])
        np.testing.assert_allclose(in_full(noise)[i], masked, rtol=0, atol=1e-13 * np.abs(blocks).max())


def test_arc_cosine_kernels_keep_their_digits_at_both_ends():
    # acos(1-u) = 2 asin(sqrt(u/2)) is exact for small u; k1 has a cancellation there that the formula
    # for the angle t, (sin t + (pi - t) cos t), does not.
    angles = np.concatenate([np.geomspace(1e-7, 1.0, 40), np.pi - np.geomspace(1e-3, 1.0, 40)])
    points = angles.size + 1
    size = (1, points, 1)
    vectors = np.column_stack([np.cos(np.append(0.0, angles)), np.sin(np.append(0.0, angles))])
    signal = Covariance.from_features(vectors.reshape(*size, 2), 1.0)
    noise = NoiseCovariance(np.ones((1, points, points)), 1, size[1:])
    activate(signal, noise, ReLU())
    k1 = (np.sin(angles) + (np.pi - angles) * np.cos(angles)) / (2 * np.pi)
    np.testing.assert_allclose(signal.blocks[0, 0, 1:], k1, rtol=2e-15, atol=1e-16)
    # r itself is rounded, and k0 feels that through the angle: 1e-16 / angle.
    k0 = (np.pi - angles) / (2 * np.pi)
    np.testing.assert_allclose(noise.blocks[0, 0, 1:], k0, rtol=0, atol=5e-9)
    np.testing.assert_allclose(noise.blocks[0, 0, 30:], k0[29:], rtol=1e-12, atol=1e-13)


def test_a_point_without_signal_stays_without_signal_and_loses_its_noise():
    features = np.random.default_rng(0).standard_normal((2, 3, 1, 30))
    features[1, 2] = 0.0
    signal = Covariance.from_features(features, 1 / 30)
    noise = NoiseCovariance(np.repeat((np.eye(3) + 0.1)[None], 2, 0), 2, (3, 1))
    activate(signal, noise, ReLU())
    assert np.all(signal.dense()[5] == 0.0)
    assert np.all(noise.blocks[1, 2] == 0.0)
    assert np.all(noise.blocks[1, :, 2] == 0.0)
    assert noise.blocks[0, 2, 2] == pytest.approx(0.55)


@given(seeds, sizes)
@settings(max_examples=20)
def test_it_stays_a_covariance_with_the_halved_diagonal(seed, size):
    signal, noise, full, _ = state(seed, size)
    before = np.diag(naive.flat(full))
    known = activate(signal, noise, ReLU())
    after = signal.dense()
    np.testing.assert_allclose(after, after.T, rtol=0, atol=1e-14 * after.max())
    assert np.linalg.eigvalsh(after)[0] > -1e-13 * after.max()
    np.testing.assert_allclose(np.diag(after), 0.5 * before, rtol=1e-14)
    expected = math.log(np.mean(np.sqrt(before / (2 * math.pi))))  # E relu(y) = sigma / sqrt(2 pi)
    assert known["log_nu1_abs_signal"] == pytest.approx(expected, abs=1e-12)
    assert known["log_mu4_signal"] is None


@given(seeds, sizes, st.floats(1e-3, 1e3))
@settings(max_examples=20)
def test_it_scales_with_the_signal_and_noise_does_not(seed, size, scale):
    (signal, noise, _, _), (other, other_noise, _, _) = state(seed, size), state(seed, size)
    other.blocks *= scale
    other.diagonal *= scale
    other.row_sums *= scale
    for each in ((signal, noise), (other, other_noise)):
        activate(*each, ReLU())
    np.testing.assert_allclose(other.dense(), scale * signal.dense(), rtol=1e-11, atol=1e-14 * scale)
    np.testing.assert_allclose(in_full(other_noise), in_full(noise), rtol=0, atol=1e-10)


def test_it_is_the_mean_over_sampled_channels():
    rng, channels = np.random.default_rng(7), 400_000
    signal, noise, full, blocks = state(3, (1, 2, 2))
    y = np.linalg.cholesky(naive.flat(full)) @ rng.standard_normal((4, channels))
    activate(signal, noise, ReLU())
    relu, on = np.maximum(y, 0.0), (y > 0).astype(float)
    for a in range(4):
        for b in range(4):
            for samples, found in (
                (relu[a] * relu[b], signal.dense()[a, b]),
                (blocks[0, a, b] * on[a] * on[b], noise.blocks[0, a, b]),
            ):
                assert abs(samples.mean() - found) < 4.0 * samples.std() / math.sqrt(channels)
