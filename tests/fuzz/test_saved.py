"""What stands on disk, damaged by chance or by hand: read as it was, or refused, or done again."""

import contextlib
import functools
import io
import json
import warnings
from pathlib import Path
from unittest import mock

import numpy as np
from fuzzing import JUNK, a_folder, check_scan, fuzzed, refused
from hypothesis import strategies as st

import fastmoments as fm
from fastmoments.scans import journal
from fastmoments.scans.plain import from_dict
from fastmoments.sweeps.sweeping import Sweep
from fastmoments.validation import Notice

IMAGES = fm.load_images("synthetic:3x3x1", 3)
NET = fm.bn_res(3)
GRID = {"family": ["vanilla", "bn_ff"], "depth": [1, 2], "source": "synthetic:3x3", "count": 3}


class Stop(Exception):
    """As a user stops a scan."""


@functools.cache
def saved():
    """The bytes of every kind of file: results, journals, a checkpoint."""
    with a_folder(), mock.patch.multiple(journal, CHECKPOINT_SECONDS=0.0, CHECKPOINT_SHARE=1e9):
        for engine, name in (
            (None, "infinite"),
            (fm.Sampled(4, 2), "sampled"),
            (fm.FiniteWidth(32), "finite"),
        ):
            scan = fm.scan(NET, IMAGES, engine, threads=1)
            for ending in ("json", "npz"):
                fm.save_scan(scan, f"{name}.{ending}")

        def stop(*event):
            if event[-1] is not None and getattr(event[-1], "depth", 3) == 3:
                raise Stop

        for start in (
            lambda: fm.scan(NET, IMAGES, threads=1, journal="scan.partial", progress=stop),
            lambda: fm.sweep(GRID, processes=1, output="sweep.csv", progress=stop),
        ):
            with contextlib.suppress(Stop):
                start()
        found = {path.name: path.read_bytes() for path in Path().iterdir()}
        fm.sweep(GRID, processes=1, output="table.csv")
        fm.sweep(GRID, processes=1, output="table.parquet")
        return found | {path.name: path.read_bytes() for path in Path().glob("table.*")}


@functools.cache
def whole():
    """What comes of them undamaged."""
    return fm.scan(NET, IMAGES, threads=1)


@st.composite
def damaged(draw, content):
    """Bytes with a few places changed, put in, left out, doubled or cut off."""
    for _ in range(draw(st.integers(1, 3))):
        where, length = draw(st.integers(0, len(content))), draw(st.integers(0, 40))
        new = draw(
            st.one_of(st.binary(max_size=8), st.sampled_from([b"", b"\n", b"[" * 5000, b"1e999", b"NaN"]))
        )
        kind = draw(st.integers(0, 3))
        if kind == 0:
            content = content[:where]
        elif kind == 1:
            content = content[:where] + content[max(0, where - length) :]
        else:
            content = content[:where] + new + content[where + length * (kind == 2) :]
    return content


@st.composite
def edited(draw, value):
    """Plain values with something else in one place, or nothing."""
    value = json.loads(json.dumps(value))
    at = value
    while True:
        key = draw(st.sampled_from(sorted(at) if isinstance(at, dict) else range(len(at))))
        if not isinstance(at[key], (dict, list)) or not at[key] or draw(st.integers(0, 3)) == 0:
            if draw(st.integers(0, 3)) == 0:
                del at[key]
            else:
                at[key] = draw(JUNK)
            return value
        at = at[key]


NAMES = (
    "infinite.json",
    "sampled.json",
    "finite.json",
    "infinite.npz",
    "sampled.npz",
    "finite.npz",
    "scan.partial",
)


@st.composite
def scans(draw):
    name = draw(st.sampled_from(NAMES))
    if name.endswith(".json") and draw(st.booleans()):
        return name, json.dumps(draw(edited(json.loads(saved()[name])))).encode()
    return name, draw(damaged(saved()[name]))


def check_saved(case):
    name, content = case
    with a_folder():
        Path(name).write_bytes(content)
        scan = refused(fm.load_scan, name)
        if scan is None:
            return
        assert repr(scan) and str(scan.report())
        scan.rows()
        assert from_dict(json.loads(json.dumps(scan.to_dict()))).to_dict() == scan.to_dict()
        if name == "scan.partial":
            check_scan(scan)
            fields = ("architecture", "data", "method")
            assert all(getattr(scan, field) == getattr(whole(), field) for field in fields)


@st.composite
def interrupted(draw):
    """The journal and the checkpoint of a scan, one or both of them damaged."""
    which = draw(st.sampled_from(["journal", "state", "both"]))
    lines, state = saved()["scan.partial"], saved()["scan.partial.state"]
    lines = draw(damaged(lines)) if which != "state" else lines
    return lines, draw(damaged(state)) if which != "journal" else state


def described(scan):
    """A scan in plain values, but for the time it took."""
    values = scan.to_dict()
    return values | {"provenance": {k: v for k, v in values["provenance"].items() if k != "seconds"}}


def check_resumed(case):
    with a_folder():
        Path("scan.partial").write_bytes(case[0])
        Path("scan.partial.state").write_bytes(case[1])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Notice)
            scan = refused(fm.scan, NET, IMAGES, threads=1, journal="scan.partial", resume=True)
        if scan is None:
            assert Path("scan.partial").read_bytes() == case[0]
            return
        assert described(scan) == described(whole())


def check_ledger(content):
    with a_folder():
        Path("sweep.csv.partial").write_bytes(content)
        table = refused(fm.sweep, GRID, processes=1, output="sweep.csv", resume=True)
        if table is None:
            assert Path("sweep.csv.partial").read_bytes() == content
        else:
            assert Path("sweep.csv").read_bytes() == saved()["table.csv"]


def check_table(case):
    name, content = case
    with a_folder():
        Path(name).write_bytes(content)
        table = refused(Sweep.load, name)
        if table is not None:
            assert repr(table) and len(table)
            table.save("again.csv")
            assert Sweep.load("again.csv").rows == table.rows


def of_table(name):
    return st.tuples(st.just(name), st.deferred(lambda: damaged(saved()[name])))


test_a_scan_is_read_or_refused, test_a_scan_is_read_or_refused_at_length = fuzzed(check_saved, 1800, scans())
test_a_scan_goes_on_or_is_refused, test_a_scan_goes_on_or_is_refused_at_length = fuzzed(
    check_resumed, 500, interrupted()
)
test_a_sweep_goes_on_or_is_refused, test_a_sweep_goes_on_or_is_refused_at_length = fuzzed(
    check_ledger, 300, st.deferred(lambda: damaged(saved()["sweep.csv.partial"]))
)
test_a_table_is_read_or_refused, test_a_table_is_read_or_refused_at_length = fuzzed(
    check_table, 400, st.one_of(of_table("table.csv"), of_table("table.parquet"))
)


def test_what_is_saved_is_what_it_is_taken_for():
    """Else the others would see nothing but refusals."""
    assert set(NAMES) | {"scan.partial.state", "sweep.csv.partial", "table.csv", "table.parquet"} == set(
        saved()
    )
    check_resumed((saved()["scan.partial"], saved()["scan.partial.state"]))
    check_ledger(saved()["sweep.csv.partial"])
    with np.load(io.BytesIO(saved()["scan.partial.state"])) as state:
        assert "signal" in state.files
