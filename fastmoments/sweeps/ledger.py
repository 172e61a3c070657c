"""The journal of a sweep: what is finished, line by line beside the output, so that nothing is lost."""

from __future__ import annotations

import json
import os
from pathlib import Path

SCHEMA = "fastmoments.sweep/1"


class Ledger:
    """Finished items on disk; every line is there for good before the next item counts as done.

    Parameters
    ----------
    output : path-like
        The journal is called like it, with ".partial" behind.
    header : dict
        What must agree for two runs to give the same bytes: "versions", "grid" and "images".
    resume : bool
        Go on with the journal that is there, if there is one; otherwise its presence is refused.

    Attributes
    ----------
    done : dict of str to dict
        Rows that an earlier run finished, by the key of their item.

    Raises
    ------
    ValueError
        If there is a journal and it is not to be resumed, or it belongs to something else, is damaged,
        or being written; or the folder cannot be written to.
    """

    def __init__(self, output: str | os.PathLike[str], header: dict, resume: bool) -> None:
        self.path = Path(f"{os.fspath(output)}.partial")
        self.done: dict[str, dict] = {}
        header = {"schema": SCHEMA, **header}
        try:
            self._file = open(self.path, "a+b" if resume else "x+b")  # noqa: SIM115
        except FileExistsError:
            raise ValueError(
                f"{self.path} is there, from a sweep that did not end: go on with --resume (resume=True), "
                "or remove it."
            ) from None
        except OSError as problem:
            raise ValueError(f"Cannot write {self.path}: {problem.strerror or problem}.") from None
        try:
            self._lock()
            if not self._read(header):
                self._write(header)
        except BaseException:
            self._file.close()
            raise

    def _lock(self) -> None:
        """Keep a second sweep out, where the system can; the lock goes with the process."""
        try:
            import fcntl
        except ImportError:
            return
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise ValueError(f"Another sweep is writing {self.path}; wait for it, or end it.") from None

    def _read(self, header: dict) -> bool:
        """Take up the rows that are there; False if there is not even a header."""
        self._file.seek(0)
        lines = self._file.read().splitlines(keepends=True)
        values = [_parsed(line) for line in lines]
        if values and values[-1] is None:  # torn by the end of an earlier run
            values.pop()
            self._file.truncate(sum(map(len, lines[:-1])))
        if not values:
            return False
        sound = [value for value in values if value is not None]
        if len(sound) < len(values) or sound[0].get("schema") != SCHEMA:
            raise ValueError(f"{self.path} is damaged, or no journal of this kind of sweep; remove it.")
        self._compare(sound[0], json.loads(json.dumps(header)))
        self.done = {value["key"]: value["row"] for value in sound[1:]}
        return True

    def _compare(self, found: dict, wanted: dict) -> None:
        for name, version in wanted["versions"].items():
            other = found["versions"].get(name)
            if other != version:
                raise ValueError(
                    f"{self.path} was begun with {name} {other}, and this is {version}: "
                    "resume with the same, or remove it."
                )
        if list(found["grid"].items()) != list(wanted["grid"].items()):
            raise ValueError(f"{self.path} belongs to another grid: give the grid it was begun with.")
        if found["images"] != wanted["images"]:
            raise ValueError(f"The images are not those that {self.path} was begun with.")

    def add(self, key: str, row: dict) -> None:
        """Put a finished item on disk."""
        self._write({"key": key, "row": row})

    def _write(self, value: dict) -> None:
        try:
            self._file.write(json.dumps(value).encode() + b"\n")
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as problem:
            raise ValueError(f"Cannot write {self.path}: {problem.strerror or problem}.") from None

    def close(self) -> None:
        """Let go of the file and leave it."""
        self._file.close()

    def remove(self) -> None:
        """Let go of the file and delete it: the output is written."""
        self.close()
        self.path.unlink(missing_ok=True)


def _parsed(line: bytes) -> dict | None:
    """The value of a line, or None if the line was not written to its end."""
    try:
        value = json.loads(line) if line.endswith(b"\n") else None
    except ValueError:
        return None
    return value if isinstance(value, dict) else None
