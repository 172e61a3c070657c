"""Every map against its naive formula, over random geometries and covariances."""

import math
from dataclasses import replace

import hypothesis.strategies as st
import naive
import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from states import assert_consistent, in_full, noise_in_full, seeds, state

from fastmoments.covariances.storage import NoiseCovariance
from fastmoments.maps.convolution import convolve, first_convolution
from fastmoments.nets.activations import ReLU
from fastmoments.nets.geometry import PADDINGS
from fastmoments.nets.linear import Conv, Gaussian


def profiles(size):
    """No profile, one of a single product of two axes, or any with zeros in it."""
    side = st.lists(st.sampled_from([0.0, 0.5, 1.0, 3.0]), min_size=size, max_size=size)
    any_profile = st.lists(side, min_size=size, max_size=size).filter(lambda rows: max(map(max, rows)) > 0)
    product = side.filter(max).map(lambda row: np.outer(row, row[::-1]).tolist())
    return st.one_of(st.none(), any_profile, product.filter(lambda rows: max(map(max, rows)) > 0))


def with_profile(conv):
    return profiles(conv.kernel_size).map(
        lambda profile: replace(conv, weights=replace(conv.weights, tap_variances=profile))
    )


convs = st.builds(
    Conv,
    kernel_size=st.integers(1, 5),
    weights=st.builds(Gaussian, gain=st.floats(0.2, 4.0), bias_variance=st.sampled_from([0.0, 0.3])),
    stride=st.integers(1, 3),
    padding=st.sampled_from(PADDINGS),
    dilation=st.integers(1, 2),
    pad=st.none() | st.integers(0, 3),
).flatmap(with_profile)

sizes = st.tuples(st.integers(1, 3), st.integers(1, 9), st.integers(1, 9)).filter(
    lambda size: math.prod(size) <= 100
)


def convolved(full, conv):
    """What the naive formula makes of a covariance; not of a kernel that does not fit, or sees no signal."""
    assume(naive.fits(conv, *full.shape[1:3]))
    unbiased = replace(conv, weights=replace(conv.weights, bias_variance=0.0))
    assume(np.trace(naive.flat(naive.convolve(full, unbiased))) > 0)
    return naive.convolve(full, conv)


@given(seeds, sizes, convs, st.sampled_from(["direct", "fft"]))
# Another grid of as many positions; in place with a stride; one position and several; a dark border.
@example(1, (2, 6, 1), Conv(2, stride=3, pad=2), "direct")
@example(1, (2, 6, 1), Conv(2, stride=3, pad=2), "fft")
@example(1, (3, 3, 3), Conv(3, stride=2, padding="zeros", pad=2), "direct")
@example(1, (3, 3, 3), Conv(3, stride=2, padding="zeros", pad=2), "fft")
@example(1, (3, 1, 1), Conv(3, padding="symmetric", pad=2), "direct")
@example(1, (18, 1, 1), Conv(3, padding="zeros", pad=1), "direct")
@example(1, (18, 3, 3), Conv(3, pad=0), "direct")
@example(1, (2, 3, 3), Conv(1, padding="zeros", pad=1), "direct")
@settings(max_examples=60)
def test_convolution(seed, size, conv, method):
    signal, noise, full, blocks = state(seed, size, (1.3, -0.7))
    expected = convolved(full, conv)
    station, known = convolve(signal, noise, conv, activation=None, method=method)
    assert signal.grid == expected.shape[:3] or noise.grid == (1, 1)
    np.testing.assert_allclose(signal.dense(), naive.flat(expected), rtol=0, atol=1e-12 * expected.max())
    assert_consistent(signal)
    assert known == {}
    np.testing.assert_allclose(station.diagonal, signal.diagonal)
    unbiased = replace(conv, weights=replace(conv.weights, bias_variance=0.0))
    pieces = [naive.flat(naive.convolve(part, unbiased)) for part in noise_in_full(blocks, size)]
    np.testing.assert_allclose(in_full(noise), pieces, rtol=0, atol=1e-12 * np.max(np.abs(pieces)))
    assert station.log_noise == pytest.approx(math.log(np.mean([np.diag(p) for p in pieces])), abs=1e-12)


@given(seeds, sizes, convs, st.sampled_from(["direct", "fft"]))
@settings(max_examples=60)
def test_convolution_and_relu_in_one_visit(seed, size, conv, method):
    signal, noise, full, blocks = state(seed, size)
    between = naive.flat(convolved(full, conv))
    assume(np.diag(between).min() > 1e-9)
    apart = np.abs(naive.correlation(between)[0]) - np.eye(len(between))
    assume(apart.max() < 1.0 - 1e-9)  # k0 has a square root there, in which rounding grows to 1e-8
    station, known = convolve(signal, noise, conv, activation=ReLU(), method=method)
    expected = naive.relu(between)
    scale = np.abs(expected).max()
    np.testing.assert_allclose(signal.dense(), expected, rtol=0, atol=1e-12 * scale)
    assert_consistent(signal)
    at = np.exp(station.log_scale)
    np.testing.assert_allclose(station.diagonal * at, np.diag(between), rtol=1e-12)
    np.testing.assert_allclose(station.row_sums * at, between.sum(1), rtol=1e-9, atol=1e-10)
    assert math.exp(known["log_nu1_abs_signal"]) == pytest.approx(
        np.mean(np.sqrt(np.diag(between) / (2 * np.pi)))
    )
    positions = noise.blocks.shape[1]
    unbiased = replace(conv, weights=replace(conv.weights, bias_variance=0.0))
    for i, part in enumerate(noise_in_full(blocks, size)):
        here = slice(i * positions, (i + 1) * positions)
        masked = naive.flat(naive.convolve(part, unbiased)) * naive.mask(between[here, here])
        np.testing.assert_allclose(in_full(noise)[i], masked, rtol=0, atol=1e-11 * np.abs(blocks).max())


@given(seeds, sizes, convs)
@settings(max_examples=30)
def test_first_convolution_is_that_of_the_images_covariance(seed, size, conv):
    rng = np.random.default_rng(seed)
    full, features = naive.covariance(rng, *size, features=5)
    noise, expected = NoiseCovariance.white(*size), naive.flat(convolved(full, conv))
    signal = first_convolution(features, noise, conv)
    np.testing.assert_allclose(signal.dense(), expected, rtol=0, atol=1e-12 * np.abs(expected).max())
    assert_consistent(signal)
    unbiased = replace(conv, weights=replace(conv.weights, bias_variance=0.0))
    white = np.eye(size[1] * size[2]).reshape(1, *size[1:], 1, *size[1:])
    np.testing.assert_allclose(in_full(noise)[0], naive.flat(naive.convolve(white, unbiased)), atol=1e-12)


@given(seeds, st.sampled_from([(2, 4, 4), (3, 3, 2), (2, 1, 1)]), convs)
@settings(max_examples=40, deadline=None)
def test_noise_of_all_images_together_is_convolved_as_a_signal_is(seed, size, conv):
    """Its covariance with random entries between images as well."""
    conv = replace(conv, weights=replace(conv.weights, bias_variance=0.0))
    signal, noise, full, _ = state(seed, size)
    noise.join()
    noise.blocks = naive.flat(full)[None].copy()
    try:
        convolve(signal, noise, conv, None)
    except ValueError:
        return  # no tap meets the image
    found = noise.blocks[0] * math.exp(noise.log_scale)
    np.testing.assert_allclose(found, signal.dense(), rtol=0, atol=1e-13 * np.abs(found).max())
    assert noise.grid == conv.output_grid(size[1:]) and noise.points == signal.points
