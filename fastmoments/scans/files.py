"""Scans on disk: JSON, npz without pickles, CSV."""

from __future__ import annotations

import csv
import io
import json
import os
import zipfile
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np

from ..memory import excess
from . import journal
from .plain import checked_fields, from_dict
from .results import Scan, assembled
from .writing import write_atomically

ENDINGS = (".json", ".npz", ".csv")

#: What the numbers of a scan take while they are read, in sizes of the arrays in an .npz.
VALUES = 8

#: What makes a spreadsheet take a text for a formula, and what protects it.
_FORMULAS, _TEXT = ("=", "+", "-", "@", "\t", "\r"), "'"


def checked_ending(path: str | os.PathLike[str], endings: Collection[str] = ENDINGS) -> str:
    """The ending of a result file.

    Raises
    ------
    ValueError
        If it is not among `endings`.
    """
    ending = Path(path).suffix.lower()
    if ending not in endings:
        raise ValueError(f"Cannot tell the format of {path}: its name must end in {', '.join(endings)}.")
    return ending


def csv_text(rows: list[dict]) -> str:
    """Rows as CSV; an empty field where there is no value, and no text that a spreadsheet would compute."""
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(map(_inert, rows[0])), lineterminator="\n")
    writer.writeheader()
    writer.writerows({_inert(name): _inert(value) for name, value in row.items()} for row in rows)
    return text.getvalue()


def _inert(value: object) -> object:
    """A text with an apostrophe before it where it begins as formulas do, or with one; all else as it is."""
    protected = isinstance(value, str) and value.startswith((*_FORMULAS, _TEXT))
    return f"{_TEXT}{value}" if protected else value


def csv_value(field: str) -> str:
    """The text that a field of `csv_text` stands for."""
    return field.removeprefix(_TEXT)


def save_scan(scan: Scan, path: str | os.PathLike[str]) -> None:
    """Write a scan to `path`, a .json, .npz or .csv file, all of it or nothing.

    Raises
    ------
    ValueError
        If the ending is none of these, or a file cannot be written there.
    OSError
        In one sentence, if the system fails, as on a full disk; what was there stays.
    """
    ending = checked_ending(path)
    if ending == ".csv":
        content = csv_text(scan.rows()).encode()
    elif ending == ".json":
        content = (json.dumps(scan.to_dict(), indent=1) + "\n").encode()
    else:
        described = {
            name: value for name, value in scan.to_dict().items() if name not in ("depth", "moments")
        }
        arrays: dict[str, Any] = {"description": np.array(json.dumps(described)), "depth": scan.depth}
        for name, at in scan.moments.items():
            for loc, curve in at.items():
                parts = {part: values for part, values in vars(curve).items() if values is not None}
                arrays |= {f"{name}/{loc}/{part}": values for part, values in parts.items()}
        buffer = io.BytesIO()
        np.savez_compressed(buffer, **arrays)
        content = buffer.getvalue()
    write_atomically(path, content)


def load_scan(path: str | os.PathLike[str]) -> Scan:
    """Read a scan that was saved as .json or .npz, or what the .partial journal of one holds.

    Raises
    ------
    ValueError
        If the file is not there, or is no such scan.
    """
    ending = checked_ending(path, (".json", ".npz", ".partial"))
    if ending == ".partial":
        return _interrupted(path)
    try:
        return from_dict(json.loads(Path(path).read_text()) if ending == ".json" else _unpacked(path))
    except FileNotFoundError:
        raise ValueError(f"There is no file {path}.") from None
    except MemoryError:
        raise ValueError(f"{path} takes more memory than is free.") from None
    except Exception:  # on damaged bytes json, numpy, zipfile and zlib raise a dozen types
        raise ValueError(f"{path} is not a scan saved by fastmoments, or it is damaged.") from None


def _unpacked(path: str | os.PathLike[str]) -> dict:
    """The plain values in an .npz."""
    with zipfile.ZipFile(path) as archive:
        if excess(VALUES * sum(member.file_size for member in archive.infolist())):
            raise MemoryError
    with np.load(path, allow_pickle=False) as file:
        described = json.loads(str(file["description"]))
        described["depth"] = file["depth"].tolist()
        moments: dict = {}
        for key in file.files:
            if key.count("/") == 2:
                name, loc, part = key.split("/")
                moments.setdefault(name, {}).setdefault(loc, {"sigma": None})[part] = file[key].tolist()
        described["moments"] = moments
    return described


def _interrupted(path: str | os.PathLike[str]) -> Scan:
    """What the journal of a scan holds: the depths it has reached, or the random nets that are complete."""
    described, stations = journal.read(path)
    if not any(station.loc for station in stations):
        raise ValueError(f"{path} does not hold a station yet.")
    try:
        checked_fields(described)
    except (KeyError, TypeError, ValueError):
        raise ValueError(f"{path} is not a journal of fastmoments, or it is damaged.") from None
    if described["nets"] is not None:
        last = max(station.net for station in stations)
        if last and last + 1 < described["nets"]:
            stations = [station for station in stations if station.net < last]
        described["nets"] = max(station.net for station in stations) + 1
    return assembled(described, stations, sorted({station.depth for station in stations if station.loc}))
