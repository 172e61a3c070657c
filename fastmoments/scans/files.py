"""Scans on disk: JSON, npz without pickles, CSV; written whole or not at all."""

from __future__ import annotations

import csv
import io
import json
import os
import tempfile
import zipfile
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np

from . import journal
from .results import SCHEMA, Curve, Scan, assembled, judged
from .stations import StationMoments

ENDINGS = (".json", ".npz", ".csv")


def write_atomically(path: str | os.PathLike[str], content: bytes) -> None:
    """Write a file under a temporary name beside it and move it into place.

    Raises
    ------
    ValueError
        If the folder is not there or cannot be written to.
    """
    path = Path(path)
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    except OSError as problem:
        raise ValueError(f"Cannot write {path}: {problem.strerror or problem}.") from None
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        os.chmod(name, 0o666 & ~_umask())  # mkstemp's are private; a result is an ordinary file
        os.replace(name, path)
    except OSError as problem:
        os.unlink(name)
        raise ValueError(f"Cannot write {path}: {problem.strerror or problem}.") from None
    except BaseException:
        os.unlink(name)
        raise


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


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
    """Rows as CSV; an empty field where there is no value."""
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def save_scan(scan: Scan, path: str | os.PathLike[str]) -> None:
    """Write a scan to `path`, a .json, .npz or .csv file, all of it or nothing.

    Raises
    ------
    ValueError
        If the ending is none of these, or the folder cannot be written to.
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
                arrays[f"{name}/{loc}/mean"] = curve.mean
                if curve.sigma is not None:
                    arrays[f"{name}/{loc}/sigma"] = curve.sigma
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
        if ending == ".json":
            return from_dict(json.loads(Path(path).read_text()))
        with np.load(path, allow_pickle=False) as file:
            described = json.loads(str(file["description"]))
            described["depth"] = file["depth"].tolist()
            moments: dict = {}
            for key in file.files:
                if key.count("/") == 2:
                    name, loc, part = key.split("/")
                    moments.setdefault(name, {}).setdefault(loc, {"sigma": None})[part] = file[key].tolist()
            described["moments"] = moments
            return from_dict(described)
    except FileNotFoundError:
        raise ValueError(f"There is no file {path}.") from None
    except (OSError, KeyError, TypeError, AttributeError, ValueError, zipfile.BadZipFile, EOFError):
        raise ValueError(f"{path} is not a scan saved by fastmoments, or it is damaged.") from None


def _interrupted(path: str | os.PathLike[str]) -> Scan:
    """What the journal of a scan holds: the depths it has reached, or the random nets that are complete."""
    described, stations = journal.read(path)
    if not any(station.loc for station in stations):
        raise ValueError(f"{path} does not hold a station yet.")
    if described["nets"] is not None:
        last = max(station.net for station in stations)
        if last and last + 1 < described["nets"]:
            stations = [station for station in stations if station.net < last]
        described["nets"] = max(station.net for station in stations) + 1
    return assembled(described, stations, sorted({station.depth for station in stations if station.loc}))


def from_dict(described: dict) -> Scan:
    """A scan from its plain values, the inverse of `Scan.to_dict`.

    Raises
    ------
    ValueError
        If the schema is neither fastmoments.scan/2 nor fastmoments.scan/1, which has no stations.
    """
    if described["schema"] not in (SCHEMA, "fastmoments.scan/1"):
        raise ValueError(f"Unknown schema {described['schema']!r}.")

    def values(numbers: list[float | None]) -> np.ndarray:
        return np.array([np.nan if v is None else v for v in numbers], float)

    moments = {
        name: {
            loc: Curve(values(c["mean"]), None if c["sigma"] is None else values(c["sigma"]))
            for loc, c in at.items()
        }
        for name, at in described["moments"].items()
    }
    depth = np.array(described["depth"], dtype=np.int64)
    data = described["data"]
    fields = ("architecture", "method", "width", "nets", "data", "provenance")
    return Scan(
        **{name: described[name] for name in fields},
        depth=depth,
        locs=tuple(described["locs"]),
        moments=moments,
        verdict=judged(depth, moments, data["points"]),
        stations=tuple(StationMoments.from_dict(each) for each in described.get("stations", ())),
    )
