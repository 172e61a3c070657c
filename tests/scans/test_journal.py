"""Interrupted scans: what is left can be read, and they go on to the same numbers."""

import io
import json
import signal
import subprocess
import sys
import time
import warnings
from contextlib import closing

import numpy as np
import pytest
from limits import largest_file

import fastmoments as fm
from fastmoments.engines.protocol import Station
from fastmoments.scans import journal as journals
from fastmoments.scans.lines import LOCKS, Lines
from fastmoments.validation import Notice

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


def test_with_noise_of_all_images_together(tmp_path, always):
    net = fm.Network([fm.Residual([fm.BatchNorm(noise="through"), fm.ReLU(), fm.Conv(3)])] * 6, [fm.Conv(3)])
    path, whole = tmp_path / "x.partial", fm.scan(net, IMAGES)
    with pytest.raises(Stop):
        fm.scan(net, IMAGES, journal=path, progress=stop_at(4))
    assert same(fm.scan(net, IMAGES, journal=path, resume=True), whole)


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
    with pytest.raises(ValueError, match="go on with --resume, or delete it"):
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


def test_a_full_disk_leaves_what_was_written(tmp_path):
    path = tmp_path / "x.partial"
    with journals.Journal(path, {}, False) as kept:
        kept.append(Station("", "images", 1, "input", {"log_chi": -np.inf}))
        kept._due = 0.0
        # Room for half a station; the first half of it is written, and taken back.
        with largest_file(path.stat().st_size + 20):
            with pytest.raises(OSError, match=r"x.partial: File too large; what was written before is kept"):
                kept.append(Station("layers.1", "ReLU", 2, "act", {}))
            with pytest.raises(OSError, match=r"Cannot write .*x.partial.state: File too large"):
                kept.checkpoint(3, lambda: ({"signal": np.zeros(10**5)}, {}))
        assert journals.read(path)[1] == [Station("", "images", 1, "input", {"log_chi": -np.inf})]
        kept.append(Station("layers.1", "ReLU", 2, "act", {}))
    assert [station.path for station in journals.read(path)[1]] == ["", "layers.1"]
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


def stopped(path, net, depth=6, **options):
    """The journal of a scan that was stopped, with a checkpoint behind the unit before."""
    with pytest.raises(Stop):
        fm.scan(net, IMAGES, journal=path, progress=stop_at(depth), **options)
    return path.with_name(path.name + ".state")


def flipped(where):
    def damage(content):
        content = bytearray(content)
        content[int(where * (len(content) - 1))] ^= 0x10
        return bytes(content)

    return damage


def other_values(content):
    """A checkpoint that is whole but for its digest."""
    with np.load(io.BytesIO(content)) as file:
        arrays = {name: file[name] for name in file.files}
    arrays["signal"] = 2.0 * arrays["signal"]
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def compressed(content):
    with np.load(io.BytesIO(content)) as file:
        arrays = {name: file[name] for name in file.files}
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()


