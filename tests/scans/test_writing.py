"""The one way to a file: what is refused, and what is left whatever happens."""

import os
import socket
import stat
from pathlib import Path

import pytest
from limits import largest_file

from fastmoments.scans.writing import (
    refuse_shared,
    refuse_unwritable,
    replacing,
    unwritten,
    write_atomically,
)


def test_a_failed_write_leaves_what_was_there(tmp_path):
    path = tmp_path / "result.json"
    path.write_text("old")
    with pytest.raises(TypeError):
        write_atomically(path, "not bytes")
    with pytest.raises(KeyboardInterrupt), replacing(path) as file:
        file.write(b"half")
        raise KeyboardInterrupt
    with largest_file(100), pytest.raises(OSError, match=r"Cannot write .*result.json: File too large"):
        write_atomically(path, bytes(10_000))
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_has_the_rights_of_any_other(tmp_path):
    before = os.umask(0o027)
    try:
        write_atomically(tmp_path / "result.json", b"{}")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "result.json").stat().st_mode) == 0o640


def test_a_file_that_is_replaced_hands_on_its_mode(tmp_path):
    path = tmp_path / "result.json"
    path.write_text("old")
    path.chmod(0o604)
    write_atomically(path, b"new")
    assert (stat.S_IMODE(path.stat().st_mode), path.read_bytes()) == (0o604, b"new")


@pytest.mark.parametrize("there", [True, False])
def test_a_link_stays_and_its_target_is_replaced(tmp_path, there):
    (tmp_path / "far").mkdir()
    target, link, chain = tmp_path / "far" / "x.json", tmp_path / "link.json", tmp_path / "chain.json"
    link.symlink_to(target)
    chain.symlink_to(link)
    if there:
        target.write_text("old")
    write_atomically(chain, b"new")
    assert chain.is_symlink() and link.is_symlink() and not target.is_symlink()
    assert target.read_bytes() == b"new"
    assert os.listdir(tmp_path / "far") == ["x.json"]


def fifo(path):
    os.mkfifo(path)


def bound(path):
    with socket.socket(socket.AF_UNIX) as end:
        end.bind(os.path.relpath(path))


def read_only(path):
    path.write_text("old")
    path.chmod(0o444)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (os.mkdir, "it is a folder; name a file"),
        (fifo, "it is a pipe; name a file"),
        (bound, "it is a socket; name a file"),
        (read_only, "it is there, and read-only"),
        (lambda path: path.symlink_to(path), "Too many levels of symbolic links"),
        (lambda path: path.symlink_to("no/such"), "there is no folder"),
        (lambda path: path.symlink_to(os.devnull), "it is a device; name a file"),
    ],
)
def test_what_is_no_regular_file_is_refused_and_left(tmp_path, monkeypatch, make, words):
    monkeypatch.chdir(tmp_path)  # names of sockets are short
    path = tmp_path / "x.json"
    make(path)
    before = os.lstat(path)
    for write in (lambda: refuse_unwritable(path), lambda: write_atomically(path, b"new")):
        with pytest.raises(ValueError) as caught:
            write()
        assert str(caught.value).startswith(f"Cannot write {path}: {words}")
    assert os.lstat(path) == before
    assert os.listdir(tmp_path) == ["x.json"]


def test_names_are_as_long_as_the_system_takes(tmp_path):
    path = tmp_path / ("x" * 250 + ".json")
    write_atomically(path, b"new")
    assert path.read_bytes() == b"new"
    with pytest.raises(ValueError, match=r"longer than 255 bytes, with what is put behind it\.$"):
        refuse_unwritable(path, [".partial"])
    with pytest.raises(ValueError, match="longer than 255 bytes"):
        write_atomically(tmp_path / ("x" * 255 + ".json"), b"new")
    with pytest.raises(ValueError, match="a null character"):
        write_atomically(tmp_path / "a\0b", b"new")
    with pytest.raises(ValueError, match="there is no folder"):
        write_atomically(tmp_path / "no" / "x.json", b"new")
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_is_not_writable_is_refused(tmp_path):
    (tmp_path / "closed").mkdir()
    path = tmp_path / "closed" / "x.json"
    if os.geteuid() == 0:  # who may write anywhere
        pytest.skip("root may write anywhere")
    path.parent.chmod(0o555)
    with pytest.raises(ValueError, match=r"closed is not writable\.$"):
        refuse_unwritable(path)


def test_one_file_by_two_names_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    one = tmp_path / "a.npz"
    one.write_text("images")
    os.link(one, "hard.npz")
    os.symlink(one, "soft.npz")
    os.mkdir("folder")
    (tmp_path / "folder" / "b.png").write_text("an image")
    for name in ("a.npz", "./a.npz", "folder/../a.npz", "hard.npz", "soft.npz"):
        with pytest.raises(
            ValueError, match=r"^--output and --images are the same file, .*; name another\.$"
        ):
            refuse_shared({"--output": Path(name)}, {"--images": one})
    with pytest.raises(ValueError, match="--plot and --output are the same file"):
        refuse_shared({"--output": Path("new.png"), "--plot": tmp_path / "new.png"}, {})
    with pytest.raises(ValueError, match="one of the files of --images"):
        refuse_shared({"--plot": Path("folder/b.png")}, {"--images": Path("folder")})
    refuse_shared({"--plot": Path("folder/c.png"), "--output": None}, {"--images": Path("folder")})
    refuse_shared({"--output": Path("b.npz"), "--plot": Path("b.png")}, {"--images": one})


def test_what_the_system_says_is_one_sentence():
    problem = unwritten("x.json", OSError(28, "No space left on device"))
    assert str(problem) == "Cannot write x.json: No space left on device; what was written before is kept."
