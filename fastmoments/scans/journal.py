"""Long scans on disk while they run: stations as they come, and now and then the state of the engine.

The journal is a text file of JSON lines that can be read at any time: first what is computed, then the
stations. Beside it, under the name with ``.state`` behind it, stands the last checkpoint: an npz without
pickles, replaced as a whole, from which an engine goes on to the same numbers.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import TextIO

import numpy as np

from ..engines.protocol import Station

SCHEMA = "fastmoments.journal/2"
#: Seconds between checkpoints, at least; more when writing one takes more than a twentieth of that.
CHECKPOINT_SECONDS, CHECKPOINT_SHARE = 60.0, 0.05


class Journal:
    """The journal of one scan; a context manager.

    Parameters
    ----------
    path : path
    header : dict
        What is computed, in plain values; a journal is only continued under the same.
    resume : bool
        Continue a journal that is there; without one, begin it.

    Raises
    ------
    ValueError
        If there is a journal and `resume` is False, or it is of another scan, or not a journal.
    OSError
        If it cannot be written.
    """

    def __init__(self, path: str | os.PathLike[str], header: dict, resume: bool) -> None:
        self.path = Path(path)
        self.state = self.path.with_name(self.path.name + ".state")
        self.header = json.loads(json.dumps(header))
        self.stations: list[Station] = []
        self._due = time.monotonic() + CHECKPOINT_SECONDS
        self._file: TextIO | None = None
        if self.path.exists():
            if not resume:
                raise ValueError(
                    f"{self.path} holds a scan that was interrupted; continue it with resume, or delete it."
                )
            found, self.stations = read(self.path)
            changed = [name for name in self.header if found.get(name) != self.header[name]]
            if changed:
                raise ValueError(
                    f"{self.path} belongs to another scan ({', '.join(changed)} differ); resume it with the "
                    "same net, images, options and versions, or delete it."
                )

    def __enter__(self) -> Journal:
        """Open the journal; what a torn last line holds is dropped."""
        self._rewrite()
        return self

    def __exit__(self, *problem: object) -> None:
        """Close the journal; it stays."""
        if self._file is not None:
            self._file.close()

    def keep(self, wanted: Callable[[Station], bool]) -> list[Station]:
        """Drop all stations that an engine is going to yield again; what is left."""
        self.stations = [station for station in self.stations if wanted(station)]
        self._rewrite()
        return self.stations

    def append(self, station: Station) -> None:
        """Write a station down."""
        self._write(_line(station))

    def checkpoint(self, depth: int, taken: Callable[[], tuple[dict, dict]]) -> None:
        """Write the state that `taken` gives, arrays and plain values, if it is time to.

        Parameters
        ----------
        depth : int
            Units behind the state.
        taken : callable
        """
        if time.monotonic() < self._due:
            return
        start = time.monotonic()
        arrays, described = taken()
        text = np.array(json.dumps({"depth": depth, "header": self.header, **described}))
        temporary = self.state.with_name(self.state.name + ".new")
        try:
            with open(temporary, "wb") as file:
                np.savez(file, description=text, **arrays)
            os.replace(temporary, self.state)
        except OSError as problem:
            raise _unwritten(temporary, problem) from None
        finally:  # also of an interrupt; once moved it is not there
            temporary.unlink(missing_ok=True)
        seconds = time.monotonic() - start
        self._due = time.monotonic() + max(CHECKPOINT_SECONDS, seconds / CHECKPOINT_SHARE)

    def restored(self) -> tuple[int, dict, dict] | None:
        """Depth, arrays and plain values of the last checkpoint of this scan; None without one."""
        if not self.stations or not self.state.exists():
            return None
        with np.load(self.state, allow_pickle=False) as file:
            described = json.loads(str(file["description"]))
            if described.pop("header") != self.header:
                return None
            arrays = {name: file[name] for name in file.files if name != "description"}
        return described.pop("depth"), arrays, described

    def remove_state(self) -> None:
        """Remove the checkpoint: the scan is complete."""
        self.state.unlink(missing_ok=True)

    def _rewrite(self) -> None:
        if self._file is not None:
            self._file.close()
        lines = [json.dumps({"schema": SCHEMA, **self.header}), *map(_line, self.stations)]
        temporary = self.path.with_name(self.path.name + ".new")
        try:
            temporary.write_text("\n".join(lines) + "\n")
            os.replace(temporary, self.path)
            self._file = open(self.path, "a")  # noqa: SIM115
        except OSError as problem:
            raise _unwritten(self.path, problem) from None
        finally:
            temporary.unlink(missing_ok=True)

    def _write(self, line: str) -> None:
        assert self._file is not None, "a journal is written to inside its context"
        try:
            self._file.write(line + "\n")
            self._file.flush()
        except OSError as problem:
            raise _unwritten(self.path, problem) from None


def _unwritten(path: Path, problem: OSError) -> OSError:
    return OSError(f"Cannot write {path}: {problem.strerror or problem}; what was written before is kept.")


def _line(station: Station) -> str:
    return json.dumps({name: value for name, value in vars(station).items() if value not in (None, {})})


def read(path: str | os.PathLike[str]) -> tuple[dict, list[Station]]:
    """Header and stations of a journal, whole or interrupted.

    Raises
    ------
    ValueError
        If the file is not a journal.
    """
    stations = []
    try:
        head, *lines = Path(path).read_text().split("\n")
        header = json.loads(head)
        if header.pop("schema") != SCHEMA:
            raise KeyError
        for line in lines[:-1]:  # behind the last line break stands nothing, or half a line
            values = {"loc": None, **json.loads(line)}
            if "grid" in values:
                values["grid"] = tuple(values["grid"])
            stations.append(Station(**values))
    except FileNotFoundError:
        raise ValueError(f"There is no file {path}.") from None
    except (OSError, KeyError, TypeError, AttributeError, ValueError):
        raise ValueError(f"{path} is not a journal of fastmoments, or it is damaged.") from None
    return header, stations
