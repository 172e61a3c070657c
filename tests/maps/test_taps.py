"""Where the taps of a convolution are, against its padding."""

import hypothesis.strategies as st
import naive
import numpy as np
from hypothesis import assume, given

from fastmoments.maps.taps import memory_of_workers, tap_tables
from fastmoments.nets.geometry import PADDINGS
from fastmoments.nets.linear import Conv

convs = st.builds(
    Conv,
    kernel_size=st.integers(1, 5),
    stride=st.integers(1, 3),
    padding=st.sampled_from(PADDINGS),
    dilation=st.integers(1, 2),
    pad=st.none() | st.integers(0, 3),
)
sides = st.integers(1, 8)


@given(convs, sides, sides, st.integers(0, 2**32 - 1))
def test_columns_are_what_a_padded_row_shows(conv, height, width, seed):
    assume(naive.fits(conv, height, width))
    tables, row = tap_tables(conv, height, width), np.random.default_rng(seed).standard_normal(width)
    index = conv.padded_index(width)
    padded = np.where(index >= 0, row[index], 0.0)
    weights = conv.tap_factors[1]
    all_across = tables.across.reshape(-1, *tables.columns.shape)
    for term, across in enumerate(all_across):
        found = (across * row[tables.columns]).sum(1)
        starts = np.arange(conv.output_size(width)) * conv.stride
        expected = sum(weights[term][t] * padded[starts + t * conv.dilation] for t in range(conv.kernel_size))
        np.testing.assert_allclose(found, expected, rtol=1e-13, atol=1e-13)
    assert np.all(all_across[:, tables.inside == 0.0] == 0.0)
    assert tables.columns.shape[1] % 3 == 0


@given(convs, sides, sides)
def test_a_row_is_in_its_slot_when_it_is_needed_and_read_before_it_is_overwritten(conv, height, width):
    """Going through the output rows as the kernel does."""
    assume(naive.fits(conv, height, width))
    tables, taps = tap_tables(conv, height, width), conv.kernel_size
    index, new_width = conv.padded_index(height), len(tables.columns)
    kept = {}
    for output in range(conv.output_size(height)):
        for row, (start, slot) in enumerate(tables.slots):
            if start == output:
                assert row >= output  # the result in place would have overwritten it
                kept[slot] = row
        for tap in range(taps):
            row = index[output * conv.stride + tap * conv.dilation]
            if row >= 0:
                assert kept[tables.lines[output, tap] // new_width] == row
                assert tables.down[output, tap] != 0.0
            else:
                assert tables.down[output, tap] == 0.0


@given(convs, sides, sides)
def test_columns_that_see_no_border_are_a_shift(conv, height, width):
    assume(naive.fits(conv, height, width))
    tables, steps = tap_tables(conv, height, width), np.arange(conv.kernel_size) * conv.dilation
    for column in range(tables.low, tables.high):
        seen = tables.columns[column, : conv.kernel_size]
        np.testing.assert_array_equal(seen - seen[0], steps)
        assert seen[-1] < width and np.all(tables.inside[column, : conv.kernel_size] == 1.0)


@given(convs, sides, sides)
def test_memory_holds_what_the_tables_point_to(conv, height, width):
    assume(naive.fits(conv, height, width))
    tables, pad_h = tap_tables(conv, height, width), conv.padded_index(height)
    new_width = len(tables.columns)
    size = len(tables.lines) * new_width
    assert tables.top == conv.pad_before(height)
    sums, starts, rows, nothing = memory_of_workers(2, tables, pad_h, size, np.dtype("float32"))
    assert tables.lines.max() + new_width <= sums.shape[1]  # a slot has a line for every output column
    # A row of a slot holds the padded image, all of it, also where no tap sees its end.
    assert sums.shape[2] >= max(pad_h.size, tables.top + height) * new_width
    assert not sums.any()
    assert starts.shape == (2, 1, tables.drops.size)
    assert (rows.shape, rows.dtype, nothing.size) == ((2, 2, size), np.float32, 0)
