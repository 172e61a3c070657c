"""Displacements and taps against double loops."""

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings
from numpy.testing import assert_allclose

from fastmoments.engines.finite_width.batch_norm.tap_averaging import TapAveraging
from fastmoments.nets.linear import Conv, Gaussian

seeds = st.integers(0, 2**32 - 1)


@settings(max_examples=20, deadline=None)
@given(seeds, st.integers(1, 5), st.integers(1, 5), st.booleans())
def test_correlations_by_displacement_are_means_over_pairs(seed, height, width, wrapped):
    rng = np.random.default_rng(seed)
    matrix = rng.standard_normal((height * width, height * width))
    matrix = matrix @ matrix.T
    lattice = TapAveraging((height, width), wrapped)
    found = lattice.correlations(matrix)
    sums, counts = np.zeros(lattice.shape), np.zeros(lattice.shape, int)
    for p in range(height * width):
        for q in range(height * width):
            at = (q // width - p // width) % lattice.shape[0], (q % width - p % width) % lattice.shape[1]
            sums[at] += matrix[p, q]
            counts[at] += 1
    means = sums / counts
    assert_allclose(lattice.counts, counts)
    assert_allclose(found, np.clip(means / means[0, 0], -1.0, 1.0))
    assert_allclose(lattice.mean(means), matrix.mean())
    assert_allclose(lattice.modes(found).mean(), 1.0)


@pytest.mark.parametrize(
    "conv",
    [
        Conv(3),
        Conv(3, dilation=2),
        Conv(5),
        Conv(3, weights=Gaussian(tap_variances=[[1, 2, 1], [2, 4, 2], [1, 2, 1]])),
        Conv(2),
    ],
)
def test_a_convolution_thins_an_error_out_as_its_taps_overlap(conv):
    """The variance behind it: sum over pairs of taps of u u' E(t' - t), by a double loop."""
    lattice = TapAveraging((7, 8), True)
    rng = np.random.default_rng(1)
    errors = np.abs(np.fft.fft2(rng.standard_normal(lattice.shape))) ** 2  # the modes of some autocovariance
    autocovariance = np.fft.ifft2(errors).real
    weights, naive = conv.tap_weights / conv.tap_weights.sum(), 0.0
    taps = [(i, j) for i in range(conv.kernel_size) for j in range(conv.kernel_size)]
    for t in taps:
        for s in taps:
            at = tuple(conv.dilation * (a - b) % side for a, b, side in zip(t, s, lattice.shape, strict=True))
            naive += weights[t] * weights[s] * autocovariance[at]
    assert_allclose(np.mean(lattice.response(conv) ** 2 * errors.ravel()), naive)
    assert_allclose(lattice.response(conv)[0], 1.0)  # what is alike at all positions stays


@pytest.mark.parametrize("conv", [Conv(3), Conv(3, stride=2), Conv(5, stride=2), Conv(3, dilation=2)])
def test_outputs_share_taps(conv):
    lattice = TapAveraging((6, 6), False)
    found, naive = lattice.shared_taps(conv), np.zeros(lattice.shape)
    weights = (conv.tap_weights / conv.tap_weights.sum()).ravel()
    places = [
        (conv.dilation * i, conv.dilation * j)
        for i in range(conv.kernel_size)
        for j in range(conv.kernel_size)
    ]
    for down in range(-5, 6):
        for across in range(-5, 6):
            for u, (i, j) in zip(weights, places, strict=True):
                moved = i - conv.stride * down, j - conv.stride * across
                if moved in places:
                    naive[down, across] += u * weights[places.index(moved)]
    assert_allclose(found, naive)
