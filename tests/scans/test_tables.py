"""Tables in plain text."""

import numpy as np

from fastmoments.scans.tables import number, text_table


def test_numbers():
    assert [number(v) for v in (None, float("nan"), 1234567.0, 0.5)] == ["-", "-", "1.235e+06", "0.5"]
    assert number(float("inf"), 1000.0 * np.log(10.0) + np.log(2.0)) == "2.000e+1000"
    assert number(float("inf"), float("inf")) == "-"


def test_table_is_aligned():
    table = text_table([["name", "x"]], [["a", "1.5"], ["longer", "-"]])
    assert table.splitlines() == ["name      x", "------  ---", "a       1.5", "longer    -"]
