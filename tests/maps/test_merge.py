"""The sum of a shortcut and a branch."""

import hypothesis.strategies as st
import naive
import numpy as np
import pytest
from hypothesis import given
from scipy.linalg import block_diag
from states import assert_consistent, in_full, seeds, sizes, state

from fastmoments.covariances.storage import NoiseCovariance
from fastmoments.maps.merge import merge


@given(seeds, sizes, st.floats(-400, 400), st.floats(-400, 400))
def test_merge(seed, size, up, down):
    signal, noise, full, blocks = state(seed, size, (up, down))
    skip, skip_noise, other, other_blocks = state(seed + 1, size, (up + 1.0, down - 2.0))
    merge(signal, noise, skip, skip_noise)
    expected = naive.flat(full) + naive.flat(other)
    np.testing.assert_allclose(signal.dense(), expected, rtol=1e-12, atol=1e-13 * expected.max())
    np.testing.assert_allclose(in_full(noise), blocks + other_blocks, rtol=1e-11)
    assert_consistent(signal)


def test_merge_of_different_sizes_is_refused():
    one, other = state(0, (2, 4, 4)), state(0, (2, 2, 2))
    with pytest.raises(ValueError, match="4x4 positions and its shortcut 2x2"):
        merge(one[0], one[1], other[0], other[1])


@given(seeds, sizes, st.floats(-3, 3))
def test_branch_and_shortcut_may_change_places(seed, size, scale):
    one, other = state(seed, size, (scale, 0.0)), state(seed + 1, size, (0.0, scale))
    again, swapped = state(seed, size, (scale, 0.0)), state(seed + 1, size, (0.0, scale))
    merge(*one[:2], *other[:2])
    merge(*swapped[:2], *again[:2])
    np.testing.assert_allclose(one[0].dense(), swapped[0].dense(), rtol=1e-13, atol=1e-13)
    np.testing.assert_allclose(in_full(one[1]), in_full(swapped[1]), rtol=0, atol=1e-13)


def test_a_branch_of_nothing_leaves_the_shortcut():
    signal, noise, full, blocks = state(0, (2, 3, 2), (-np.inf, -np.inf))
    skip, skip_noise, full, blocks = state(1, (2, 3, 2))
    merge(signal, noise, skip, skip_noise)
    np.testing.assert_allclose(signal.dense(), naive.flat(full), rtol=1e-14, atol=1e-14)
    np.testing.assert_allclose(in_full(noise), blocks, rtol=1e-14)


@pytest.mark.parametrize("which", [(0,), (1,), (0, 1)])
def test_noise_of_all_images_together_is_added_to_that_of_each(which):
    signal, noise, _, blocks = state(0, (2, 3, 2))
    skip, skip_noise, _, other = state(1, (2, 3, 2))
    for index in which:
        (noise, skip_noise)[index].join()
    merge(signal, noise, skip, skip_noise)
    np.testing.assert_allclose(in_full(noise), [block_diag(*(blocks + other))], rtol=1e-14)


def test_noise_that_images_share_is_added_to_that_of_each():
    signal, _, _, _ = state(0, (2, 3, 2))
    skip, skip_noise, _, blocks = state(1, (2, 3, 2))
    shared = NoiseCovariance.white(2, 3, 2)
    merge(signal, shared, skip, skip_noise)
    np.testing.assert_allclose(in_full(shared), blocks + np.eye(6), rtol=1e-14)
