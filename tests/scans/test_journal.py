"""Interrupted scans: what is left can be read, and they go on to the same numbers."""

import json
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

import fastmoments as fm
from fastmoments.engines.protocol import Station
from fastmoments.scans import journal as journals

IMAGES = fm.load_images("synthetic:10x10x3", 4, seed=0)
NETS = {family: getattr(fm, family)(12) for family in ("vanilla", "residual", "bn_ff", "bn_res")}


class Stop(Exception):
    pass


def stop_at(depth, net=0):
    def progress(station):
        if (station.net, station.depth) >= (net, depth):
            raise Stop

    return progress


def same(one, other):
    """Whether two scans hold the same bytes, but for the time they took."""
    described = [scan.to_dict() for scan in (one, other)]
    for each in described:
        for name in ("seconds", "threads"):
            each["provenance"].pop(name, None)
    return described[0] == described[1]


@pytest.fixture
def always(monkeypatch):
    """Take a checkpoint behind every unit."""
    monkeypatch.setattr(journals, "CHECKPOINT_SECONDS", 0.0)
    monkeypatch.setattr(journals, "CHECKPOINT_SHARE", 1e9)


@pytest.mark.parametrize("family", NETS)
@pytest.mark.parametrize("kernel_size", [1, 3])
def test_a_scan_goes_on_to_the_same_bytes(tmp_path, always, family, kernel_size):
    path, net = tmp_path / "scan.partial", fm.FAMILIES[family](12, kernel_size)
    whole = fm.scan(net, IMAGES, every=2, reff_locs=("act", "norm"))
    for depth in (1, 5, 5, 12):
        with pytest.raises(Stop):
            fm.scan(
                net,
                IMAGES,
                every=2,
                reff_locs=("act", "norm"),
                journal=path,
                resume=True,
                progress=stop_at(depth),
            )
        assert fm.load_scan(path).depth[-1] in (depth, depth + 1)
    steps = []
    scan = fm.scan(
        net, IMAGES, every=2, reff_locs=("act", "norm"), journal=path, resume=True, progress=steps.append
    )
    assert same(scan, whole)
    assert steps[0].depth == 12  # only the rest was computed
    assert same(fm.load_scan(path), whole)
    assert [file.name for file in tmp_path.iterdir()] == ["scan.partial"]


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_with_leading_pairs(tmp_path, always, dtype):
    images = fm.load_images("synthetic:18x18", 6, seed=1)
    path, options = tmp_path / "x.partial", {"every": 3, "engine": fm.InfiniteWidth(dtype=dtype)}
    whole = fm.scan(fm.bn_res(9), images, **options)
    with pytest.raises(Stop):
        fm.scan(fm.bn_res(9), images, journal=path, progress=stop_at(6), **options)
    assert same(fm.scan(fm.bn_res(9), images, journal=path, resume=True, **options), whole)


def test_random_nets_go_on_with_the_next(tmp_path):
    path, options = tmp_path / "x.partial", {"engine": fm.Sampled(width=16, nets=5), "every": 4}
    whole = fm.scan(NETS["bn_ff"], IMAGES, **options)
    with pytest.raises(Stop):
        fm.scan(NETS["bn_ff"], IMAGES, journal=path, progress=stop_at(8, net=3), **options)
    assert fm.load_scan(path).nets == 3
    steps = []
    scan = fm.scan(NETS["bn_ff"], IMAGES, journal=path, resume=True, progress=steps.append, **options)
    assert same(scan, whole)
    assert {station.net for station in steps} == {3, 4}


def test_a_torn_line_is_dropped(tmp_path, always):
    path, net = tmp_path / "x.partial", NETS["bn_ff"]
    with pytest.raises(Stop):
        fm.scan(net, IMAGES, journal=path, progress=stop_at(6))
    with open(path, "a") as file:
        file.write('[7, "input", 0, 0.0, {"log_c')
    assert fm.load_scan(path).depth[-1] == 6
    assert same(fm.scan(net, IMAGES, journal=path, resume=True), fm.scan(net, IMAGES))


def test_without_a_checkpoint_it_begins_anew(tmp_path):
    path, net = tmp_path / "x.partial", NETS["vanilla"]
    with pytest.raises(Stop):
        fm.scan(net, IMAGES, journal=path, progress=stop_at(6))
    assert not path.with_name("x.partial.state").exists()
    assert same(fm.scan(net, IMAGES, journal=path, resume=True), fm.scan(net, IMAGES))


