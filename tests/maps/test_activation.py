"""Piecewise linear activations of a Gaussian: the formula, its definition, its symmetries, and samples."""

import math

import hypothesis.strategies as st
import naive
import numpy as np
import pytest
from gaussian_pairs import expectations, triples
from hypothesis import given, settings
from states import assert_consistent, in_full, seeds, sizes, state

from fastmoments.covariances.storage import Covariance, NoiseCovariance, pairs
from fastmoments.maps.activation import activate
from fastmoments.nets.activations import Abs, LeakyReLU, ReLU

ACTIVATIONS = [ReLU(), LeakyReLU(), LeakyReLU(0.3), LeakyReLU(2.0), Abs()]
activations = st.sampled_from(ACTIVATIONS)
ROUNDING = np.finfo(float).eps


@pytest.mark.parametrize("r", [-1.0, -0.999, -0.3, 0.0, 0.5, 0.9999, 1.0])
def test_the_naive_formulas_are_the_expectations_they_stand_for(r):
    """By integration over the angle, of which no arc cosine is taken but the one that defines r."""
    both = naive.gaussian_pair(lambda u, v: (u > 0) & (v > 0), r, 0)
    product = naive.gaussian_pair(lambda u, v: np.maximum(u, 0) * np.maximum(v, 0), r, 2)
    np.testing.assert_allclose([naive.k0(r), naive.k1(r)], [both, product], rtol=0, atol=1e-14)


@pytest.mark.parametrize("r", [-1.0, -0.999, -0.3, 0.0, 0.5, 0.9999, 1.0])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_the_quadrants_add_up_to_the_expectation(activation, r):
    above, below = activation.slopes
    value = naive.gaussian_pair(lambda u, v: phi(u, above, below) * phi(v, above, below), r, 2)
    slope = naive.gaussian_pair(
        lambda u, v: np.where(u > 0, above, below) * np.where(v > 0, above, below), r, 0
    )
    matrix = np.array([[1.0, r], [r, 1.0]])
    np.testing.assert_allclose(naive.activated(matrix, activation.slopes)[0, 1], value, rtol=0, atol=1e-13)
    np.testing.assert_allclose(naive.mask_of(matrix, activation.slopes)[0, 1], slope, rtol=0, atol=1e-13)


def phi(x, above, below):
    return np.where(x > 0, above, below) * x


@given(seeds, sizes, activations)
def test_an_activation_alone(seed, size, activation):
    signal, noise, full, blocks = state(seed, size, (-2.0, 3.0))
    activate(signal, noise, activation)
    expected = naive.activated(naive.flat(full), activation.slopes)
    bound = 1e-13 * np.diag(expected).max()
    np.testing.assert_allclose(signal.dense(), expected, rtol=0, atol=bound)
    assert_consistent(signal)
    positions = size[1] * size[2]
    for i in range(size[0]):
        here = slice(i * positions, (i + 1) * positions)
        masked = blocks[i] * naive.mask_of(naive.flat(full)[here, here], activation.slopes)
        np.testing.assert_allclose(in_full(noise)[i], masked, rtol=0, atol=4e-13 * np.abs(blocks).max())


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_against_quadrature_in_two_dimensions(activation):
    """500 pairs of points, each two positions of an image that has nothing in common with the others."""
    cases = list(triples(500, 5))
    first, second = pairs(len(cases))
    blocks = np.zeros((first.size, 2, 2))
    each = np.array([[[q1, r * np.sqrt(q1 * q2)], [r * np.sqrt(q1 * q2), q2]] for q1, q2, r in cases])
    blocks[first == second] = each
    diagonal = each[:, [0, 1], [0, 1]].ravel()
    signal = Covariance(blocks, (len(cases), 2, 1), 0.0, diagonal, each.sum(2).ravel())
    noise = NoiseCovariance(np.ones((len(cases), 2, 2)), len(cases), (2, 1))
    activate(signal, noise, activation)
    found = math.exp(signal.log_scale) * signal.blocks[first == second][:, 0, 1]
    masks = math.exp(noise.log_scale) * noise.blocks[:, 0, 1]
    for value, mask, (q1, q2, r) in zip(found, masks, cases, strict=True):
        wanted = expectations((activation.value, activation.slope), activation.kinks, q1, q2, r)
        off = abs(value - wanted[0]) / np.sqrt(q1 * q2), abs(mask - wanted[1])
        assert off[0] <= 1e-10 * activation.second_moment, (q1, q2, r, off)
        # A rounded covariance turns the angle, which is what the mask tells.
        turned = activation.bend * ROUNDING / max(np.sqrt(1.0 - r * r), np.sqrt(ROUNDING))
        assert off[1] <= 1e-10 * activation.second_moment + turned, (q1, q2, r, off)


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


