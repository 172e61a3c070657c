"""What all tests of sweeps share."""

import pytest
from grids import SMALL

import fastmoments as fm


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """The bytes that every way of running SMALL must write."""
    path = tmp_path_factory.mktemp("wanted") / "table.csv"
    fm.sweep(SMALL, processes=1, output=path)
    return path.read_bytes()
