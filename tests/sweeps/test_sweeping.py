import csv
import functools
import itertools
import json
import math
import multiprocessing
import os
import re
import signal
import subprocess
import sys
from concurrent.futures import BrokenExecutor, Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from workers import doubled

import fastmoments as fm
from fastmoments.sweeps import dispatch, grid, sweeping
from fastmoments.sweeps.dispatch import ATTEMPTS, Lost, WorkersLost, on_executor, on_processes
from fastmoments.sweeps.grid import compute, expand, filled, key, parameters

#: Eight small scans, deep enough for a verdict.
SMALL = {
    "family": ["vanilla", "bn_ff"], "depth": [16, 20], "kernel_size": 1, "epsilon": [1e-3, 0.1],
    "source": "synthetic:4x4", "count": 4,
}  # fmt: skip

needs_matplotlib = pytest.mark.skipif(find_spec("matplotlib") is None, reason="figures need matplotlib")
needs_pyarrow = pytest.mark.skipif(find_spec("pyarrow") is None, reason="Parquet needs pyarrow")


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """The bytes that every way of running SMALL must write."""
    path = tmp_path_factory.mktemp("wanted") / "table.csv"
    fm.sweep(SMALL, processes=1, output=path)
    return path.read_bytes()


# The grid

VALUES = {
    "family": st.sampled_from(list(fm.FAMILIES)),
    "depth": st.integers(0, 1000),
    "epsilon": st.floats(0, 1),
    "padding": st.sampled_from(["periodic", "zeros", "symmetric"]),
    "input_conv": st.booleans(),
    "count": st.integers(1, 9),
    "seed": st.integers(0, 9),
}
GRIDS = st.fixed_dictionaries(
    {},
    optional={name: st.lists(values, min_size=1, max_size=4, unique=True) for name, values in VALUES.items()},
)


@given(GRIDS, st.randoms())
def test_grid_is_the_product_in_order(lists, random):
    shuffled = dict(random.sample(list(lists.items()), len(lists)))
    items = expand(filled(shuffled))
    full = filled(lists)
    assert list(full) == list(parameters())
    assert [tuple(item.values()) for item in items] == list(itertools.product(*full.values()))
    assert len(items) == math.prod(map(len, lists.values())) * (1 if "family" in lists else 4)
    assert len({key(item) for item in items}) == len(items)
    for name, values in lists.items():
        assert list(dict.fromkeys(item[name] for item in items)) == values


@given(
    st.lists(st.integers(1, 999), min_size=1, max_size=4, unique=True),
    st.lists(st.integers(1, 99), min_size=1, max_size=3, unique=True),
    st.lists(st.integers(1, 99), min_size=1, max_size=3, unique=True),
)
def test_what_a_method_does_not_know_is_not_swept_there(widths, nets, ranks):
    lists = {
        "family": "bn_ff",
        "method": ["infinite", "sampled"],
        "width": widths,
        "nets": nets,
        "rank": ranks,
    }
    items = expand(filled(lists))
    infinite = [item for item in items if item["method"] == "infinite"]
    sampled = [item for item in items if item["method"] == "sampled"]
    assert [item["rank"] for item in infinite] == ranks
    assert [(item["width"], item["nets"]) for item in sampled] == list(itertools.product(widths, nets))
    assert {item["width"] for item in infinite} == {item["rank"] for item in sampled} == {None}
    assert len({key(item) for item in items}) == len(items) == len(infinite) + len(sampled)


def test_parameters_are_those_of_the_presets_and_of_scan():
    import inspect

    known = parameters()
    for name in inspect.signature(fm.bn_res).parameters:
        assert name in known
    assert {"method", "width", "nets", "every", "rank", "source", "count", "seed"} <= set(known)
    assert not {"network", "images", "threads", "progress"} & set(known)


def test_keys_do_not_change():
    # A journal outlives the process, so a key must not depend on it.
    item = {"family": "vanilla", "depth": 2, "epsilon": 0.001, "rank": None}
    assert key(item) == key(json.loads(json.dumps(item))) == "b735ca5b9c76755b"


