"""A file that grows line by line while something long runs: locked, and each line under a checksum.

The first line is a header, the others are rows: JSON objects. Each row ends with the member "sum", a digest
of it and of every line before it, so that what was changed, moved or left out is seen.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
from collections.abc import Sequence
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

from .writing import refuse_unwritable, unwritten

#: Whether the system can lock files. A lock goes with its process, however that ends.
LOCKS = find_spec("fcntl") is not None

_SUM = b', "sum": "'


class Written:
    """What stands in such a file.

    A last row that was not written to its end counts as not there.

    Parameters
    ----------
    content : bytes

    Attributes
    ----------
    header : dict or None
        None if the first line is no JSON object, or was not written to its end.
    rows : list of dict
        Up to the first that is damaged.
    sums : list of str
        The digest behind the header, and behind each row.
    ends : list of int
        Bytes up to the end of the header, and of each row.
    damaged : int or None
        Number of the first damaged line, the header being 1; None if all are sound.
    """

    def __init__(self, content: bytes) -> None:
        head, *lines = content.splitlines(keepends=True) or [b""]
        self.header = _object(head)
        self.rows: list[dict] = []
        self.sums, self.ends = [_digest("", head)], [len(head)]
        self.damaged: int | None = None
        for number, line in enumerate(lines, 2):
            body, _, end = line.rpartition(_SUM)
            digest, row = _digest(self.sums[-1], body), _object(line)
            if row is None or end != _end(digest):
                torn = row is None and number == len(lines) + 1
                self.damaged = None if torn else number
                return
            del row["sum"]
            self.rows.append(row)
            self.sums.append(digest)
            self.ends.append(self.ends[-1] + len(line))


class Lines:
    """Such a file while it is written: one process has it at a time.

    It is taken up where it is there; `begin` makes it where it is not. Close it, or remove it.

    Parameters
    ----------
    path : path
    header : dict
        With a "schema", by which a file is known.
    resume : bool
        Whether a file may be there already.
    kind : str
        What writes such files, such as "scan".
    durable : bool
        Have every line on the disk before `append` returns, whatever happens to the machine.

    Attributes
    ----------
    found : Written or None
        What an earlier run has left; None where it left nothing.

    Raises
    ------
    ValueError
        In one sentence: if the path cannot be written to; if a file is there and `resume` is False, or it is
        no such file; or if another process writes it.
    OSError
        In one sentence, if the system fails.
    """

    def __init__(
        self, path: str | os.PathLike[str], header: dict, resume: bool, kind: str, durable: bool = False
    ) -> None:
        self.path, self._kind, self._durable = Path(path), kind, durable
        self._head = json.dumps(header).encode() + b"\n"
        self._digest, self._end = _digest("", self._head), 0
        self._file: io.FileIO | None = None
        self.found: Written | None = None
        refuse_unwritable(self.path)
        while self._file is None and self.path.exists():
            if not resume:
                raise ValueError(
                    f"{self.path} holds a {kind} that was interrupted; go on with --resume, or delete it "
                    "(in Python: resume=True)."
                )
            self._file = self._opened("r+b", FileNotFoundError)
        if self._file is None:
            return
        content = self._file.readall()
        if self._head.startswith(content):  # an earlier run came no further
            return
        self.found = Written(content)
        if self.found.header is None or self.found.header.get("schema") != header["schema"]:
            self.close()
            raise ValueError(
                f"{self.path} is not a journal of fastmoments, or it is damaged; name another, or delete it."
            )

    @property
    def rows(self) -> Sequence[dict]:
        """The rows an earlier run has left."""
        return () if self.found is None else self.found.rows

    @property
    def digest(self) -> str:
        """The digest of all that is written, from `begin` on."""
        return self._digest

    def refuse_damage(self) -> None:
        """Refuse a file with a row that is not what was written.

        Raises
        ------
        ValueError
            In one sentence.
        """
        if self.found is not None and self.found.damaged is not None:
            raise damaged(self.path, self.found.damaged)

    def begin(self) -> None:
        """Make the file if it is not there, and write the header if it has none; drop a torn last row."""
        while self._file is None:
            self._file = self._opened("x+b", FileExistsError)
        if self.found is None:
            self._cut(0, self._digest)
            self._write(self._head, self._digest)
        else:
            self.keep(len(self.found.rows))

    def keep(self, count: int) -> None:
        """Drop all rows behind the first `count` of those that were found."""
        if self.found is not None:
            self._cut(self.found.ends[count], self.found.sums[count])

    def append(self, row: dict) -> None:
        """Write a row down.

        Raises
        ------
        OSError
            In one sentence, if the system fails; the lines before stay whole.
        """
        body = json.dumps(row).encode().removesuffix(b"}")
        digest = _digest(self._digest, body)
        self._write(body + _SUM + _end(digest), digest)

    def close(self) -> None:
        """Let go of the file and leave it."""
        if self._file is not None:
            self._file.close()

    def remove(self) -> None:
        """Delete the file and let go of it."""
        if not LOCKS:  # such systems do not delete what is open
            self.close()
        self.path.unlink(missing_ok=True)
        self.close()

    def _opened(self, mode: str, changed: type[OSError]) -> io.FileIO | None:
        """The file, locked; None if it has come or gone in between, which `changed` says."""
        try:
            file = io.FileIO(self.path, mode)
        except changed:
            return None
        except OSError as problem:
            raise unwritten(self.path, problem) from None
        if LOCKS:
            import fcntl

            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                file.close()
                raise ValueError(
                    f"Another {self._kind} is writing {self.path}; wait for it, or end it."
                ) from None
            except OSError:
                pass  # a file system without locks
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(file.fileno()), os.stat(self.path)):
                return file
        file.close()
        return None

    def _cut(self, end: int, digest: str) -> None:
        assert self._file is not None, "begun"
        self._file.truncate(end)
        self._file.seek(end)
        self._end, self._digest = end, digest

    def _write(self, line: bytes, digest: str) -> None:
        assert self._file is not None, "begun"
        left = memoryview(line)
        try:
            while left:
                left = left[self._file.write(left) :]
            if self._durable:
                os.fsync(self._file.fileno())
        except OSError as problem:
            with suppress(OSError):
                self._cut(self._end, self._digest)
            raise unwritten(self.path, problem) from None
        self._end, self._digest = self._end + len(line), digest


def damaged(path: str | os.PathLike[str], line: int) -> ValueError:
    """The refusal of a file with a damaged row."""
    return ValueError(
        f"{path} is damaged in line {line}, which is not what was written; delete that line and all behind "
        "it, or the file."
    )


def _digest(before: str, body: bytes) -> str:
    return hashlib.sha256(before.encode() + body).hexdigest()[:16]


def _end(digest: str) -> bytes:
    return f'{digest}"}}\n'.encode()


def _object(line: bytes) -> dict | None:
    """The JSON object of a line; None if it is none, or the line was not written to its end."""
    try:
        value = json.loads(line) if line.endswith(b"\n") else None
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None