@given(seeds, sizes, activations)
@settings(max_examples=20)
def test_it_stays_a_covariance_with_the_second_moment_on_the_diagonal(seed, size, activation):
    signal, noise, full, _ = state(seed, size)
    before = np.diag(naive.flat(full))
    above, below = activation.slopes
    known = activate(signal, noise, activation)
    after = signal.dense()
    np.testing.assert_allclose(after, after.T, rtol=0, atol=1e-14 * after.max())
    assert np.linalg.eigvalsh(after)[0] > -1e-13 * after.max()
    np.testing.assert_allclose(np.diag(after), 0.5 * (above**2 + below**2) * before, rtol=1e-14)
    # E |phi(y)| = (|a| + |b|) sigma / sqrt(2 pi)
    expected = math.log((abs(above) + abs(below)) * np.mean(np.sqrt(before / (2 * math.pi))))
    assert known["log_nu1_abs_signal"] == pytest.approx(expected, abs=1e-12)
    assert known["log_mu4_signal"] is None


@given(seeds, sizes)
@settings(max_examples=20)
def test_limits_of_the_slope(seed, size):
    """A slope of 0 is the ReLU, one of 1 passes everything; |x| is twice the ReLU less x."""
    found = {}
    for activation in (ReLU(), LeakyReLU(0.0), LeakyReLU(1.0), Abs()):
        signal, noise, full, blocks = state(seed, size)
        activate(signal, noise, activation)
        found[activation] = signal.dense(), in_full(noise)
    before = naive.flat(full)
    np.testing.assert_array_equal(found[LeakyReLU(0.0)][0], found[ReLU()][0])
    np.testing.assert_allclose(found[LeakyReLU(1.0)][0], before, rtol=0, atol=1e-14 * before.max())
    np.testing.assert_allclose(found[LeakyReLU(1.0)][1], blocks, rtol=0, atol=1e-14 * blocks.max())
    folded = 4.0 * found[ReLU()][0] - before
    np.testing.assert_allclose(found[Abs()][0], folded, rtol=0, atol=1e-13 * before.max())


@given(seeds, sizes, st.floats(1e-3, 1e3), activations)
@settings(max_examples=20)
def test_it_scales_with_the_signal_and_noise_does_not(seed, size, scale, activation):
    (signal, noise, _, _), (other, other_noise, _, _) = state(seed, size), state(seed, size)
    other.blocks *= scale
    other.diagonal *= scale
    other.row_sums *= scale
    for each in ((signal, noise), (other, other_noise)):
        activate(*each, activation)
    np.testing.assert_allclose(other.dense(), scale * signal.dense(), rtol=1e-11, atol=1e-14 * scale)
    np.testing.assert_allclose(in_full(other_noise), in_full(noise), rtol=0, atol=1e-10)


@pytest.mark.parametrize("activation", [ReLU(), LeakyReLU(0.3), Abs()])
def test_it_is_the_mean_over_sampled_channels(activation):
    rng, channels = np.random.default_rng(7), 400_000
    signal, noise, full, blocks = state(3, (1, 2, 2))
    y = np.linalg.cholesky(naive.flat(full)) @ rng.standard_normal((4, channels))
    activate(signal, noise, activation)
    values, slopes = phi(y, *activation.slopes), np.where(y > 0, *activation.slopes)
    for a in range(4):
        for b in range(4):
            for samples, found in (
                (values[a] * values[b], signal.dense()[a, b]),
                (blocks[0, a, b] * slopes[a] * slopes[b], noise.blocks[0, a, b]),
            ):
                error = samples.std() / math.sqrt(channels)
                assert abs(samples.mean() - found) <= 4.0 * error + 1e-12 * abs(found)


def test_a_point_without_signal_has_no_derivative_but_of_a_relu():
    features = np.random.default_rng(0).standard_normal((2, 3, 1, 30))
    features[1, 2] = 0.0
    signal = Covariance.from_features(features, 1 / 30)
    noise = NoiseCovariance(np.repeat(np.eye(3)[None], 2, 0), 2, (3, 1))
    with pytest.raises(ValueError, match="LeakyReLU of a point without signal has no derivative"):
        activate(signal, noise, LeakyReLU())


@pytest.mark.parametrize("size", [(3, 2, 2), (5, 1, 1)])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_noise_of_all_images_together_is_masked_between_images_too(size, activation):
    signal, noise, full, _ = state(2, size)
    full = naive.flat(full)
    noise.join()
    noise.blocks = np.random.default_rng(0).standard_normal(noise.blocks.shape)
    wanted = noise.blocks[0] * naive.mask_of(full, activation.slopes)
    before = signal.log_scale
    activate(signal, noise, activation)
    np.testing.assert_allclose(in_full(noise)[0], wanted, rtol=0, atol=1e-7 * np.abs(wanted).max())
    assert (noise.log_scale, signal.log_scale) == (0.0, before)


def test_noise_of_all_images_together_is_lost_where_there_is_no_signal():
    features = np.random.default_rng(0).standard_normal((4, 1, 1, 3)) * [
        [[[1.0]]],
        [[[1.0]]],
        [[[0.0]]],
        [[[1.0]]],
    ]
    signal, noise = Covariance.from_features(features, 1.0), NoiseCovariance.white(4, 1, 1)
    noise.join()
    noise.blocks = np.ones((1, 4, 4))
    activate(signal, noise, ReLU())
    assert not noise.blocks[0, 2].any() and not noise.blocks[0, :, 2].any()
    assert np.count_nonzero(noise.blocks) == 9