def test_plain_values():
    lists = filled({"depth": np.arange(2, 5), "epsilon": [0, np.float64(0.5)], "source": Path("a/b.npy")})
    assert lists["depth"] == [2, 3, 4]
    assert [type(value) for value in lists["depth"]] == [int] * 3
    assert [repr(value) for value in lists["epsilon"]] == ["0.0", "0.5"]
    assert lists["source"] == [os.path.join("a", "b.npy")]
    assert filled({"depth": np.array(7)})["depth"] == [7]
    assert filled({"depth": range(2)})["depth"] == [0, 1]


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ([1, 2], "grid must map parameters to lists of values"),
        ({"epsilom": 1}, "unknown parameter 'epsilom' (did you mean 'epsilon'?)"),
        ({"threads": 1}, "unknown parameter 'threads'"),
        ({"depth": []}, "depth has no values"),
        ({"depth": [5, 7, 5]}, "depth lists the value 5 twice"),
        ({"epsilon": [1, 1.0]}, "epsilon lists the value 1.0 twice"),
        ({"epsilon": [0.1, math.nan]}, "epsilon must be finite"),
        ({"family": "bnff"}, "family must be one of vanilla, residual, bn_ff, bn_res, not 'bnff'"),
        ({"method": ["infinite", "exact"]}, "method must be one of infinite, finite, sampled, not 'exact'"),
        ({"depth": [5, -1]}, "depth must be a whole number of at least 0, not -1"),
        ({"depth": [5, "ten"]}, "depth must be a whole number of at least 0, not 'ten'"),
        ({"depth": [[5]]}, "depth must be numbers, texts or truth values, not [5]"),
        ({"padding": "same"}, "padding must be one of"),
        ({"input_conv": "no"}, "input_conv must be true or false, not 'no'"),
        ({"epsilon": -1}, "epsilon must be"),
        ({"source": np.zeros((4, 8, 8))}, "save an array as .npy"),
        ({"source": "fashion-mnst"}, "did you mean 'fashion-mnist'?"),
        ({"count": [8, 1000]}, "count is 1000, but there are only 256 images"),
        ({"seed": [0, -1]}, "seed must be a whole number"),
        ({"every": 0}, "every must be a positive whole number, not 0"),
        ({"width": 64}, 'width belongs to method="finite" or "sampled"'),
        ({"method": "sampled", "width": [64, 0]}, "width must be a positive whole number, not 0"),
        ({"method": "sampled", "nets": 2.5}, "nets must be a positive whole number, not 2.5"),
        ({"rank": 0}, "rank must be a positive whole number, not 0"),
        ({"draw": "dice", "method": "sampled"}, "draw must be one of"),
        ({"depth": range(1000), "seed": range(1000)}, "the grid has 4000000 scans, more than 100000"),
    ],
)  # fmt: skip
def test_refusals_come_before_anything_runs(wrong, words, tmp_path):
    class Never(Executor):
        def submit(self, *arguments):
            raise AssertionError("nothing may run")

    with pytest.raises(ValueError, match=re.escape(words)) as caught:
        fm.sweep(wrong, executor=Never(), output=tmp_path / "x.csv")
    assert "\n" not in str(caught.value)
    assert os.listdir(tmp_path) == []


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


# Rows


def test_rows_are_the_ends_of_scans():
    lists = {"family": ["bn_res"], "depth": [20], "source": "synthetic:4x4", "seed": 3, "every": 2}
    (row,) = fm.sweep(lists, processes=1)
    scan = fm.scan(fm.bn_res(20), fm.load_images("synthetic:4x4", 8, 3), every=2, threads=1)
    assert row["verdict"] == scan.verdict.label
    assert (row["law"], row["rate"]) == (scan.verdict.law, scan.verdict.rate)
    for name in scan.moments:
        assert row[name] == scan[name][-1]
    assert row["layer_error"] == scan.provenance["layer_error"]
    assert row["error"] is None
    assert not any(name.endswith("_sigma") for name in row)


