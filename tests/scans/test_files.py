"""Scans on disk: whole or not at all."""

import csv
import io
import os
import zipfile

import numpy as np
import pytest

import fastmoments as fm
from fastmoments.scans.files import checked_ending, csv_text, csv_value


@pytest.mark.parametrize("name", ["infinite", "sampled", "shallow", "deep"])
@pytest.mark.parametrize("ending", ["json", "npz"])
def test_a_saved_scan_comes_back_whole(scans, name, ending, tmp_path):
    fm.save_scan(scans[name], tmp_path / f"scan.{ending}")
    assert fm.load_scan(tmp_path / f"scan.{ending}").to_dict() == scans[name].to_dict()
    assert [path.name for path in tmp_path.iterdir()] == [f"scan.{ending}"]


def test_csv(scans, tmp_path):
    fm.save_scan(scans["infinite"], tmp_path / "scan.csv")
    head, *lines = (tmp_path / "scan.csv").read_text().splitlines()
    assert head.split(",")[:2] == ["depth", "loc"]
    assert len(lines) == 2 * 6


def test_an_ending_that_says_nothing_is_refused():
    with pytest.raises(ValueError, match="must end in"):
        checked_ending("result.txt")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.json", b"{"),
        ("a.json", b"[]"),
        ("a.json", b'{"schema": "other/1"}'),
        ("a.json", b"[" * 100_000),
        ("a.json", b"\xff\xfe"),
        ("a.json", b'{"schema": "fastmoments.scan/2"}'),
        ("a.npz", b"PK nonsense"),
        ("a.npz", b""),
    ],
)
def test_a_damaged_file_is_refused(name, content, tmp_path):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match="not a scan saved by fastmoments"):
        fm.load_scan(tmp_path / name)


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(ValueError, match="There is no file"):
        fm.load_scan(tmp_path / "none.json")


@pytest.mark.parametrize("name", ["a.JSON", "b.Npz", "c.csv"])
def test_endings_may_be_of_any_case(name, tmp_path):
    assert checked_ending(tmp_path / name) == os.path.splitext(name)[1].lower()


def test_csv_leaves_empty_what_has_no_value():
    assert csv_text([{"a": 1, "b": None}, {"a": 0.1, "b": "x, y"}]) == 'a,b\n1,\n0.1,"x, y"\n'


def test_no_array_is_unpickled(scans, tmp_path):
    np.savez(tmp_path / "scan.npz", description=np.array([{}], dtype=object))
    with pytest.raises(ValueError, match="not a scan saved by fastmoments"):
        fm.load_scan(tmp_path / "scan.npz")


@pytest.mark.parametrize("where", range(0, 40))
def test_an_npz_with_a_wrong_byte_is_read_or_refused(scans, where, tmp_path):
    """Of some bytes of an archive nothing depends."""
    path = tmp_path / "scan.npz"
    fm.save_scan(scans["infinite"], path)
    content = bytearray(path.read_bytes())
    content[where * len(content) // 40] ^= 0x55
    path.write_bytes(content)
    try:
        assert fm.load_scan(path).to_dict() == scans["infinite"].to_dict()
    except ValueError as problem:
        assert str(problem) == f"{path} is not a scan saved by fastmoments, or it is damaged."


def test_an_archive_that_would_fill_the_memory_is_not_opened(scans, tmp_path, monkeypatch):
    fm.save_scan(scans["infinite"], tmp_path / "scan.npz")
    with zipfile.ZipFile(tmp_path / "scan.npz", "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb.npy", bytes(10**7))
    monkeypatch.setattr("fastmoments.memory.free_memory", lambda: 8 * 10**7)
    with pytest.raises(ValueError, match="takes more memory than is free"):
        fm.load_scan(tmp_path / "scan.npz")
    monkeypatch.undo()
    assert fm.load_scan(tmp_path / "scan.npz").depth.tolist() == [2, 4]


def test_no_text_of_a_table_is_a_formula():
    """A spreadsheet would compute `=cmd|...`; numbers stay numbers, and every text comes back."""
    texts = ["=cmd|' /C calc'!A0", "+1", "-x", "@a", "'quoted", "\t=1", "plain"]
    rows = [{"text": text, "number": -1.5} for text in texts]
    lines = csv_text(rows).splitlines()
    assert lines[0] == "text,number"
    assert all(line.endswith(",-1.5") for line in lines[1:])
    assert not any(line.startswith(("=", "+", "-", "@", "\t")) for line in lines)
    assert [csv_value(row["text"]) for row in csv.DictReader(io.StringIO(csv_text(rows)))] == texts
