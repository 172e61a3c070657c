"""The journal of a sweep: interrupted, torn, of something else."""

import json
import os
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from grids import SMALL
from limits import largest_file

import fastmoments as fm
from fastmoments.scans.lines import Lines
from fastmoments.sweeps import sweeping
from fastmoments.sweeps.grid import compute


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

    def counted(item, version, network):
        calls.append(item)
        return compute(item, version, network)

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


def test_an_edited_journal_is_refused_and_left(tmp_path):
    output = tmp_path / "x.csv"
    journal = interrupted(output, 3)
    content = journal.read_text()
    for old, new in (
        ('"depth": 20', '"depth": 1000000000'),
        ('"verdict": "', '"verdict": "=cmd|calc'),
        ('"chi": ', '"chi": 1'),
        ('"layer_error": ', '"error": "=1", "layer_error": '),
    ):
        head, _, rows = content.partition("\n")
        edited = f"{head}\n{rows.replace(old, new, 1)}"
        assert edited != content
        journal.write_text(edited)
        with pytest.raises(ValueError, match=r"x.csv.partial is damaged in line \d"):
            fm.sweep(SMALL, processes=1, output=output, resume=True)
        assert journal.read_text() == edited


@pytest.mark.parametrize(
    "change",
    [
        {"depth": 10**9}, {"depth": 16.0}, {"verdict": "=cmd|calc"}, {"chi": "1"}, {"chi": float("inf")},
        {"colour": 1}, {"law": 3}, {"error": []}, {"width": 2.5}, {"family": None},
    ],
    ids=str,
)  # fmt: skip
def test_rows_of_no_such_item_are_refused_even_under_a_checksum(tmp_path, change):
    output = tmp_path / "x.csv"
    journal = interrupted(output, 3)
    header, row = map(json.loads, journal.read_text().splitlines()[:2])
    for key, values in ((row["key"], row["row"] | change), ("0123456789abcdef", row["row"]), (3, None)):
        journal.unlink()
        with closing(Lines(journal, header, False, "sweep")) as lines:
            lines.begin()
            lines.append({"key": key, "row": values})
        with pytest.raises(ValueError, match="is damaged in line 2"):
            fm.sweep(SMALL, processes=1, output=output, resume=True)


def test_a_full_disk_leaves_what_is_finished(table, tmp_path, monkeypatch):
    output = tmp_path / "x.csv"
    journal = interrupted(output, 2)
    with (
        largest_file(journal.stat().st_size + 100),
        pytest.raises(OSError, match=r"x.csv.partial: File too large"),
    ):
        fm.sweep(SMALL, processes=1, output=output, resume=True)
    calls = computed(monkeypatch)
    fm.sweep(SMALL, processes=1, output=output, resume=True)
    assert len(calls) == 6
    assert output.read_bytes() == table


def test_what_cannot_be_written_is_refused_before_anything_is_computed(tmp_path, monkeypatch):
    calls = computed(monkeypatch)
    (tmp_path / "x.csv").write_text("mine")
    (tmp_path / "x.csv").chmod(0o444)
    with pytest.raises(ValueError, match="it is there, and read-only"):
        fm.sweep(SMALL, processes=1, output=tmp_path / "x.csv")
    (tmp_path / "y.csv.partial").mkdir()
    with pytest.raises(ValueError, match=r"y.csv.partial: it is a folder"):
        fm.sweep(SMALL, processes=1, output=tmp_path / "y.csv")
    assert calls == []
    assert (tmp_path / "x.csv").read_text() == "mine"