DAMAGES = {
    "empty": lambda content: b"",
    "text": lambda content: b"not a checkpoint",
    "half": lambda content: content[: len(content) // 2],
    "no end": lambda content: content[:-30],
    "zeros": lambda content: bytes(len(content)),
    "other values": other_values,
    "compressed": compressed,
    **{f"flipped at {where}": flipped(where) for where in (0.0, 0.01, 0.1, 0.5, 0.9, 0.95, 1.0)},
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_checkpoint_is_said_and_the_scan_begins_anew(tmp_path, always, damage):
    path, net = tmp_path / "x.partial", NETS["bn_ff"]
    state, steps = stopped(path, net), []
    state.write_bytes(DAMAGES[damage](state.read_bytes()))
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        scan = fm.scan(net, IMAGES, journal=path, resume=True, progress=steps.append)
    assert same(scan, fm.scan(net, IMAGES))
    words = f"{state} is damaged, or does not belong to x.partial: the scan begins anew."
    # Nothing depends on a few bytes of an archive: then the checkpoint is as good as it was.
    assert [str(each.message) for each in said] == ([words] if steps[0].depth == 0 else [])
    assert steps[0].depth == 0 or damage.startswith("flipped")


def test_a_checkpoint_of_other_stations_is_not_taken(tmp_path, always):
    path, net = tmp_path / "x.partial", NETS["bn_ff"]
    stopped(path, net, 9)
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[: len(lines) // 2]))
    with pytest.warns(Notice, match="does not belong to x.partial"):
        scan = fm.scan(net, IMAGES, journal=path, resume=True)
    assert same(scan, fm.scan(net, IMAGES))


def test_an_edited_journal_is_refused_and_left(tmp_path, always):
    path, net = tmp_path / "x.partial", NETS["bn_ff"]
    stopped(path, net)
    content = path.read_text()
    for old, new in (
        ('"depth": 2', '"depth": 1000000000'),
        ('"loc": "norm"', '"loc": "=cmd|calc"'),
        ('"layer": "ReLU"', '"layer": "Sigmoid"'),
        ('"sum": "', '"sum": "0'),
        ('"path": "layers.1"', '"path": "nowhere"'),
    ):
        path.write_text(content.replace(old, new, 1))
        for use in (lambda: fm.scan(net, IMAGES, journal=path, resume=True), lambda: fm.load_scan(path)):
            with pytest.raises(ValueError, match=r"x.partial is damaged in line \d+, which is not what was"):
                use()
        assert path.read_text() == content.replace(old, new, 1) != content


@pytest.mark.parametrize(
    "change",
    [
        {"depth": 10**9}, {"depth": 7}, {"loc": "=cmd|calc"}, {"loc": "merge"}, {"path": "layers.99"},
        {"moments": {"log_chi": "1"}}, {"moments": {"gamma": 1.0}}, {"net": 5},
    ],
    ids=str,
)  # fmt: skip
def test_stations_of_no_such_scan_are_refused_even_under_a_checksum(tmp_path, always, change):
    path, net = tmp_path / "x.partial", NETS["bn_ff"]
    stopped(path, net)
    header, *rows = map(json.loads, path.read_text().splitlines())
    del rows[3]["sum"]
    path.unlink()
    with closing(Lines(path, header, False, "scan")) as lines:
        lines.begin()
        lines.append(rows[3] | change)
    with pytest.raises(ValueError, match="is damaged in line 2"):
        fm.scan(net, IMAGES, journal=path, resume=True)


@pytest.mark.skipif(not LOCKS, reason="the system does not lock files")
def test_two_scans_do_not_write_one_journal(tmp_path, always):
    path, net, tried = tmp_path / "x.partial", NETS["bn_ff"], []

    def progress(station):
        if station.depth == 5 and not tried:
            tried.append(True)
            with pytest.raises(ValueError, match="Another scan is writing"):
                fm.scan(net, IMAGES, journal=path, resume=True)

    assert same(fm.scan(net, IMAGES, journal=path, progress=progress), fm.scan(net, IMAGES))
    assert tried


@pytest.mark.parametrize("engine", ["infinite", fm.Sampled(width=8, nets=3)])
def test_a_complete_journal_needs_no_computing(tmp_path, engine):
    """As when a scan is done, and its result could not be written."""
    path, net, steps = tmp_path / "x.partial", NETS["bn_ff"], []
    whole = fm.scan(net, IMAGES, engine, journal=path)
    assert same(fm.scan(net, IMAGES, engine, journal=path, resume=True, progress=steps.append), whole)
    assert steps == []
    assert same(fm.load_scan(path), whole)


def test_a_journal_whose_checkpoint_has_no_place_is_refused_beforehand(tmp_path):
    with pytest.raises(ValueError, match="longer than 255 bytes, with what is put behind it"):
        fm.scan(NETS["bn_ff"], IMAGES, journal=tmp_path / ("x" * 242 + ".partial"))
    (tmp_path / "x.partial.state").mkdir()
    with pytest.raises(ValueError, match=r"x.partial.state: it is a folder"):
        fm.scan(NETS["bn_ff"], IMAGES, journal=tmp_path / "x.partial")
    assert [path.name for path in tmp_path.iterdir()] == ["x.partial.state"]
