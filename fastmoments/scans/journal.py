"""Long scans on disk while they run: stations as they come, and now and then the state of the engine.

The journal is a file of `Lines` that can be read at any time: first what is computed, then the stations.
Beside it, under the name with ``.state`` behind it, stands the last checkpoint: an npz without pickles,
replaced as a whole, from which an engine goes on to the same numbers. It knows by a digest after which
stations it was taken.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
import warnings
import zipfile
from collections.abc import Callable, Sequence
from itertools import takewhile
from pathlib import Path

import numpy as np

from ..engines.protocol import Plan, Station, Units, Wanted
from ..validation import Notice
from .lines import Lines, Written, damaged
from .plain import station_from
from .writing import refuse_unwritable, replacing

SCHEMA = "fastmoments.journal/3"
#: Seconds between checkpoints, at least; more when writing one takes more than a twentieth of that.
CHECKPOINT_SECONDS, CHECKPOINT_SHARE = 60.0, 0.05
#: What is put behind the name of a result while it is computed: the journal, and its checkpoint.
PARTIAL, STATE = ".partial", ".state"

_COMPLETE = {"complete": True}


class Journal:
    """The journal of one scan; a context manager. One process has it at a time.

    Parameters
    ----------
    path : path
    header : dict
        What is computed, in plain values; a journal is only continued under the same.
    resume : bool
        Continue a journal that is there; without one, begin it.

    Attributes
    ----------
    stations : list of Station
        Those that an earlier run has left.
    complete : bool
        Whether they are all that there are.

    Raises
    ------
    ValueError
        If there is a journal and `resume` is False, or it is of another scan, damaged, no journal, or being
        written; or if none can be written there.
    OSError
        If the system fails.
    """

    def __init__(self, path: str | os.PathLike[str], header: dict, resume: bool) -> None:
        self.path = Path(path)
        self.state = self.path.with_name(self.path.name + STATE)
        self.header = json.loads(json.dumps(header))
        self._due = time.monotonic() + CHECKPOINT_SECONDS
        refuse_unwritable(self.path, (STATE,))
        self._lines = Lines(self.path, {"schema": SCHEMA, **self.header}, resume, "scan")
        try:
            found = {} if self._lines.found is None else self._lines.found.header or {}
            changed = [name for name in self.header if found and found.get(name) != self.header[name]]
            if changed:
                raise ValueError(
                    f"{self.path} belongs to another scan ({', '.join(changed)} differ); resume it with the "
                    "same net, images, options and versions, or delete it."
                )
            self._lines.refuse_damage()
            self.stations, self.complete = _stations(self.path, self._lines.rows, self.header)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Journal:
        """Begin the file, or go on with it; what a torn last line holds is dropped."""
        self._lines.begin()
        return self

    def __exit__(self, *problem: object) -> None:
        """Close the journal; it stays."""
        self.close()

    def close(self) -> None:
        """Let go of the file."""
        self._lines.close()

    def refuse_unknown(self, network: Units, plan: Plan) -> None:
        """Refuse stations that a scan of this net would not yield.

        Raises
        ------
        ValueError
            In one sentence.
        """
        wanted = Wanted(network, plan.depths, plan.reff_locs)
        for number, station in enumerate(self.stations, 2):
            if station.depth != wanted.depth:
                wanted.begin(station.depth)
            if not wanted.knows(station.path, station.loc):
                raise damaged(self.path, number)

    def keep(self, wanted: Callable[[Station], bool]) -> list[Station]:
        """Drop the stations from the first on that an engine is going to yield again; what is left."""
        self.stations = list(takewhile(wanted, self.stations))
        self._lines.keep(len(self.stations))
        return self.stations

    def append(self, station: Station) -> None:
        """Write a station down."""
        self._lines.append({name: value for name, value in vars(station).items() if value not in (None, {})})

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
        text = json.dumps({"depth": depth, "behind": self._lines.digest, **described})
        with replacing(self.state) as file:
            np.savez(file, description=np.array(text), digest=np.array(_digest(text, arrays)), **arrays)
        seconds = time.monotonic() - start
        self._due = time.monotonic() + max(CHECKPOINT_SECONDS, seconds / CHECKPOINT_SHARE)

    def restored(self) -> tuple[int, dict, dict] | None:
        """Depth, arrays and plain values of the last checkpoint of this scan; None without one.

        Warns
        -----
        Notice
            If there is one that is damaged, or does not belong to these stations: the scan begins anew.
        """
        if not self.stations or not self.state.exists():
            return None
        try:
            return self._restored()
        except Exception:  # on damaged bytes json, numpy, zipfile and zlib raise a dozen types
            warnings.warn(
                f"{self.state} is damaged, or does not belong to {self.path.name}: the scan begins anew.",
                Notice,
                stacklevel=2,
            )
            return None

    def _restored(self) -> tuple[int, dict, dict]:
        found = self._lines.found
        with open(self.state, "rb") as stream:
            with zipfile.ZipFile(stream) as archive:
                if any(member.compress_type != zipfile.ZIP_STORED for member in archive.infolist()):
                    raise ValueError("a checkpoint is not compressed")
            stream.seek(0)
            with np.load(stream, allow_pickle=False) as file:
                text, digest = str(file["description"]), str(file["digest"])
                arrays = {name: file[name] for name in file.files if name not in ("description", "digest")}
        if digest != _digest(text, arrays):
            raise ValueError("a checkpoint's digest is of all that it holds")
        described = json.loads(text)
        if found is None or described.pop("behind") not in found.sums:
            raise ValueError("a checkpoint stands behind one of the stations")
        return described.pop("depth"), arrays, described

    def finish(self) -> None:
        """Write down that the scan is complete, and remove the checkpoint."""
        self._lines.append(_COMPLETE)
        self.state.unlink(missing_ok=True)


def _digest(text: str, arrays: dict[str, np.ndarray]) -> str:
    """Of the values of a checkpoint and what they are called."""
    digest = hashlib.sha256(text.encode())
    for name, array in sorted(arrays.items()):
        digest.update(f"{name} {array.dtype.str} {array.shape}".encode())
        digest.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def _stations(path: str | os.PathLike[str], rows: Sequence[dict], header: dict) -> tuple[list[Station], bool]:
    """The stations that rows describe, and whether they are all.

    Raises
    ------
    ValueError
        In one sentence, if a value is out of its range.
    """
    complete = bool(rows) and rows[-1] == _COMPLETE
    stations = []
    for number, row in enumerate(rows[:-1] if complete else rows, 2):
        try:
            stations.append(station_from(row, header.get("nets"), header.get("method")))
        except (KeyError, TypeError, ValueError):
            raise damaged(path, number) from None
    return stations, complete


def read(path: str | os.PathLike[str]) -> tuple[dict, list[Station]]:
    """Header and stations of a journal, whole or interrupted.

    Raises
    ------
    ValueError
        If the file is not a journal, or damaged.
    """
    try:
        found = Written(Path(path).read_bytes())
    except FileNotFoundError:
        raise ValueError(f"There is no file {path}.") from None
    except OSError as problem:
        raise ValueError(f"Cannot read {path}: {problem.strerror or problem}.") from None
    header = found.header or {}
    if header.pop("schema", None) != SCHEMA:
        raise ValueError(f"{path} is not a journal of fastmoments, or it is damaged.")
    if found.damaged is not None:
        raise damaged(path, found.damaged)
    return header, _stations(path, found.rows, header)[0]
