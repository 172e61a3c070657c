"""Tables in plain text."""

import math
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastmoments.scans.tables import number, text_table

WORDS = st.text("abcxyz", min_size=1, max_size=9)
NUMBERS = st.one_of(st.floats(-1e9, 1e9).map(number), st.just("-"))


def test_numbers():
    assert [number(v) for v in (None, float("nan"), 1234567.0, 0.5)] == ["-", "-", "1.235e+06", "0.5"]
    assert number(float("inf"), 1000.0 * np.log(10.0) + np.log(2.0)) == "2.000e+1000"
    assert number(float("inf"), float("inf")) == "-"


def test_table_is_aligned():
    table = text_table([["name", "x"]], [["a", "1.5"], ["longer", "-"]])
    assert table.splitlines() == ["name      x", "------  ---", "a       1.5", "longer    -"]


@given(st.lists(st.tuples(WORDS, NUMBERS, NUMBERS), min_size=1, max_size=6))
def test_every_line_has_its_cells_where_the_rule_has_its_dashes(rows):
    head, rule, *lines = text_table([["name", "one", "other"]], [list(row) for row in rows]).splitlines()
    columns = [match.span() for match in re.finditer("-+", rule)]
    for line, cells in zip([head, *lines], [("name", "one", "other"), *rows], strict=True):
        assert [line[start:end].strip() for start, end in columns] == list(cells)
        for (_, end), cell in zip(columns[1:], cells[1:], strict=True):
            assert line[:end].endswith(cell)  # numbers to the right


@given(st.floats(1e-3, 1e12))
def test_a_number_beyond_the_range_of_floats_follows_from_its_logarithm(value):
    """The same digits as of one in the range, but for the power of ten."""
    text = number(math.inf, math.log(value) + 400 * math.log(10.0))
    digits, exponent = text.split("e+")
    assert float(digits) * 10.0 ** (int(exponent) - 400) == pytest.approx(value, rel=6e-4)
