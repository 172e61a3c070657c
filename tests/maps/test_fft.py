"""The way through Fourier space: against the direct sum of its definition, and which way is taken."""

import math

import hypothesis.strategies as st
import naive
import numpy as np
import pytest
from hypothesis import assume, given, settings

from fastmoments.maps import fft
from fastmoments.nets.geometry import PADDINGS
from fastmoments.nets.linear import Conv, Gaussian

convs = st.builds(
    Conv,
    kernel_size=st.integers(1, 5),
    weights=st.just(Gaussian(gain=1.0)),
    stride=st.integers(1, 3),
    padding=st.sampled_from(PADDINGS),
    dilation=st.integers(1, 2),
    pad=st.none() | st.integers(0, 3),
)


@given(convs, st.integers(1, 6), st.integers(1, 6), st.integers(0, 2**32 - 1))
@settings(max_examples=200)
def test_blocks_are_convolved_one_by_one(conv, height, width, seed):
    """Of no symmetry, as blocks of two images have none; the sum over taps, without gain and bias."""
    assume(naive.fits(conv, height, width))
    blocks = np.random.default_rng(seed).standard_normal((2, height * width, height * width))
    size = conv.output_size(height) * conv.output_size(width)
    target = np.empty((2, size, size))
    fft.convolve(blocks, target, conv, height, width)
    for block, found in zip(blocks, target, strict=True):
        full = block.reshape(1, height, width, 1, height, width)
        expected = conv.kernel_size**2 * naive.flat(naive.convolve(full, conv))
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12 * np.abs(expected).max() + 1e-13)


@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize(("kernel_size", "pad"), [(3, None), (3, 1), (3, 3), (1, 0), (1, 2)])
@pytest.mark.parametrize(("height", "width"), [(1, 6), (2, 1), (1, 1)])
def test_images_of_one_row_or_column(height, width, kernel_size, pad, padding):
    conv, size = Conv(kernel_size, weights=Gaussian(gain=1.0), padding=padding, pad=pad), height * width
    blocks, behind = np.ones((1, size, size)), math.prod(conv.output_grid((height, width)))
    target = np.empty((1, behind, behind))
    fft.convolve(blocks, target, conv, height, width)
    full = blocks.reshape(1, height, width, 1, height, width)
    expected = kernel_size**2 * naive.flat(naive.convolve(full, conv))
    np.testing.assert_allclose(target[0], expected, atol=1e-12)


def test_the_result_may_take_the_place_of_the_source():
    blocks = np.random.default_rng(0).standard_normal((3, 12, 12))
    expected = np.empty_like(blocks)
    fft.convolve(blocks.copy(), expected, Conv(3), 3, 4)
    fft.convolve(blocks, blocks, Conv(3), 3, 4)
    np.testing.assert_array_equal(blocks, expected)


@pytest.mark.parametrize("padding", PADDINGS)
def test_the_way_is_chosen_as_told_or_by_the_number_of_taps(padding):
    small, large = Conv(3, padding=padding), Conv(99, padding=padding)
    assert fft.chosen("fft", small, 16, 16) and not fft.chosen("direct", large, 128, 128)
    assert not fft.chosen("auto", small, 16, 16)
    if padding == "periodic":  # else the padded grid is larger than the image
        assert fft.chosen("auto", large, 128, 128)
