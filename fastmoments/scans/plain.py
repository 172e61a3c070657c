"""Plain values, as JSON and npz have them, back into scans and stations; what cannot be one is refused."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from ..engines.protocol import ENGINE_MOMENTS, Station
from ..nets.network import LOCS
from ..validation import MOST, one_of, whole
from .curves import MOMENTS, Curve
from .engines import ENGINES, MEASURED
from .results import SCHEMA, Scan, judged
from .stations import STATION_MOMENTS, StationMoments

#: Schemas that can be read; the older has no stations.
SCHEMAS = (SCHEMA, "fastmoments.scan/1")

#: Numbers in the description of images, all positive.
_SIZES = ("images", "points", "height", "width")

#: Fields of a station whose logarithms may be negative.
SIGNED = ("moments", "sampled")

#: Parts of a path; Python could not walk into a net that nests deeper.
_DEEPEST = 400


def from_dict(described: dict) -> Scan:
    """A scan from its plain values, the inverse of `Scan.to_dict`.

    Raises
    ------
    ValueError
        If the schema is none of `SCHEMAS`, or a value is missing, of another type or out of its range.
    """
    try:
        return _from_dict(described)
    except (KeyError, TypeError, AttributeError, OverflowError, RecursionError) as problem:
        raise ValueError(f"Not the plain values of a scan: {type(problem).__name__}.") from None


def _from_dict(described: dict) -> Scan:
    if described["schema"] not in SCHEMAS:
        raise ValueError(f"Unknown schema {described['schema']!r}.")
    fields = checked_fields(described)
    depth = _depths(described["depth"])
    locs = tuple(one_of("locs", loc, LOCS) for loc in described["locs"])
    moments = {
        one_of("moments", name, MOMENTS): {
            one_of(name, loc, locs): _curve(name, curve, depth.size)
            for loc, curve in _table(name, at).items()
        }
        for name, at in _table("moments", described["moments"]).items()
    }
    if not all(moments.values()):
        raise ValueError("A moment must have at least one station.")
    stations = tuple(
        _station(each, fields["method"]) for each in _listed("stations", described.get("stations", []))
    )
    return Scan(
        **fields, depth=depth, locs=locs, moments=moments, stations=stations,
        verdict=judged(depth, moments, fields["data"]["points"], stations, fields["data"]),
    )  # fmt: skip


def checked_fields(described: dict) -> dict:
    """The fields of a `Scan` that are known before it is run, checked.

    Raises
    ------
    ValueError
        Also KeyError and TypeError, if one is missing or not what it should be.
    """
    names = ("architecture", "method", "width", "nets", "data", "provenance")
    fields = {name: described[name] for name in names}
    one_of("method", fields["method"], ENGINES)
    for name in ("width", "nets"):
        if fields[name] is not None:
            whole(name, fields[name], 1, MOST)
    _text("name", _table("architecture", fields["architecture"])["name"])
    data = _table("data", fields["data"])
    _text("source", data["source"])
    for name in (*_SIZES, *({"batch", "batches", "classes"} & set(data))):
        whole(name, data[name])
    _table("provenance", fields["provenance"])
    return fields


def station_from(values: dict, nets: int | None, method: object = None) -> Station:
    """A station from its plain values in a journal, of a scan of so many random nets by a method.

    Raises
    ------
    ValueError
        Also KeyError and TypeError, if a value is missing, of another type or out of its range.
    """
    given = {"loc": None, "moments": {}, **values}
    grid, loc = given.get("grid"), given["loc"]
    for name in ("moments", "sigmas", "errors", "sigma_errors", "drawn", "sampled"):
        for moment, value in _table(name, given.get(name, {})).items():
            one_of(name, moment, STATION_MOMENTS)
            if _number(moment, value) < 0.0 and not (moment.startswith("log_") and name in SIGNED):
                raise ValueError(f"{moment} must not be negative, but is {value!r}.")
    whole("depth", given["depth"], 0, MOST)
    whole("net", given.get("net", 0), 0, (nets or 1) - 1)
    if _number("error", given.get("error", 0.0)) < 0.0:
        raise ValueError(f"error must not be negative, but is {given['error']!r}.")
    averaged = [_number("averaged", each) for each in _listed("averaged", given.get("averaged", [0.0]))]
    if not averaged:
        raise ValueError("averaged must have a number.")
    if loc is not None:
        one_of("loc", loc, LOCS)
    _described(given, method)
    read = {"grid": None if grid is None else _grid(grid), "averaged": tuple(averaged)}
    return Station(**{**given, **read})


def _station(values: dict, method: str) -> StationMoments:
    """A row of the table of stations of a scan, from its plain values."""
    whole("depth", values["depth"], 0, MOST)
    for moment, parts in _table("moments", values["moments"]).items():
        known = [name.removeprefix("log_") for name in STATION_MOMENTS]
        one_of("moments", moment.removeprefix("log_"), known)
        for value in _table(moment, parts).values():
            _number(moment, value)
        if "mean" not in parts:
            raise KeyError("mean")
    _number("error", values["error"])
    for moment, value in _table("drawn", values.get("drawn", {})).items():
        one_of("drawn", moment, ENGINE_MOMENTS)
        _number(moment, value)
    if values["loc"] is not None:
        one_of("loc", values["loc"], LOCS)
    if values["grid"] is not None:
        _grid(values["grid"])
    _described(values, method)
    return StationMoments.from_dict(values)


def _described(values: dict, method: object) -> None:
    """Check what both kinds of stations say of their layer; modules of PyTorch have names of their own."""
    for path in (values["path"], values.get("before")):
        if method != MEASURED and path is not None:
            _path(path)
        elif path:
            _text("path", path)
    _text("layer", values["layer"])
    if values.get("channels") is not None:
        whole("channels", values["channels"])
    if values.get("law") is not None:
        _text("law", values["law"])


def _path(path: object) -> None:
    """Check that a path is stacks and indices in turn, such as ``layers.3.branch.1``, or empty."""
    parts = [] if path == "" else _text("path", path).split(".")
    if len(parts) % 2 or len(parts) > _DEEPEST or not all(map(str.isdecimal, parts[1::2])):
        raise ValueError(f"path must be one such as layers.3.branch.1, not {path!r}.")


def _depths(values: object) -> np.ndarray:
    depths = [whole("depth", each, 0, MOST) for each in _listed("depth", values)]
    if not depths or any(one >= other for one, other in pairwise(depths)):
        raise ValueError("depth must be numbers that rise.")
    return np.array(depths, dtype=np.int64)


def _curve(name: str, curve: dict, depths: int) -> Curve:
    """A curve; files of earlier versions have no errors."""
    parts = {"mean": curve["mean"], "sigma": curve["sigma"]}
    parts |= {part: curve.get(part) for part in ("error", "sigma_error")}
    found = {
        part: None if values is None and part != "mean" else _numbers(name, values, depths)
        for part, values in parts.items()
    }
    return Curve(**found)  # type: ignore[arg-type]  # the mean is there


def _numbers(name: str, values: object, count: int) -> np.ndarray:
    found = np.array([_number(name, value) for value in _listed(name, values)], float)
    if found.size != count:
        raise ValueError(f"{name} must have {count} values, not {found.size}.")
    return found


def _number(name: str, value: object) -> float:
    """A number, NaN for None."""
    if value is None:
        return math.nan
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ValueError(f"{name} must be numbers, not {value!r}.")
    return float(value)


def _grid(values: object) -> tuple[int, int]:
    height, width = (whole("grid", side) for side in _listed("grid", values))
    return height, width


def _table(name: str, values: object) -> dict:
    if not isinstance(values, dict):
        raise ValueError(f"{name} must be a table, not {values!r}.")
    return values


def _listed(name: str, values: object) -> Sequence:
    if not isinstance(values, list):
        raise ValueError(f"{name} must be a list, not {values!r}.")
    return values


def _text(name: str, value: object) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError(f"{name} must be a text, not {value!r}.")
    return value
