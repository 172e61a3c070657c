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


NET = fm.Network([fm.Residual([fm.BatchNorm(), fm.ReLU(), fm.Conv(1)], scale=0.5)] * 3, [fm.Conv(1)], "mine")
DATA = {"source": "synthetic:4x4", "count": 4}


def test_parameters_of_layers_of_a_net(tmp_path):
    grid = {**DATA, "layers.*.scale": [0.1, 1], "layers.0.branch.0.epsilon": [1e-3, 0.1]}
    found = fm.sweep(grid, network=NET, processes=1, output=tmp_path / "x.csv")
    assert found["layers.*.scale"] == [0.1, 0.1, 1.0, 1.0]
    assert (found["family"], found["depth"]) == (["mine"] * 4, [None] * 4)
    images = fm.load_images("synthetic:4x4", 4)
    for row in found:
        units = [
            fm.Residual(
                [
                    fm.BatchNorm(row["layers.0.branch.0.epsilon"] if unit == 0 else 1e-3),
                    fm.ReLU(),
                    fm.Conv(1),
                ],
                scale=row["layers.*.scale"],
            )
            for unit in range(3)
        ]
        assert row["chi"] == fm.scan(fm.Network(units, [fm.Conv(1)]), images, threads=1)["chi"][-1]
    back = fm.Sweep.load(tmp_path / "x.csv")
    assert (back.grid, back.rows) == (found.grid, found.rows)


def test_paths_of_a_family_do_as_its_parameter():
    grid = {**DATA, "family": "bn_res", "depth": 3, "kernel_size": 1}
    one = fm.sweep({**grid, "layers.*.scale": [0.1, 0.5]}, processes=1)
    other = fm.sweep({**grid, "scale": [0.1, 0.5]}, processes=1)
    assert one["chi"] == other["chi"]


def test_published_nets_have_no_parameters_of_families():
    found = fm.sweep({**DATA, "family": ["bn_ff", "mlp"], "depth": [2, 3], "kernel_size": 1}, processes=1)
    assert list(zip(found["family"], found["depth"], strict=True)) == [
        ("bn_ff", 2),
        ("bn_ff", 3),
        ("mlp", None),
    ]
    assert found["error"] == [None] * 3


def test_a_net_goes_to_other_processes_and_its_sweep_is_resumed(tmp_path):
    grid = {**DATA, "layers.*.scale": [0.1, 0.2, 1.0]}
    wanted = fm.sweep(grid, network=NET, processes=1)
    path = tmp_path / "x.csv"

    def stop(done, number, row):
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fm.sweep(grid, network=NET, processes=1, output=path, progress=stop)
    with pytest.raises(ValueError, match="belongs to another net: give the one it was begun with"):
        fm.sweep(
            grid, network=fm.Network(NET.layers[:2], NET.stem, "mine"), processes=1, output=path, resume=True
        )
    found = fm.sweep(grid, network=NET, processes=2, output=path, resume=True)
    assert found.rows == wanted.rows


@pytest.mark.parametrize(
    ("grid", "network", "words"),
    [
        ({"layers.9.scale": 1}, NET, "mine has no parameter layers.9.scale: it has stem.0 and layers.0 to"),
        (
            {"layers.*.scale": -1},
            NET,
            "layers.0: Residual: scale must be a finite non-negative number, not -1",
        ),
        ({"layers.0.scale": [1, 1]}, NET, "layers.0.scale lists the value 1.0 twice."),
        ({"depth": 3}, NET, "depth is for one of vanilla, residual, bn_ff, bn_res; the net is mine."),
        ({"family": "bn_ff"}, NET, "family is for one of"),
        ({"family": "bn_ff", "layers.*.scale": 1}, None, "bn_ff has no parameter layers.*.scale"),
        ({"family": "mlp", "depth": 3}, None, "depth is for one of"),
        ({"layerscale": 1}, NET, "and paths such as layers.0.gain."),
        ({}, "resnet18", "network must be a fastmoments Network, not str."),
    ],
)
def test_wrong_paths_are_refused_before_anything_runs(grid, network, words):
    class Never(ThreadPoolExecutor):
        def submit(self, *arguments):
            raise AssertionError("nothing may run")

    with pytest.raises(ValueError, match=re.escape(words)):
        fm.sweep(DATA | grid, network=network, executor=Never())


def test_a_function_that_no_other_process_can_import_is_refused():
    net = fm.Network([fm.Conv(1), fm.Activation(lambda x: x**3)], name="mine")
    with pytest.raises(ValueError, match="mine holds a function that other processes cannot import"):
        fm.sweep({**DATA, "layers.0.gain": [1.0, 2.0]}, network=net, processes=2)
