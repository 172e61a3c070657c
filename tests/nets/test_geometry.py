"""Where the taps of a convolution are, by numpy's padding."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from fastmoments.nets.geometry import PADDINGS, output_size, padded_index
from fastmoments.nets.layers import Conv


@given(st.integers(1, 7), st.integers(1, 3), st.integers(1, 3), st.integers(1, 9), st.sampled_from(PADDINGS))
def test_padding_is_numpy_s_by_tensorflow_s_amounts(kernel_size, stride, dilation, size, padding):
    conv = Conv(kernel_size, stride=stride, dilation=dilation, padding=padding)
    out = -(-size // stride)
    reach = (kernel_size - 1) * dilation + 1
    total = max((out - 1) * stride + reach - size, 0)
    padded = np.pad(
        np.arange(size),
        (total // 2, total - total // 2),
        mode={"periodic": "wrap", "zeros": "constant", "symmetric": "symmetric"}[padding],
        **({"constant_values": -1} if padding == "zeros" else {}),
    )
    index = conv.padded_index(size)
    assert conv.output_size(size) == out
    assert index.size == (out - 1) * stride + reach
    np.testing.assert_array_equal(index, padded[: index.size])


@given(st.integers(1, 40), st.integers(1, 9), st.integers(1, 4), st.integers(1, 3))
def test_paddings_agree_where_they_do_not_pad(size, kernel_size, stride, dilation):
    periodic, zeros, symmetric = (
        padded_index(size, kernel_size, stride, dilation, each) for each in PADDINGS
    )
    inside = zeros >= 0
    np.testing.assert_array_equal(periodic[inside], zeros[inside])
    np.testing.assert_array_equal(symmetric[inside], zeros[inside])
    assert np.all(np.diff(zeros[inside]) == 1)
    for index in (periodic, symmetric):
        assert index.min() >= 0 and index.max() < size
    before, after = np.argmax(inside), np.argmax(inside[::-1])
    if zeros[inside][-1] == size - 1:  # a large stride cuts the side instead
        assert after - before in (0, 1)


@given(st.integers(1, 100), st.integers(1, 5), st.integers(1, 5))
def test_strides_one_behind_the_other_are_their_product(size, one, other):
    assert output_size(output_size(size, one), other) == output_size(size, one * other)
