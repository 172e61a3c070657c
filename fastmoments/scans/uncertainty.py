"""Where a scan is least exact, at finite width or by drawn channels, and whether that is worth a warning."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from ..engines.protocol import Station

#: Where channels are drawn, as provenance says it.
EVERYWHERE, SOMEWHERE = "in every unit", "in some units"
#: Relative error of a mean from which on a scan says that it is rough.
ROUGH = 0.25


def most_uncertain(stations: Iterable[Station]) -> dict | None:
    """The moment with the largest estimated error of its mean, in plain values; None if no engine made any.

    Returns
    -------
    dict, optional
        "moment" (of a logarithm the moment itself), "loc", "depth", and "error", the relative one: of a
        logarithm its error.
    """
    found = [
        (error / station.moments[name] if name.startswith("reff") else error, name, station)
        for station in stations
        if station.loc is not None
        for name, error in station.errors.items()
    ]
    found = [each for each in found if math.isfinite(each[0])]
    if not found:
        return None
    error, name, station = max(found, key=lambda each: each[0])
    moment = name.removeprefix("log_")
    return {"moment": moment, "loc": station.loc, "depth": station.depth, "error": float(error)}


def in_words(found: object, finite: bool = True) -> str:
    """What `most_uncertain` found, at finite or infinite width, in a sentence; empty if there is nothing."""
    if not isinstance(found, dict) or not {"moment", "loc", "depth", "error"} <= set(found):
        return ""
    error = found["error"]
    if isinstance(error, bool) or not isinstance(error, (int, float)) or not 0.0 < error < math.inf:
        return ""
    size = f"{error:.1%}" if error < 0.095 else f"{error:.0%}"
    where = f"{found['moment']} at depth {found['depth']} (@{found['loc']})"
    said = f"most uncertain: {where}, estimated error of its mean {size}"
    why = "the width is small for this depth or moment" if finite else "the law behind merges is a closure"
    return said if error < ROUGH else f"{said}: rough, {why}"


def drawn_in_words(provenance: Mapping[str, object]) -> str:
    """What drawn steps do to a scan, in a sentence; empty where there are none."""
    where, error = provenance.get("drawn"), provenance.get("drawn_error")
    if isinstance(error, bool) or not isinstance(error, (int, float)) or not 0.0 <= error < math.inf:
        return ""
    said = f"channels drawn {where}, standard error of chi up to {error:.1%}"
    if where != EVERYWHERE:
        return said
    return f"{said}: rough, as one random net with as many channels as are drawn (more by --draws)"