def test_refusals(tmp_path, always):
    path, net = tmp_path / "x.partial", NETS["bn_ff"]
    with pytest.raises(Stop):
        fm.scan(net, IMAGES, journal=path, progress=stop_at(6))
    before = path.read_bytes()
    with pytest.raises(ValueError, match="continue it with resume, or delete it"):
        fm.scan(net, IMAGES, journal=path)
    for change in ({"every": 2}, {"engine": fm.InfiniteWidth(rank=3)}):
        with pytest.raises(ValueError, match=r"belongs to another scan \(options differ\)"):
            fm.scan(net, IMAGES, journal=path, resume=True, **change)
    with pytest.raises(ValueError, match=r"another scan \(architecture differ\)"):
        fm.scan(fm.bn_ff(13), IMAGES, journal=path, resume=True)
    with pytest.raises(ValueError, match="another scan"):
        fm.scan(net, 2.0 * IMAGES.array[:3], journal=path, resume=True)
    assert path.read_bytes() == before
    path.write_text("{}\n")
    with pytest.raises(ValueError, match="not a journal of fastmoments"):
        fm.scan(net, IMAGES, journal=path, resume=True)
    with pytest.raises(ValueError, match="not a journal"):
        fm.load_scan(path)
    with pytest.raises(ValueError, match="There is no file"):
        fm.load_scan(tmp_path / "none.partial")


def test_a_bad_argument_writes_nothing(tmp_path):
    for bad in ({"engine": "dice"}, {"engine": fm.FiniteWidth(8)}, {"every": 0}):
        with pytest.raises(ValueError):
            fm.scan(NETS["bn_ff"], IMAGES, journal=tmp_path / "x.partial", **bad)
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_leaves_what_was_written(tmp_path, monkeypatch):
    path = tmp_path / "x.partial"
    with journals.Journal(path, {}, False) as kept:
        kept.append(Station("", "images", 1, "input", {"log_chi": -np.inf}))

        class Full:
            def write(self, text):
                raise OSError(28, "No space left on device")

        file, kept._file = kept._file, Full()
        with pytest.raises(OSError, match=r"No space left on device; what was written before is kept"):
            kept.append(Station("layers.1", "ReLU", 2, "input", {}))
        kept._file = file
        monkeypatch.setattr(journals.np, "savez", lambda *a, **k: Full().write(""))
        kept._due = 0.0
        with pytest.raises(OSError, match="Cannot write"):
            kept.checkpoint(3, lambda: ({}, {}))
    assert journals.read(path) == ({}, [Station("", "images", 1, "input", {"log_chi": -np.inf})])
    assert [each.name for each in tmp_path.iterdir()] == ["x.partial"]


def test_checkpoints_take_a_small_share_of_the_time(tmp_path, monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(journals.time, "monotonic", lambda: clock[0])

    def taken():
        clock[0] += 10.0
        return {}, {}

    with journals.Journal(tmp_path / "x", {}, False) as kept:
        kept.checkpoint(1, taken)
        assert clock[0] == 0.0  # not yet due
        clock[0] = 61.0
        kept.checkpoint(2, taken)
        assert clock[0] == 71.0
        clock[0] = 71.0 + 199.0
        kept.checkpoint(3, taken)
        assert clock[0] == 270.0
        clock[0] = 272.0
        kept.checkpoint(4, taken)
        assert clock[0] == 282.0


KILLED = """
import sys, fastmoments as fm
from fastmoments.scans import journal
journal.CHECKPOINT_SECONDS, journal.CHECKPOINT_SHARE = 0.0, 1e9
fm.scan(fm.bn_res(4000), fm.load_images("synthetic:10x10x3", 4, seed=0), every=10, journal=sys.argv[1])
"""


def test_a_killed_process_loses_little(tmp_path):
    """kill -9 in the middle, at a random moment of a write or a kernel."""
    path, net = tmp_path / "x.partial", fm.bn_res(4000)
    process = subprocess.Popen([sys.executable, "-P", "-c", KILLED, str(path)])
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and not (path.exists() and path.read_text().count("\n") > 40):
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    reached = int(fm.load_scan(path).depth[-1])
    assert 20 <= reached < 4000
    steps = []
    with pytest.raises(Stop):
        fm.scan(
            net,
            IMAGES,
            every=10,
            journal=path,
            resume=True,
            progress=lambda s: (steps.append(s), stop_at(reached + 30)(s)),
        )
    assert abs(steps[0].depth - reached) <= 20
    assert steps[0].depth > 10
    journal = {json.loads(line)["path"]: line for line in path.read_text().splitlines()[1:]}
    whole = tmp_path / "whole.partial"
    with pytest.raises(Stop):
        fm.scan(net, IMAGES, every=10, journal=whole, progress=stop_at(reached + 30))
    uninterrupted = whole.read_text().splitlines()[1:]
    assert list(journal.values()) == uninterrupted
