"""The table of stations of a scan: one row per layer in the order the signal meets them."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import numpy as np

from ..engines.protocol import ENGINE_MOMENTS, Station
from . import jacobian
from .tables import number, text_table

#: Moments of a station: what engines yield, and what follows from it.
STATION_MOMENTS = (*ENGINE_MOMENTS, jacobian.NAME)
#: Of these also the logarithm is told, which never overflows.
LOGARITHMS = ("log_nu2_signal", "log_mu2_noise", "log_chi", jacobian.NAME)


@dataclass(frozen=True, eq=False)
class StationMoments:
    """What a scan found behind one layer.

    Attributes
    ----------
    path : str
        Such as ``layers.3.branch.1``; "" for the images themselves.
    layer : str
        Kind of the layer; "images" for these.
    depth : int
        Unit; 0 up to the end of the stem.
    loc : str or None
        Its name on the curves over depth, if it is on them.
    grid : (height, width) or None
    channels : int or None
        At infinite width as the net says; None where it does not.
    law : str or None
        What is known of a channel.
    error : float
        Estimate of the relative error of a layer up to here, the largest; 0 where the map is exact. At
        finite width that of a mean of this station, the largest.
    mean : dict of str to float
        Moments by name, over random nets if there are several.
    sigma : dict of str to float
        Their standard deviations over random nets, where known.
    drawn : dict of str to float
        Standard errors of the moments by the channels that were drawn (of ranks relative), by the names that
        engines give them; empty where none were.
    before : str or None
        Path of the station at the input of the layer; None where the layer's own path tells.
    """

    path: str
    layer: str
    depth: int
    loc: str | None
    grid: tuple[int, int] | None
    channels: int | None
    law: str | None
    error: float
    mean: dict[str, float]
    sigma: dict[str, float]
    drawn: dict[str, float] = field(default_factory=dict)
    before: str | None = None

    @property
    def snr_db(self) -> float:
        """Signal-to-noise ratio relative to the images, in decibels: -20 log10 chi."""
        return -20.0 / math.log(10.0) * self.mean.get("log_chi", math.nan)

    @property
    def directions(self) -> float | None:
        """Directions of variance that the signal has left: its effective rank, where it was taken."""
        return self.mean.get("reff_signal")

    @property
    def gradient_db(self) -> float | None:
        """Mean square of gradients relative to the output, in decibels: 10 log10 of the curve jacobian."""
        log_jacobian = self.mean.get(jacobian.NAME)
        return None if log_jacobian is None else 10.0 / math.log(10.0) * log_jacobian

    def to_dict(self) -> dict:
        """The row in plain values, as in the JSON of a scan."""
        moments = {
            name: {
                "mean": _plain(value),
                **({"sigma": _plain(self.sigma[name])} if name in self.sigma else {}),
            }
            for name, value in self.mean.items()
        }
        fields = ("path", "layer", "depth", "loc", "grid", "channels", "law")
        values = {name: getattr(self, name) for name in fields}
        if self.grid is not None:
            values["grid"] = list(self.grid)
        drawn = {"drawn": {name: _plain(value) for name, value in self.drawn.items()}} if self.drawn else {}
        before = {} if self.before is None else {"before": self.before}
        return {**values, **before, "moments": moments, "error": _plain(self.error), **drawn}

    @classmethod
    def from_dict(cls, values: dict) -> StationMoments:
        """The inverse of `to_dict`."""
        moments = values["moments"]

        def of(part: str) -> dict[str, float]:
            found = {name: each[part] for name, each in moments.items() if part in each}
            return {name: math.nan if value is None else value for name, value in found.items()}

        fields = ("path", "layer", "depth", "loc", "channels", "law")
        grid = None if values["grid"] is None else tuple(values["grid"])
        error = math.nan if values["error"] is None else values["error"]
        return cls(
            **{name: values[name] for name in fields},
            grid=grid,
            error=error,
            mean=of("mean"),
            sigma=of("sigma"),
            drawn={
                name: math.nan if value is None else value for name, value in values.get("drawn", {}).items()
            },
            before=values.get("before"),
        )


def _plain(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def tabulated(stations: Iterable[Station], nets: int | None) -> tuple[StationMoments, ...]:
    """One row per path, in walking order; of sampled nets mean and deviation over them."""
    found: dict[str, dict[int, Station]] = {}
    for station in stations:
        # The input of a unit is where the layer before it left the signal, and may be there already, perhaps
        # without ranks.
        first = found.setdefault(station.path, {}).setdefault(station.net, station)
        if station.moments.keys() > first.moments.keys():
            found[station.path][station.net] = replace(first, moments=station.moments, drawn=station.drawn)
    return tuple(_row(list(at.values()), nets) for at in found.values())


def _row(stations: list[Station], nets: int | None) -> StationMoments:
    first = stations[0]
    mean, sigma = {}, {}
    for name in (name for name in STATION_MOMENTS if name in first.moments):
        values = np.array([station.moments[name] for station in stations])
        linear = name.removeprefix("log_")
        logarithm = linear != name
        with np.errstate(over="ignore", invalid="ignore"):
            if nets is not None:
                shown = {linear: np.exp(values) if logarithm else values}
                shown |= {name: values} if name in LOGARITHMS else {}
                for each, array in shown.items():
                    mean[each] = float(array.mean())
                    if array.size > 1:
                        sigma[each] = float(array.std(ddof=1))
                continue
            value, deviation = float(values[0]), first.sigmas.get(name)
            if name in LOGARITHMS or not logarithm:
                mean[name] = value
                if deviation is not None:
                    sigma[name] = deviation
            if logarithm:
                # Mean and deviation of a lognormal law.
                variance = 0.0 if deviation is None else deviation**2
                mean[linear] = float(np.exp(value + 0.5 * variance))
                if deviation is not None:
                    sigma[linear] = float(mean[linear] * np.sqrt(np.expm1(variance)))
    # The station of a layer knows its name on the curves; as the input of the next unit it has another.
    loc = None if first.loc == "input" and first.depth > 0 else first.loc
    error = max(station.error for station in stations)
    return StationMoments(
        first.path, first.layer, first.depth, loc, first.grid, first.channels, first.law, error, mean, sigma,
        first.drawn, first.before,
    )  # fmt: skip


@dataclass(frozen=True)
class Report:
    """The stations of a scan as a table; `str` is its text.

    Attributes
    ----------
    title : str
        What was computed, on one line.
    rows : list of dict
        By column: path, layer, size, chi, snr_change_db, snr_db, directions, gradient_db, mu2, law, error,
        drawn (the standard error of log chi by the channels drawn). None where a value is not known.
        `snr_change_db` is relative to the station at the layer's own input: of a merge, to where shortcut and
        branch part.
    note : str
        What is to be known of all of it; may be empty.
    """

    title: str
    rows: list[dict]
    note: str = ""

    def __str__(self) -> str:
        """The table in plain text."""
        known = [
            name for name in COLUMNS if name == "path" or any(row[name] is not None for row in self.rows)
        ]
        cells = [[_cell(name, row) for name in known] for row in self.rows]
        note = f"{self.note}\n" if self.note else ""
        return f"{self.title}\n{note}\n{text_table([[COLUMNS[name] for name in known]], cells)}"


#: Columns of a report and their headings.
COLUMNS = {
    "path": "path", "layer": "layer", "size": "size", "chi": "chi", "snr_change_db": "SNR change dB",
    "snr_db": "SNR dB", "directions": "r_eff", "gradient_db": "gradient dB", "mu2": "mu2", "law": "law",
    "error": "error", "drawn": "+- drawn",
}  # fmt: skip


def _cell(name: str, row: dict) -> str:
    value = row[name]
    if isinstance(value, str):
        return value
    if name.endswith("_db"):
        return "-" if value is None or not math.isfinite(value) else f"{value:+.2f}"
    if name in ("error", "drawn"):
        return "-" if not value else f"{value:.0e}"
    return number(value, row["log_chi"] if name == "chi" else None)


def report(title: str, stations: tuple[StationMoments, ...], note: str = "") -> Report:
    """The report of a table of stations."""
    by_path = {row.path: row for row in stations}
    rows = []
    for station in stations:
        where = _input_of(station, by_path) if station.path else None
        before = None if where is None else by_path.get(where)
        grid = station.grid
        rows.append(
            {
                "path": station.path or "images",
                "layer": station.layer,
                "size": None if grid is None else f"{grid[0]} x {grid[1]}",
                "chi": station.mean.get("chi"),
                "log_chi": station.mean.get("log_chi"),
                "snr_change_db": None if before is None else station.snr_db - before.snr_db,
                "snr_db": station.snr_db,
                "directions": station.directions,
                "gradient_db": station.gradient_db,
                "mu2": station.mean.get("mu2_signal"),
                "law": station.law,
                "error": station.error,
                "drawn": station.drawn.get("log_chi"),
            }
        )
    return Report(title, rows, note)


def _input_of(station: StationMoments, known: dict[str, StationMoments]) -> str | None:
    """Path of the station at the input of the layer of another one."""
    return _before(station.path, known) if station.before is None else station.before


def _before(path: str, known: dict[str, StationMoments]) -> str | None:
    """Path of the station at the input of a layer; None if it is not known."""
    *owner, stack, index = path.split(".")
    if int(index):
        return _last(".".join([*owner, stack, str(int(index) - 1)]), known)
    if owner:
        return _before(".".join(owner), known)
    stem = [each for each in known if each.startswith("stem.") and each.count(".") == 1]
    return stem[-1] if stack == "layers" and stem else ""


def _last(path: str, known: dict[str, StationMoments]) -> str | None:
    """The path itself, or that of the last layer of the network that stands there."""
    if path in known:
        return path
    inside = [each for each in known if each.startswith(f"{path}.")]
    return inside[-1] if inside else None
