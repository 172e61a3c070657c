"""Means over positions, and flattening, against their definitions."""

import math

import hypothesis.strategies as st
import naive
import numpy as np
import pytest
from hypothesis import assume, given, settings
from states import assert_consistent, in_full, noise_in_full, seeds, sizes, state

from fastmoments.covariances.storage import NoiseCovariance
from fastmoments.maps.averaging import average, average_images, average_noise, flatten
from fastmoments.nets.fixed import AvgPool, GlobalAvgPool

POOLS = (
    st.builds(AvgPool, st.integers(1, 3), st.none() | st.integers(1, 3), st.none() | st.just(0))
    | st.builds(AvgPool, st.integers(2, 4), st.none() | st.integers(1, 3), st.just(1))
    | st.builds(GlobalAvgPool)
)
SCALES = st.floats(-400, 400)


def fits(pool, size):
    return isinstance(pool, GlobalAvgPool) or pool.pad is None or pool.size <= min(size[1:]) + 2 * pool.pad


@given(seeds, sizes | st.just((18, 2, 2)) | st.just((3, 1, 1)), POOLS, SCALES, SCALES)
@settings(max_examples=80)
def test_average(seed, size, pool, up, down):
    assume(fits(pool, size))
    signal, noise, full, blocks = state(seed, size, (up, down))
    sides = pool.averages(size[1]), pool.averages(size[2])
    average(signal, noise, pool)
    expected = naive.average(full, *sides)
    assert signal.grid == expected.shape[:3] or noise.grid == (1, 1)
    assert noise.grid == expected.shape[1:3]
    np.testing.assert_allclose(signal.dense(), naive.flat(expected), rtol=0, atol=1e-13 * np.abs(full).max())
    assert_consistent(signal)
    pieces = [naive.flat(naive.average(part, *sides)) for part in noise_in_full(blocks, size)]
    np.testing.assert_allclose(in_full(noise), pieces, rtol=0, atol=1e-13 * blocks.max())
    assert noise.mean_variance() == pytest.approx(1.0) and np.mean(signal.diagonal) == pytest.approx(1.0)


@given(seeds, sizes | st.just((18, 2, 2)) | st.just((3, 1, 1)), SCALES, SCALES)
def test_flatten(seed, size, up, down):
    signal, noise, full, blocks = state(seed, size, (up, down))
    flatten(signal, noise)
    expected = naive.flat(naive.flatten(full))
    np.testing.assert_allclose(signal.dense(), expected, rtol=0, atol=1e-13 * np.abs(full).max())
    assert_consistent(signal)
    assert noise.grid == (1, 1) and math.prod(signal.grid) == size[0]
    pieces = [naive.flat(naive.flatten(part)) for part in noise_in_full(blocks, size)]
    np.testing.assert_allclose(in_full(noise), pieces, rtol=1e-12)


def test_what_becomes_one_position_stands_in_tiles_and_fits_in_blocks_of_single_precision():
    for change in (lambda *both: average(*both, GlobalAvgPool()), flatten):
        signal, noise, _, _ = state(0, (40, 2, 3))
        exact = state(0, (40, 2, 3))[0]
        signal.blocks = signal.blocks.astype(np.float32)
        change(signal, noise)
        change(exact, state(0, (40, 2, 3))[1])
        assert signal.grid == exact.grid == (1, 40, 1)
        assert signal.blocks.dtype == np.float32
        np.testing.assert_allclose(signal.dense(), exact.dense(), rtol=0, atol=1e-6 * exact.dense().max())


@given(seeds, st.sampled_from([(2, 4, 4), (3, 3, 2), (3, 1, 1)]), POOLS | st.none())
@settings(max_examples=40)
def test_noise_of_all_images_together_goes_the_signal_s_way(seed, size, pool):
    assume(pool is None or fits(pool, size))
    signal, noise, full, _ = state(seed, size)
    noise.join()
    noise.blocks = naive.flat(full)[None].copy()
    if pool is None:
        flatten(signal, noise)
    else:
        average(signal, noise, pool)
    found = noise.blocks[0] * math.exp(noise.log_scale)
    np.testing.assert_allclose(found, signal.dense(), rtol=0, atol=1e-13 * np.abs(full).max())


def test_noise_that_images_share_stays_shared():
    noise = NoiseCovariance.white(5, 4, 4)
    average_noise(noise, AvgPool(2))
    assert noise.blocks.shape == (1, 4, 4) and noise.images == 5
    np.testing.assert_allclose(in_full(noise)[3], np.eye(4) / 4)


@given(seeds, sizes, POOLS)
@settings(max_examples=30)
def test_the_covariance_of_averaged_images(seed, size, pool):
    assume(fits(pool, size))
    full, features = naive.covariance(np.random.default_rng(seed), *size, features=5)
    averaged = average_images(features, pool)
    expected = naive.average(full, pool.averages(size[1]), pool.averages(size[2]))
    found = np.einsum("iabf,jcdf->iabjcd", averaged, averaged) / 5
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-13 * np.abs(full).max())
