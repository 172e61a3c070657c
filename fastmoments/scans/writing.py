"""The one way to a file: refused beforehand where that can be known, else written whole or not at all."""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

#: What stands where a file should.
KINDS = {
    stat.S_IFDIR: "a folder", stat.S_IFCHR: "a device", stat.S_IFBLK: "a device", stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
}  # fmt: skip
_LONGEST = 255  # bytes of a file's name, where the system does not say


def write_atomically(path: str | os.PathLike[str], content: bytes) -> None:
    """Write a file as `replacing` does, with its errors."""
    with replacing(path) as file:
        file.write(content)


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """A file under a temporary name beside `path`, which it is moved to once all is written.

    A symbolic link stays, and what it points to is replaced. A file that is replaced hands on its mode.

    Raises
    ------
    ValueError
        If `refuse_unwritable` refuses the path.
    OSError
        In one sentence, if the system fails, as on a full disk; what was there stays.
    """
    refuse_unwritable(path)
    target = _target(path)
    try:
        mode = target.stat().st_mode & 0o777 if target.exists() else 0o666 & ~_umask()
        handle, name = tempfile.mkstemp(dir=target.parent, prefix=".fastmoments-")
    except OSError as problem:
        raise unwritten(path, problem) from None
    try:
        with os.fdopen(handle, "w+b") as file:
            yield file
        os.chmod(name, mode)  # mkstemp's are private; a result is an ordinary file
        os.replace(name, target)
    except OSError as problem:
        os.unlink(name)
        raise unwritten(path, problem) from None
    except BaseException:
        os.unlink(name)
        raise


def refuse_unwritable(path: str | os.PathLike[str], beside: Iterable[str] = ()) -> None:
    """Refuse a path to which no file can be written, as far as that can be known before.

    Parameters
    ----------
    path : path
        Of a file that is there, or not yet.
    beside : iterable of str
        Endings: files of the same name with these behind must be writable too.

    Raises
    ------
    ValueError
        In one sentence: if there is no such folder, or one that cannot be written to; if there is something
        else than a regular file, or a file that is read-only; or if the name is too long.
    """
    for each in (Path(path), *(Path(f"{os.fspath(path)}{ending}") for ending in beside)):
        try:
            problem = _problem(each)
        except OSError as wrong:
            problem = wrong.strerror or str(wrong)
        except ValueError:
            problem = "its name holds a null character"
        if problem:
            raise ValueError(f"Cannot write {each}: {problem}.")


def _problem(path: Path) -> str | None:
    """Why a file cannot be written, links followed; None if nothing is known against it."""
    if not path.parent.is_dir():
        return f"there is no folder {path.parent}"
    longest = os.pathconf(path.parent, "PC_NAME_MAX") if hasattr(os, "pathconf") else _LONGEST
    if len(os.fsencode(path.name)) > longest:
        return f"its name is longer than {longest} bytes, with what is put behind it"
    target = _target(path)
    if not target.parent.is_dir():
        return f"there is no folder {target.parent}"
    try:
        mode = target.stat().st_mode
    except FileNotFoundError:
        mode = None
    if mode is not None and not stat.S_ISREG(mode):
        return f"it is {KINDS.get(stat.S_IFMT(mode), 'no regular file')}; name a file"
    if mode is not None and not (mode & 0o222 and os.access(target, os.W_OK)):
        return "it is there, and read-only"
    if not os.access(target.parent, os.W_OK | os.X_OK):
        return f"the folder {target.parent} is not writable"
    return None


def refuse_shared(outputs: dict[str, Path | None], inputs: dict[str, Path | None]) -> None:
    """Refuse to write to one file twice, or to one that is read, by whatever names, links and hard links.

    Parameters
    ----------
    outputs, inputs : dict of str to path or None
        By the name that the sentence gives them. An input may be a folder: then the files in it count.

    Raises
    ------
    ValueError
        In one sentence.
    """
    before: dict[str, Path] = {name: path for name, path in inputs.items() if path is not None}
    for name, path in outputs.items():
        if path is None:
            continue
        for other, there in before.items():
            if _same(path, there):
                raise ValueError(f"{name} and {other} are the same file, {path}; name another.")
            if other in inputs and there.is_dir() and path.exists() and _same(path.parent, there):
                raise ValueError(f"{name} is {path}, one of the files of {other}; name another.")
        before[name] = path


def _same(one: Path, other: Path) -> bool:
    try:
        return os.path.samefile(one, other)
    except (OSError, ValueError):
        return os.path.realpath(one) == os.path.realpath(other)


def _target(path: str | os.PathLike[str]) -> Path:
    """Where a symbolic link ends, whether something is there or not; other paths as they are."""
    path = Path(path)
    return Path(os.path.realpath(path)) if path.is_symlink() else path


def unwritten(path: str | os.PathLike[str], problem: OSError) -> OSError:
    """The exception for a file that the system could not write, in one sentence."""
    return OSError(f"Cannot write {path}: {problem.strerror or problem}; what was written before is kept.")


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