def test_sampled_rows_have_deviations():
    lists = {
        "family": "vanilla",
        "depth": 3,
        "source": "synthetic:4x4",
        "method": "sampled",
        "width": 8,
        "seed": 2,
    }
    (row,) = fm.sweep({**lists, "nets": 3}, processes=1)
    images = fm.load_images("synthetic:4x4", 8, 2)
    scan = fm.scan(fm.vanilla(3), images, fm.Sampled(width=8, nets=3, seed=2), threads=1)
    assert (row["width"], row["nets"]) == (8, 3)
    assert (row["chi"], row["chi_sigma"]) == (scan["chi"][-1], scan.curve("chi").sigma[-1])


def test_a_failed_scan_is_a_row_and_the_others_go_on():
    # One image has one value per feature, so a fully connected net sees no signal.
    table = fm.sweep({**SMALL, "count": [1, 4], "kernel_size": [1, 3]}, processes=1)
    assert len(table) == 32
    for row in table:
        failed = (row["count"], row["kernel_size"]) == (1, 1)
        assert (row["error"] is not None) == failed
        assert (row["chi"] is None) == failed
    assert "two different images" in next(error for error in table["error"] if error)


def test_unforeseen_problems_are_rows_too(monkeypatch):
    problems = iter([MemoryError(), TypeError("a\ndefect"), np.linalg.LinAlgError("no convergence")])

    def fail(*arguments, **options):
        raise next(problems)

    item = expand(filled(SMALL))[0]
    monkeypatch.setattr(grid, "scan", fail)
    monkeypatch.setattr(grid, "_defaults", lambda function, without=(): {})
    monkeypatch.setattr(grid, "_network", lambda item: None)
    errors = [compute(item, fm.__version__)["error"] for _ in range(3)]
    assert errors == [
        "There is not enough memory; use fewer or smaller images.", "TypeError: a defect", "no convergence"
    ]  # fmt: skip


def test_a_worker_of_another_version_ends_the_sweep():
    with pytest.raises(ImportError, match="A worker has fastmoments"):
        compute({}, "0.0.0")
    with ThreadPoolExecutor(1) as executor, pytest.raises(ImportError, match="pip install the same"):
        list(on_executor(compute, {"a": ({}, "0.0.0"), "b": ({}, "0.0.0")}, executor))


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


# Executors


@pytest.mark.parametrize("workers", [1, 3])
def test_any_executor_gives_the_same_bytes(table, tmp_path, workers):
    with ThreadPoolExecutor(workers) as executor:
        fm.sweep(SMALL, executor=executor, output=tmp_path / "x.csv")
        assert executor.submit(abs, -1).result() == 1  # it is still there
    assert (tmp_path / "x.csv").read_bytes() == table
    assert os.listdir(tmp_path) == ["x.csv"]


def test_processes_give_the_same_bytes_and_every_row_is_told(table, tmp_path):
    calls = []
    fm.sweep(SMALL, processes=2, output=tmp_path / "x.csv", progress=lambda *call: calls.append(call))
    assert (tmp_path / "x.csv").read_bytes() == table
    assert [call[:2] for call in calls] == [(done, 8) for done in range(9)]
    assert calls[0][2] is None
    assert {key({name: row[name] for name in parameters()}) for *_, row in calls[1:]} == {
        key(item) for item in expand(filled(SMALL))
    }
    assert not multiprocessing.active_children()


@pytest.mark.parametrize("deaths", [1, ATTEMPTS - 1, 1000])
def test_killed_processes(tmp_path, deaths):
    items = {str(value): (value, str(tmp_path), deaths) for value in range(8)}
    results = dict(on_processes(doubled, items, 2))
    assert len(results) == 8
    lost = results.pop("3")
    assert results == {str(value): 2 * value for value in range(8) if value != 3}
    if deaths == 1000:
        assert isinstance(lost, Lost)
        assert len(os.listdir(tmp_path)) == ATTEMPTS
    else:
        assert lost == 6


