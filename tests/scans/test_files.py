"""Scans on disk: whole or not at all."""

import os
import stat

import numpy as np
import pytest

import fastmoments as fm
from fastmoments.scans.files import checked_ending, csv_text, from_dict, write_atomically


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


def test_a_failed_write_leaves_what_was_there(tmp_path):
    path = tmp_path / "result.json"
    path.write_text("old")
    with pytest.raises(TypeError):
        write_atomically(path, "not bytes")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(ValueError, match="Cannot write"):
        write_atomically(tmp_path / "missing" / "result.json", b"")
    with pytest.raises(ValueError, match="must end in"):
        checked_ending("result.txt")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.json", b"{"),
        ("a.json", b"[]"),
        ("a.json", b'{"schema": "other/1"}'),
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


def test_a_file_has_the_rights_of_any_other(tmp_path):
    before = os.umask(0o027)
    try:
        write_atomically(tmp_path / "result.json", b"{}")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "result.json").stat().st_mode) == 0o640


@pytest.mark.parametrize("name", ["a.JSON", "b.Npz", "c.csv"])
def test_endings_may_be_of_any_case(name, tmp_path):
    assert checked_ending(tmp_path / name) == os.path.splitext(name)[1].lower()


def test_csv_leaves_empty_what_has_no_value():
    assert csv_text([{"a": 1, "b": None}, {"a": 0.1, "b": "x, y"}]) == 'a,b\n1,\n0.1,"x, y"\n'


def test_no_array_is_unpickled(scans, tmp_path):
    np.savez(tmp_path / "scan.npz", description=np.array([{}], dtype=object))
    with pytest.raises(ValueError, match="not a scan saved by fastmoments"):
        fm.load_scan(tmp_path / "scan.npz")


def test_values_that_are_null_come_back_as_none_are(scans):
    described = scans["infinite"].to_dict()
    described["moments"]["chi"]["act"]["mean"][0] = None
    again = from_dict(described)
    assert np.isnan(again["chi", "act"][0]) and again["chi", "act"][1] == scans["infinite"]["chi", "act"][1]
    with pytest.raises(ValueError, match="Unknown schema"):
        from_dict({"schema": "fastmoments.scan/0"})
