"""A sweep: its options, its table, and the table on disk."""

import csv
import os
import re
from concurrent.futures import ThreadPoolExecutor

import pytest
from grids import SMALL, needs_pyarrow

import fastmoments as fm
from fastmoments.sweeps import dispatch, sweeping


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"executor": ThreadPoolExecutor, "processes": 2}, "an executor or processes, not both"),
        ({"executor": 3}, "executor must be a concurrent.futures.Executor"),
        ({"processes": 0}, "processes must be a positive whole number"),
        ({"processes": True}, "processes must be a positive whole number"),
        ({"resume": True}, "resume needs an output"),
        ({"output": "x.json"}, "must end in .csv, .parquet"),
        ({"output": "nowhere/x.csv"}, "Cannot write nowhere"),
    ],
)
def test_wrong_options(options, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=re.escape(words)):
        fm.sweep(SMALL, **options)


def test_a_failed_scan_is_a_row_and_the_others_go_on():
    # One image has one value per feature, so a fully connected net sees no signal.
    table = fm.sweep({**SMALL, "count": [1, 4], "kernel_size": [1, 3]}, processes=1)
    assert len(table) == 32
    for row in table:
        failed = (row["count"], row["kernel_size"]) == (1, 1)
        assert (row["error"] is not None) == failed
        assert (row["chi"] is None) == failed
    assert "two different images" in next(error for error in table["error"] if error)


def test_table(table, tmp_path):
    found = fm.sweep(SMALL, processes=1)
    assert len(found) == len(list(found)) == 8
    assert repr(found) == "<Sweep of 8 scans: 2 family, 2 depth, 2 epsilon>"
    assert found["depth"] == [16, 16, 20, 20] * 2
    with pytest.raises(KeyError, match="no column 'x'; this sweep has family"):
        found["x"]
    found.save(tmp_path / "x.csv")
    assert (tmp_path / "x.csv").read_bytes() == table
    rows = list(csv.DictReader(table.decode().splitlines()))
    assert [float(row["chi"]) for row in rows] == found["chi"]
    assert {row["error"] for row in rows} == {""}


def test_dataframe():
    pytest.importorskip("pandas")
    found = fm.sweep({**SMALL, "depth": 16}, processes=1)
    assert found.to_dataframe()["chi"].tolist() == found["chi"]


@needs_pyarrow
def test_parquet(tmp_path):
    from pyarrow import parquet

    lists = {
        **SMALL,
        "count": [1, 4],
        "method": ["infinite", "sampled"],
        "width": [4, 8],
        "nets": 2,
        "depth": 16,
    }
    found = fm.sweep(lists, processes=1, output=tmp_path / "x.parquet")
    found.save(tmp_path / "y.parquet")
    assert (tmp_path / "x.parquet").read_bytes() == (tmp_path / "y.parquet").read_bytes()
    read = parquet.read_table(tmp_path / "x.parquet")
    assert read.to_pylist() == found.rows
    types = {field.name: str(field.type) for field in read.schema}
    wanted = {
        "family": "string",
        "depth": "int64",
        "epsilon": "double",
        "input_conv": "bool",
        "error": "string",
    }
    assert {name: types[name] for name in wanted} == wanted
    assert {types[name] for name in ("width", "nets", "rank")} == {"int64"}
    assert types["rate"] == types["chi"] == types["delta_chi_bn"] == "double"  # also where nothing was found


def test_parquet_without_pyarrow(tmp_path, monkeypatch):
    monkeypatch.setattr(sweeping, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match="pip install"):
        fm.sweep(SMALL, output=tmp_path / "x.parquet")


@pytest.mark.parametrize("ending", [".csv", pytest.param(".parquet", marks=needs_pyarrow)])
def test_saved_tables_are_read(tmp_path, ending):
    lists = {**SMALL, "depth": 16, "count": [1, 4], "method": ["infinite", "sampled"], "epsilon": 0}
    path = tmp_path / f"x{ending}"
    found = fm.sweep(
        {**lists, "input_conv": [True, False], "width": [4, 8], "nets": 2}, processes=1, output=path
    )
    read = fm.Sweep.load(path)
    assert read.rows == found.rows
    assert [list(map(type, row.values())) for row in read] == [list(map(type, row.values())) for row in found]
    assert {**read.grid, "width": [4, 8], "nets": [2]} == found.grid
    assert read.grid["width"] == [None, 4, 8]  # infinite nets have none
    for content in (b"", b"family,depth\nvanilla,3\n", b"\0\xff"):
        path.write_bytes(content)
        with pytest.raises(ValueError, match="is not a sweep saved by"):
            fm.Sweep.load(path)
    with pytest.raises(ValueError, match="There is no file"):
        fm.Sweep.load(tmp_path / f"y{ending}")


def test_one_process_for_each_core_but_no_more_than_scans(monkeypatch):
    assert 1 <= dispatch.cores() <= os.cpu_count()
    numbers = []

    def spied(function, items, processes, warm):
        numbers.append(processes)
        return dispatch.in_this_process(function, items)

    monkeypatch.setattr(sweeping, "on_processes", spied)
    monkeypatch.setattr(sweeping, "cores", lambda: 3)
    fm.sweep({**SMALL, "depth": 2})  # four scans
    fm.sweep({**SMALL, "depth": 2}, processes=100)
    fm.sweep({**SMALL, "depth": 2, "family": "vanilla", "epsilon": 0})  # one: in this process
    assert numbers == [3, 4]
