"""Where the taps of a convolution are, by numpy's padding."""

import naive
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from fastmoments.nets.geometry import PADDINGS, padded_index
from fastmoments.nets.linear import Conv

convs = st.builds(
    Conv,
    kernel_size=st.integers(1, 7),
    stride=st.integers(1, 3),
    padding=st.sampled_from(PADDINGS),
    dilation=st.integers(1, 3),
    pad=st.none() | st.integers(0, 3),
)


@given(convs, st.integers(1, 9))
def test_padding_is_numpy_s_by_the_amounts_of_either_rule(conv, size):
    assume(naive.fits(conv, size))
    out, before, behind = naive.pad_amounts(size, conv)
    padded = np.pad(
        np.arange(size),
        (before, behind),
        mode=naive.NUMPY_PADDING[conv.padding],
        **({"constant_values": -1} if conv.padding == "zeros" else {}),
    )
    index = conv.padded_index(size)
    assert conv.output_size(size) == out and conv.pad_before(size) == before
    assert index.size == (out - 1) * conv.stride + (conv.kernel_size - 1) * conv.dilation + 1
    np.testing.assert_array_equal(index, padded[: index.size])


@pytest.mark.parametrize(
    ("size", "conv", "outputs"),
    [
        (32, Conv(3, stride=2, pad=1), 16),
        (33, Conv(3, stride=2, pad=1), 17),
        (224, Conv(7, stride=2, pad=3), 112),  # the stem of a ResNet, and what follows it
        (112, Conv(3, stride=2, pad=1), 56),
        (5, Conv(3, pad=0), 3),
        (5, Conv(3, pad=0, dilation=2), 1),
        (1, Conv(1, pad=3), 7),
    ],
)
def test_sizes_that_pytorch_gives(size, conv, outputs):
    assert conv.output_size(size) == outputs


def test_an_explicit_amount_stands_on_both_sides():
    assert padded_index(4, 3, 2, 1, "zeros").tolist() == [0, 1, 2, 3, -1]
    assert padded_index(4, 3, 2, 1, "zeros", 1).tolist() == [-1, 0, 1, 2, 3]
    assert padded_index(4, 3, 1, 1, "periodic", 2).tolist() == [2, 3, 0, 1, 2, 3, 0, 1]
    assert padded_index(4, 3, 1, 1, "symmetric", 2).tolist() == [1, 0, 0, 1, 2, 3, 3, 2]
    assert padded_index(4, 3, 1, 1, "zeros", 0).tolist() == [0, 1, 2, 3]


def test_a_kernel_larger_than_the_padded_image_is_refused():
    conv = Conv(3, dilation=2, pad=1)
    for asked in (conv.output_size, conv.padded_index, conv.taps):
        with pytest.raises(
            ValueError, match=r"spans 5 positions, and a side of 2 has 4 with pad=1; use .*\.$"
        ):
            asked(2)
    assert conv.output_size(3) == 1


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


@given(st.integers(1, 100), st.integers(1, 5), st.integers(1, 5), st.integers(1, 5), st.integers(1, 3))
def test_strides_one_behind_the_other_are_their_product(size, one, other, kernel_size, dilation):
    first, second, both = (Conv(kernel_size, stride=s, dilation=dilation) for s in (one, other, one * other))
    assert second.output_size(first.output_size(size)) == both.output_size(size)


@given(convs, st.integers(1, 9))
def test_what_keeps_sizes_is_the_rule_without_a_pad(conv, size):
    if conv.keeps_size:
        expected = padded_index(size, conv.kernel_size, 1, conv.dilation, conv.padding)
        np.testing.assert_array_equal(conv.padded_index(size), expected)
    else:
        assert conv.stride > 1 or conv.output_size(20) != 20
    assert conv.pointwise == (conv.keeps_size and conv.kernel_size == 1)