def test_processes_have_one_thread_each():
    names = ("NUMBA_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    assert dict(on_processes(os.getenv, {name: (name,) for name in names}, 2)) == dict.fromkeys(names, "1")


def test_processes_are_deaf_to_interrupts():
    # A terminal sends Ctrl-C to all of them; what to do is for the first process to say.
    handlers = dict(on_processes(signal.getsignal, {"a": (signal.SIGINT,), "b": (signal.SIGINT,)}, 2))
    assert set(handlers.values()) == {signal.SIG_IGN}


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


def test_warming_up_takes_one_tiny_scan_of_a_kind(monkeypatch):
    small = []
    monkeypatch.setattr(grid, "compute", lambda item, version: small.append(item))
    items = expand(filled({**SMALL, "method": ["infinite", "sampled"], "count": [3, None], "nets": 7}))
    grid.warm(items)
    assert len(items) == 32
    assert {(item["family"], item["method"]) for item in small} == set(
        itertools.product(SMALL["family"], ["infinite", "sampled"])
    )
    assert len(small) == 4
    assert {(item["depth"], item["count"]) for item in small} == {(1, 2)}
    assert {item["nets"] for item in small} == {None, 1}


def test_a_scan_has_one_thread(monkeypatch):
    threads, scan = [], grid.scan

    @functools.wraps(scan)
    def spied(*arguments, **options):
        threads.append(options["threads"])
        return scan(*arguments, **options)

    monkeypatch.setattr(grid, "scan", spied)
    fm.sweep({**SMALL, "depth": 2}, processes=1)
    assert len(threads) > 4
    assert set(threads) == {1}


def test_an_item_that_loses_every_worker_says_so(monkeypatch, tmp_path):
    item = expand(filled(SMALL))[2]

    class Cruel(ThreadPoolExecutor):
        def submit(self, function, *arguments):
            if arguments and arguments[0] == item:
                future = Future()
                future.set_exception(OSError("the worker is gone"))
                return future
            return super().submit(function, *arguments)

    with Cruel(1) as executor:
        table = fm.sweep(SMALL, executor=executor, output=tmp_path / "x.csv")
    assert [error for error in table["error"] if error] == ["The scan lost its worker 3 times."]
    assert table["error"][2] is not None
    assert {name: table.rows[2][name] for name in item} == item


@pytest.mark.parametrize("problem", [OSError("no route"), BrokenExecutor("all dead"), None])
def test_an_executor_that_is_gone_ends_the_sweep(problem, tmp_path):
    class Gone(Executor):
        def submit(self, *arguments):
            if problem is None:
                raise Exception("the client is closed")
            future = Future()
            future.set_exception(problem)
            return future

    with pytest.raises(WorkersLost, match=r"gone|broke|no more work"):
        fm.sweep(SMALL, executor=Gone(), output=tmp_path / "x.csv")
    assert os.listdir(tmp_path) == ["x.csv.partial"]


def test_a_broken_pool_of_someone_else(tmp_path):
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as executor:
        items = {str(value): (value, str(tmp_path), 1000) for value in range(8)}
        with pytest.raises(WorkersLost, match="The executor broke"):
            list(on_executor(doubled, items, executor))


def test_a_script_without_a_guard_is_told_so(tmp_path):
    path = tmp_path / "script.py"
    path.write_text(f"import fastmoments as fm\nfm.sweep({SMALL!r}, processes=2)\n")
    done = subprocess.run([sys.executable, "-P", path], capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    assert 'if __name__ == "__main__":' in done.stderr.splitlines()[-1]


# Journal


class Interrupt(Exception):
    pass


def interrupted(output, after, **options):
    """Run SMALL until so many scans are done."""

    def progress(done, number, row):
        if row is not None and done >= after:
            raise Interrupt

    with pytest.raises(Interrupt):
        fm.sweep(options.pop("lists", SMALL), processes=1, output=output, progress=progress, **options)
    return Path(f"{output}.partial")


def computed(monkeypatch):
    """Count scans from now on."""
    calls = []

    def counted(item, version):
        calls.append(item)
        return compute(item, version)

    monkeypatch.setattr(sweeping, "compute", counted)
    return calls


@pytest.mark.parametrize("after", [1, 5, 8])
def test_resumed_is_uninterrupted(table, tmp_path, monkeypatch, after):
    output = tmp_path / "x.csv"
    journal = interrupted(output, after)
    assert not output.exists()
    assert journal.read_bytes().count(b"\n") == after + 1
    calls, told = computed(monkeypatch), []
    fm.sweep(SMALL, processes=1, output=output, resume=True, progress=lambda *call: told.append(call[:2]))
    assert len(calls) == 8 - after
    assert told == [(done, 8) for done in range(after, 9)]
    assert output.read_bytes() == table
    assert os.listdir(tmp_path) == ["x.csv"]


@pytest.mark.parametrize(
    "torn", [b'{"key": "ab', b'{"key": "0123456789abcdef", "row": {}', b"\0\0\0\n", b"\n"]
)
def test_a_torn_last_line_is_dropped(table, tmp_path, monkeypatch, torn):
    output = tmp_path / "x.csv"
    journal = interrupted(output, 3)
    journal.write_bytes(journal.read_bytes() + torn)
    calls = computed(monkeypatch)
    journal = interrupted(output, 5, resume=True)
    assert len(calls) == 2
    assert all(json.loads(line) for line in journal.read_bytes().splitlines())  # the torn line is gone
    fm.sweep(SMALL, processes=1, output=output, resume=True)
    assert output.read_bytes() == table


@pytest.mark.parametrize("cut", range(0, 400, 57))
def test_a_journal_cut_anywhere(table, tmp_path, cut):
    output = tmp_path / "x.csv"
    journal = interrupted(output, 2)
    journal.write_bytes(journal.read_bytes()[:-cut] if cut else b"")
    fm.sweep(SMALL, processes=1, output=output, resume=True)
    assert output.read_bytes() == table


def test_a_journal_is_not_overwritten(tmp_path):
    journal = interrupted(tmp_path / "x.csv", 2)
    before = journal.read_bytes()
    with pytest.raises(ValueError, match="go on with --resume"):
        fm.sweep(SMALL, processes=1, output=tmp_path / "x.csv")
    assert journal.read_bytes() == before


def test_a_journal_of_something_else_is_refused(tmp_path, monkeypatch):
    output = tmp_path / "x.csv"
    journal = interrupted(output, 2)
    content = journal.read_bytes()
    for other in ({**SMALL, "depth": [16, 20, 24]}, {**SMALL, "depth": [20, 16]}, {**SMALL, "seed": 1}):
        with pytest.raises(ValueError, match="belongs to another grid"):
            fm.sweep(other, processes=1, output=output, resume=True)
    numpy = np.__version__.encode()
    journal.write_bytes(content.replace(b'"numpy": "' + numpy, b'"numpy": "1.0.0'))
    with pytest.raises(ValueError, match=r"begun with numpy 1.0.0, and this is"):
        fm.sweep(SMALL, processes=1, output=output, resume=True)
    for damaged in (b'{"a": 1}\n' + content, content.replace(b"\n", b"\nxyz\n", 1)):
        journal.write_bytes(damaged)
        with pytest.raises(ValueError, match="is damaged"):
            fm.sweep(SMALL, processes=1, output=output, resume=True)
        assert journal.read_bytes() == damaged


def test_other_images_under_the_same_name_are_refused(tmp_path):
    images = tmp_path / "images.npy"
    np.save(images, np.random.default_rng(0).normal(size=(4, 4, 4, 1)))
    lists = {**SMALL, "source": images}
    interrupted(tmp_path / "x.csv", 2, lists=lists)
    np.save(images, np.random.default_rng(1).normal(size=(4, 4, 4, 1)))
    with pytest.raises(ValueError, match="The images are not those"):
        fm.sweep(lists, processes=1, output=tmp_path / "x.csv", resume=True)


def test_two_sweeps_do_not_write_one_journal(tmp_path):
    pytest.importorskip("fcntl")

    def progress(done, number, row):
        if done == 1:
            with pytest.raises(ValueError, match="Another sweep is writing"):
                fm.sweep(SMALL, processes=1, output=tmp_path / "x.csv", resume=True)

    fm.sweep(SMALL, processes=1, output=tmp_path / "x.csv", progress=progress)


def test_resume_without_a_journal_begins(table, tmp_path):
    fm.sweep(SMALL, processes=1, output=tmp_path / "x.csv", resume=True)
    assert (tmp_path / "x.csv").read_bytes() == table


# Figures


@needs_matplotlib
@pytest.mark.parametrize("color", ["chi", "reff_signal", "log_chi", "mu4_signal", "rate"])
def test_heat_map(color, tmp_path):
    from fastmoments.plots.scans import save_figure

    found = fm.sweep({**SMALL, "count": [1, 4]}, processes=1)  # half of them fail
    figure = found.plot("epsilon", "depth", color)
    panels = [axes for axes in figure.axes if axes.get_title("left")]
    assert [axes.get_title("left") for axes in panels] == [
        f"family {family}, count {count}" for family in SMALL["family"] for count in (1, 4)
    ]
    failed, drawn = panels[:2]
    cells = drawn.images[0].get_array()
    wanted = [row[color] for row in found if (row["family"], row["count"]) == ("vanilla", 4)]
    np.testing.assert_allclose(np.ma.getdata(cells).ravel(), wanted)
    assert np.isnan(np.ma.filled(failed.images[0].get_array(), np.nan)).all()
    assert [label.get_text() for label in panels[-1].get_xticklabels()] == ["0.001", "0.1"]
    assert {text.get_text() for text in drawn.texts} == {f"{value:.3g}" for value in wanted}
    save_figure(figure, tmp_path / "x.png")
    assert (tmp_path / "x.png").read_bytes().startswith(b"\x89PNG")


@needs_matplotlib
def test_heat_map_of_a_chi_beyond_float64():
    lists = {**filled({"family": "bn_ff"}), "depth": [10, 100], "seed": [0, 1]}
    rows = []
    for item in expand(lists):
        rows.append({**item, "verdict": None, "chi": None, "log_chi": 10.0 * item["depth"]})
    image = fm.Sweep(lists, rows).plot("depth", "seed")
    cells = image.axes[0].images[0].get_array()
    np.testing.assert_allclose(cells, [[100 / math.log(10), 1000 / math.log(10)]] * 2)


@pytest.mark.parametrize(
    ("lists", "axes", "words"),
    [
        ({"depth": [1, 2], "family": "vanilla"}, (), "takes two parameters with several values"),
        ({"depth": [1, 2]}, ("epsilon",), "'epsilon' is no axis of a heat map: swept are family, depth"),
        ({"depth": [1, 2]}, ("depth", "depth"), "x and y are both 'depth'"),
        ({"depth": [1, 2]}, (None, None, "verdict"), "color must be one of rate, "),
        ({"depth": [1, 2], "seed": range(4), "count": range(1, 9)}, ("depth", "seed"), "32 panels, over"),
    ],
)
def test_figures_that_are_refused(lists, axes, words):
    with pytest.raises(ValueError, match=re.escape(words)):
        fm.Sweep(filled(lists), []).plot(*axes)


# Dask


@pytest.mark.slow
def test_dask_cluster_with_workers_killed(table, tmp_path):
    distributed = pytest.importorskip("distributed", reason="the cluster needs distributed")
    lists = {**SMALL, "depth": [60, 80], "seed": list(range(10))}
    fm.sweep(lists, processes=1, output=tmp_path / "alone.csv")
    killed = []
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None
        ) as cluster,
        distributed.Client(cluster) as client,
    ):

        def progress(done, number, row):
            if done in (4, 20, 40):
                pids = list(client.run(os.getpid).values())
                os.kill(pids[0], signal.SIGKILL)
                killed.append(pids[0])

        found = fm.sweep(lists, executor=client.get_executor(), output=tmp_path / "x.csv", progress=progress)
    assert len(set(killed)) == 3
    assert len(found) == 80
    assert set(found["error"]) == {None}
    assert (tmp_path / "x.csv").read_bytes() == (tmp_path / "alone.csv").read_bytes()
