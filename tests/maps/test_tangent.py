"""What a layer's weights add to the tangent kernel, against dense matrices."""

import naive
import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy.linalg import block_diag
from states import in_full, seeds, sizes, state

from fastmoments.maps.tangent import add_covariance, centre, nothing


@given(seeds, sizes, st.floats(-400, 400), st.floats(-400, 400))
def test_the_covariance_is_added(seed, size, up, down):
    """In the scale of the larger, however different they are."""
    signal, kernel, _, _ = state(seed, size, (up, down))
    covariance, theta = signal.unscaled(), block_diag(*kernel.blocks)
    add_covariance(kernel, signal)
    assert kernel.log_scale == max(up, down)
    expected = np.exp(up - kernel.log_scale) * covariance + np.exp(down - kernel.log_scale) * theta
    np.testing.assert_allclose(
        kernel.blocks.reshape(expected.shape), expected, rtol=0, atol=1e-13 * expected.max()
    )


@given(seeds, sizes)
def test_nothing_and_a_covariance_is_the_covariance(seed, size):
    signal, _, full, _ = state(seed, size)
    kernel = nothing(*size)
    kernel.own()  # as the first layer does
    add_covariance(kernel, signal)
    np.testing.assert_allclose(kernel.blocks[0] * np.exp(kernel.log_scale), naive.flat(full), rtol=1e-13)


@given(seeds, sizes)
def test_centring_takes_the_mean_off_both_sides(seed, size):
    signal, kernel, _, _ = state(seed, size)
    add_covariance(kernel, signal)
    before = in_full(kernel)[0]
    centre(kernel)
    expected = naive.centre(before)
    np.testing.assert_allclose(in_full(kernel)[0], expected, rtol=0, atol=1e-13 * np.abs(before).max())


def test_of_one_point_nothing_is_left():
    signal, kernel, _, _ = state(0, (1, 1, 1))  # one image of one position
    add_covariance(kernel, signal)
    centre(kernel)
    assert kernel.log_scale == -np.inf and np.isfinite(kernel.blocks).all()
