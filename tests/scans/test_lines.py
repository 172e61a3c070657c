"""Files that grow line by line: what was changed in them is seen, and two processes do not write one."""

import json
import os
import subprocess
import sys
from contextlib import closing

import pytest
from hypothesis import given
from hypothesis import strategies as st
from limits import largest_file

from fastmoments.scans.lines import LOCKS, Lines, Written, damaged

HEADER = {"schema": "test/1", "what": "numbers"}
ROWS = [{"a": 1}, {"a": -0.5, "b": "x, y"}, {"sum": "mine", "c": None}, {"a": float("-inf")}]


def written(path, rows=ROWS, header=HEADER):
    with closing(Lines(path, header, True, "test")) as lines:
        lines.begin()
        for row in rows:
            lines.append(row)
    return path.read_bytes()


def test_rows_come_back_and_more_follow(tmp_path):
    content = written(tmp_path / "x", ROWS[:2])
    assert json.loads(content.splitlines()[0]) == HEADER
    with closing(Lines(tmp_path / "x", HEADER, True, "test")) as lines:
        assert (lines.found.header, lines.rows) == (HEADER, ROWS[:2])
        lines.begin()
        for row in ROWS[2:]:
            lines.append(row)
    assert (tmp_path / "x").read_bytes() == written(tmp_path / "y")
    found = Written((tmp_path / "x").read_bytes())
    assert (found.rows, found.damaged) == ([ROWS[0], ROWS[1], {"c": None}, ROWS[3]], None)


def test_rows_are_dropped_from_the_end(tmp_path):
    written(tmp_path / "x")
    with closing(Lines(tmp_path / "x", HEADER, True, "test")) as lines:
        lines.begin()
        lines.keep(1)
        lines.append(ROWS[1])
    assert (tmp_path / "x").read_bytes() == written(tmp_path / "y", ROWS[:2])


@given(st.data())
def test_a_file_cut_anywhere_goes_on_with_its_whole_rows(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("cut") / "x"
    content = written(path)
    cut = data.draw(st.integers(0, len(content)))
    path.write_bytes(content[:cut])
    with closing(Lines(path, HEADER, True, "test")) as lines:
        lines.refuse_damage()
        assert len(lines.rows) == max(0, content[:cut].count(b"\n") - 1)
        lines.begin()
        for row in ROWS[len(lines.rows) :]:
            lines.append(row)
    assert path.read_bytes() == content


@given(st.data())
def test_no_byte_of_a_row_can_be_changed(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("edited") / "x"
    content = bytearray(written(path))
    head = content.index(b"\n") + 1
    where = data.draw(st.integers(head, len(content) - 1))
    content[where] ^= data.draw(st.integers(1, 255))
    line = content[:where].count(b"\n") + 1
    found = Written(bytes(content))
    assert len(found.rows) <= line - 2  # none is believed from there on
    if line < len(ROWS):  # behind that the last row may seem torn, and is dropped
        path.write_bytes(content)
        lines = Lines(path, HEADER, True, "test")
        with closing(lines), pytest.raises(ValueError, match="is damaged in line") as caught:
            lines.refuse_damage()
        assert "\n" not in str(caught.value)


def test_rows_that_are_moved_or_left_out_are_seen(tmp_path):
    head, *rows = written(tmp_path / "x").splitlines(keepends=True)
    for order in ((1, 0, 2, 3), (0, 2, 3), (1, 2, 3), (0, 0, 1, 2)):
        assert Written(head + b"".join(rows[i] for i in order)).damaged is not None
    assert Written(head.replace(b"numbers", b"letters") + b"".join(rows)).damaged == 2
    assert str(damaged("x", 3)).startswith("x is damaged in line 3")


@pytest.mark.parametrize(
    "content", [b"hello", b"hello\n", b"[1]\n", b"[" * 100_000 + b"\n", b'{"schema": "other/1"}\n', b"\0\n"]
)
def test_a_file_of_someone_else_is_refused_and_left(tmp_path, content):
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(ValueError, match="is not a journal of fastmoments, or it is damaged"):
        Lines(tmp_path / "x", HEADER, True, "test")
    with pytest.raises(ValueError, match=r"x holds a test that was interrupted; go on with --resume"):
        Lines(tmp_path / "x", HEADER, False, "test")
    assert (tmp_path / "x").read_bytes() == content


def test_a_full_disk_leaves_whole_lines(tmp_path):
    path = tmp_path / "x"
    with closing(Lines(path, HEADER, True, "test", durable=True)) as lines:
        lines.begin()
        lines.append(ROWS[0])
        with largest_file(path.stat().st_size + 10), pytest.raises(OSError, match="Cannot write"):
            lines.append(ROWS[1])
        for row in ROWS[1:]:
            lines.append(row)
    assert path.read_bytes() == written(tmp_path / "y")


IN_USE = """
import sys
from fastmoments.scans.lines import Lines
lines = Lines(sys.argv[1], {"schema": "test/1", "what": "numbers"}, True, "test")
lines.begin()
print("begun", flush=True)
sys.stdin.read()
"""


@pytest.mark.skipif(not LOCKS, reason="the system does not lock files")
def test_one_process_writes_and_the_lock_goes_with_it(tmp_path):
    path = tmp_path / "x"
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-P", "-c", IN_USE, str(path)], **pipes, text=True) as other:
        assert other.stdout.readline() == "begun\n"
        with pytest.raises(ValueError, match=r"^Another test is writing .*x; wait for it, or end it\.$"):
            Lines(path, HEADER, True, "test")
        other.kill()
        other.wait()
    with closing(Lines(path, HEADER, True, "test")) as lines:
        lines.begin()
        with pytest.raises(ValueError, match="Another test is writing"):
            Lines(path, HEADER, True, "test")
        lines.remove()
    assert os.listdir(tmp_path) == []


@pytest.mark.skipif(not LOCKS, reason="the system does not lock files")
def test_a_file_that_is_removed_in_between_is_begun_anew(tmp_path, monkeypatch):
    """Who locks a file that has just been removed would write to nowhere."""
    import fcntl

    path, lock = tmp_path / "x", fcntl.flock
    written(path)

    def removed(file, how):
        monkeypatch.setattr(fcntl, "flock", lock)
        path.unlink()
        return lock(file, how)

    monkeypatch.setattr(fcntl, "flock", removed)
    with closing(Lines(path, HEADER, True, "test")) as lines:
        assert lines.found is None
        lines.begin()
        assert path.exists()


@pytest.mark.skipif(not LOCKS, reason="the system does not lock files")
def test_where_files_cannot_be_locked_they_are_written_all_the_same(tmp_path, monkeypatch):
    import fcntl

    def unsupported(file, how):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(fcntl, "flock", unsupported)
    assert Written(written(tmp_path / "x")).damaged is None
