"""What a scan found: curves over depth, their verdict and where they come from."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from ..engines.protocol import Station
from ..validation import whole
from .budget import budget
from .curves import Curve, gather, main_curve
from .engines import GIVEN, MEASURED
from .jacobian import with_jacobian
from .stations import Report, StationMoments, report, tabulated
from .uncertainty import EVERYWHERE, SOMEWHERE, drawn_in_words, in_words, most_uncertain
from .verdict import Verdict, judge, judge_budget

if TYPE_CHECKING:
    import pandas

#: Of the JSON of a scan; `files.load_scan` also reads the one before.
SCHEMA = "fastmoments.scan/2"

#: Moments of nets of finite width that are Gaussian over nets to leading order, for plain nets to any depth.
GAUSSIAN_LAWS = ("log_nu2_signal", "log_mu2_noise", "log_chi")


@dataclass(frozen=True, eq=False)
class Scan:
    """Curves over depth, the verdict on them and where they come from.

    ``scan["chi"]`` is the curve's mean at its main station (chi: the last of a unit; ranks: the
    activation; nu1 and mu4: the batch norm, or what feeds the activation) and ``scan["chi", "conv"]``
    at another. chi is the square root of noise over signal variance, relative to the images; how exact it
    is depends on the engine: see `scan`. jacobian is the mean squared singular value of the Jacobian of the
    output, by which gradients grow on their way back from there: see `scans.jacobian`.

    Attributes
    ----------
    architecture : dict
        The net in plain values.
    method : str
        "infinite", "finite", "sampled", "measured" or "given".
    width : int or None
        Channels, if they are finite in number.
    nets : int or None
        How many were sampled.
    data : dict
        Source, seed, number of images and of points, and their size behind the net's stem; `classes`, if
        known; `notes`, if something about the images was taken for granted (`Images.notes`).
    depth : int64, shape (depths,)
    locs : tuple of str
        Stations of a unit, in order.
    moments : dict of str to dict of str to Curve
        By moment, then by station.
    verdict : Verdict
    provenance : dict
        Versions, seconds, threads, precision and, of the infinite-width engine, the largest estimate
        of a layer's relative error (`layer_error`); of the finite-width one the mean whose estimated
        relative error is the largest (`most_uncertain`: moment, loc, depth, error).
    stations : tuple of StationMoments
        The same by layer: one for every path, in the order the signal meets them, at the recorded depths.
    """

    architecture: dict
    method: str
    width: int | None
    nets: int | None
    data: dict
    depth: np.ndarray
    locs: tuple[str, ...]
    moments: Mapping[str, Mapping[str, Curve]]
    verdict: Verdict
    provenance: dict = field(default_factory=dict)
    stations: tuple[StationMoments, ...] = ()

    def curve(self, name: str, loc: str | None = None) -> Curve:
        """One curve; at its main station if `loc` is left out.

        Raises
        ------
        KeyError
            If there is no such moment or station; the message lists those there are.
        """
        if name not in self.moments:
            raise KeyError(f"no moment {name!r}; this scan has {', '.join(self.moments)}")
        at = self.moments[name]
        if loc is None:
            return main_curve(name, at)
        if loc not in at:
            raise KeyError(f"no {name} at station {loc!r}; it was taken at {', '.join(at)}")
        return at[loc]

    def __getitem__(self, key: str | tuple[str, str]) -> np.ndarray:
        """Mean of a curve: ``scan[moment]`` or ``scan[moment, station]``."""
        return self.curve(*(key if isinstance(key, tuple) else (key,))).mean

    def standard_error(self, name: str, loc: str | None = None) -> np.ndarray:
        """Standard error of a sampled mean, shape (depths,); zero for analytic engines."""
        sigma = self.curve(name, loc).sigma
        if self.nets is None or sigma is None:
            return np.zeros(self.depth.size)
        return np.asarray(sigma / math.sqrt(self.nets))

    def histogram(
        self, name: str, depth: int, loc: str | None = None, bins: int = 60
    ) -> tuple[np.ndarray, np.ndarray]:
        """Law of a moment over random nets of finite width: its density in bins of four deviations around.

        To leading order in 1 / width it is Gaussian, for plain nets as for those with batch norm; of a plain
        net it is that of a sum over layers, so the more so the deeper the net.

        Parameters
        ----------
        name : str
            One of `GAUSSIAN_LAWS`.
        depth : int
            A recorded one.
        loc : str, optional
            Station; the main one if left out.
        bins : int

        Returns
        -------
        edges : shape (bins + 1,)
        density : shape (bins,)
            Mean over each bin; its integral is 1 but for the tails.

        Raises
        ------
        ValueError
            If the scan is not of method "finite", the moment is not one of those, or the depth not recorded.
        """
        if self.method != "finite":
            raise ValueError(f'histogram needs a scan of method "finite"; this one is {self.method!r}.')
        if name not in GAUSSIAN_LAWS or name not in self.moments:
            known = ", ".join(law for law in GAUSSIAN_LAWS if law in self.moments)
            raise ValueError(f"histogram knows the law of {known}, not of {name!r}.")
        bins = whole("bins", bins)
        at = np.flatnonzero(self.depth == depth)
        curve = self.curve(name, loc)
        sigmas = np.zeros(self.depth.size) if curve.sigma is None else curve.sigma
        if not at.size or not sigmas[at[0]] > 0.0:
            depths = ", ".join(map(str, self.depth[sigmas > 0.0]))
            raise ValueError(f"depth must be one where {name} varies over nets ({depths}), not {depth!r}.")
        mean, sigma = curve.mean[at[0]], sigmas[at[0]]
        edges = mean + sigma * np.linspace(-4.0, 4.0, bins + 1)
        below = np.array([0.5 * math.erfc(-(edge - mean) / (sigma * math.sqrt(2.0))) for edge in edges])
        return edges, np.diff(below) / np.diff(edges)

    def station(self, path: str) -> StationMoments:
        """What was found behind the layer at a path, such as ``layers.3.branch.1``.

        Raises
        ------
        KeyError
            If no station was recorded there.
        """
        found = next((station for station in self.stations if station.path == path), None)
        if found is None:
            raise KeyError(f"no station at {path!r}; recorded are {', '.join(s.path for s in self.stations)}")
        return found

    def report(self) -> Report:
        """One row per layer in the order the signal meets them; `str` of it is a table."""
        return report(repr(self)[1:-1], self.stations, "\n".join(self.remarks()))

    def remarks(self) -> list[str]:
        """What is to be known of it beside its label, line by line: the budget, and where it is rough."""
        left = self.verdict.budget
        drawn = drawn_in_words(self.provenance)
        return [*(left.in_words() if left else ()), *filter(None, (self.uncertainty, drawn))]

    @property
    def uncertainty(self) -> str:
        """Where a scan that knows is least exact and by how much, in a sentence; else empty."""
        return in_words(self.provenance.get("most_uncertain"), finite=self.width is not None)

    def __repr__(self) -> str:
        """Name, method, size and label on one line."""
        label = self.verdict.label or "no verdict"
        label += f" (from the {self.verdict.source})" if self.verdict.source else ""
        return (
            f"<Scan of {self.architecture['name']}: {self.method}, {self.depth.size} depths to "
            f"{self.depth[-1]}, {self.data['points']} points, {label}>"
        )

    def rows(self) -> list[dict]:
        """One row per depth and station, with the moments taken there; what tables and CSV show."""
        table = []
        deviating = any(curve.sigma is not None for at in self.moments.values() for curve in at.values())
        for index, depth in enumerate(self.depth.tolist()):
            for loc in self.locs:
                row = {"depth": depth, "loc": loc}
                for name, at in self.moments.items():
                    curve = at.get(loc)
                    row[name] = None if curve is None else _number(curve.mean[index])
                    if deviating:
                        sigma = None if curve is None or curve.sigma is None else curve.sigma[index]
                        row[f"{name}_sigma"] = _number(sigma)
                table.append(row)
        return table

    def to_dataframe(self) -> pandas.DataFrame:
        """The rows as a pandas DataFrame, indexed by depth and station.

        Raises
        ------
        ImportError
            If pandas is not installed.
        """
        try:
            import pandas
        except ImportError:
            raise ImportError('to_dataframe needs pandas: pip install "fastmoments[dataframe]".') from None
        return pandas.DataFrame(self.rows()).set_index(["depth", "loc"])

    def to_dict(self) -> dict:
        """The scan in plain values, schema fastmoments.scan/2; None where a value is not finite."""
        return {
            "schema": SCHEMA,
            "architecture": self.architecture,
            "method": self.method,
            "width": self.width,
            "nets": self.nets,
            "data": self.data,
            "depth": self.depth.tolist(),
            "locs": list(self.locs),
            "moments": {
                name: {
                    loc: {
                        "mean": [_number(value) for value in curve.mean],
                        "sigma": None if curve.sigma is None else [_number(value) for value in curve.sigma],
                        **{
                            part: [_number(value) for value in values]
                            for part in ("error", "sigma_error")
                            if (values := getattr(curve, part)) is not None
                        },
                    }
                    for loc, curve in at.items()
                }
                for name, at in self.moments.items()
            },
            "stations": [station.to_dict() for station in self.stations],
            "verdict": self.verdict.to_dict(),
            "provenance": self.provenance,
        }


def _number(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else float(value)


def assembled(described: dict, stations: list[Station], depths: list[int]) -> Scan:
    """The scan that stations make, of a net and images in plain values (the fields of `Scan`)."""
    given = described["method"] == GIVEN  # which has no fresh weights
    if not given and described["method"] != MEASURED:  # which has measured it
        stations = with_jacobian(stations)
    depth, locs, moments = gather(stations, depths, described["nets"])
    provenance = dict(described["provenance"])
    if described["method"] == "infinite":
        provenance["layer_error"] = max(station.error for station in stations)
        drawn = [station.depth for station in stations if station.drawn]
        if drawn:
            provenance["drawn_error"] = max(station.drawn.get("log_chi", 0.0) for station in stations)
            units = {each.depth for each in stations if each.law == "drawn" and each.loc != "input"}
            provenance["drawn"] = EVERYWHERE if units >= set(depths) else SOMEWHERE
    checks = [row for station in stations for row in checked_rows(station)] if given else []
    if checks:
        provenance["check"] = checks
        provenance["closure_error"] = max(station.error for station in stations)
    uncertain = most_uncertain(stations)
    if uncertain is not None:
        provenance["most_uncertain"] = uncertain
    fields = {name: described[name] for name in ("architecture", "method", "width", "nets", "data")}
    table = tabulated(stations, described["nets"])
    verdict = judged(depth, moments, described["data"]["points"], table, described["data"])
    return Scan(
        **fields, depth=depth, locs=locs, moments=moments, verdict=verdict, provenance=provenance,
        stations=table,
    )  # fmt: skip


def checked_rows(station: Station) -> list[dict]:
    """Moments of a given net beside those of samples: relative errors and z-scores, in plain values."""
    rows = []
    for name, sampled in station.sampled.items():
        own, error = station.moments[name], station.drawn[name]
        relative = math.expm1(own - sampled) if name.startswith("log_") else own / sampled - 1.0
        z = (own - sampled) / error if error > 0.0 else math.nan
        rows.append(
            {
                "path": station.path,
                "loc": station.loc,
                "depth": station.depth,
                "moment": name.removeprefix("log_"),
                "relative": _number(relative),
                "z": _number(z),
            }
        )
    return rows


def judged(
    depth: np.ndarray, moments: Mapping[str, Mapping[str, Curve]], points: int,
    stations: tuple[StationMoments, ...] = (), data: Mapping[str, Any] = MappingProxyType({}),
) -> Verdict:  # fmt: skip
    """The verdict on gathered curves, and on a table of stations if there is one: `data` as of `Scan`."""
    nothing = np.full(depth.size, np.nan)

    def main(name: str) -> np.ndarray:
        at = moments.get(name, {})
        return main_curve(name, at).mean if at else nothing

    found = judge(depth, main("log_chi"), main("reff_signal"), rank_bound=points - 1)
    left = budget(stations, data.get("batch", data.get("images", 0)), data.get("classes"))
    if found.label is not None and uniform(stations):
        return replace(found, budget=left)
    return judge_budget(left, found.reff_last)


def uniform(stations: tuple[StationMoments, ...]) -> bool:
    """Whether all units are alike: the same named stations, of the same layers and sizes."""
    units: dict[int, set] = {}
    for row in stations:
        if row.depth and row.loc:
            units.setdefault(row.depth, set()).add((row.loc, row.layer, row.grid, row.channels))
    return all(unit == other for unit, other in pairwise(units.values()))
