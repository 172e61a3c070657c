"""Curves over depth, gathered from stations: one moment at one kind of station."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from ..engines.protocol import Station

#: Curves in the order of tables. The logarithms of the last three never overflow.
MOMENTS = (
    "nu1_abs_signal", "nu2_signal", "mu2_signal", "mu4_signal", "mu2_noise", "chi",
    "delta_chi", "delta_chi_bn", "delta_chi_phi", "reff_signal", "reff_noise",
    "log_nu2_signal", "log_mu2_noise", "log_chi",
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Curve:
    """One moment over depth at one station.

    Attributes
    ----------
    mean : float64, shape (depths,)
        Over random nets; the value itself for analytic engines. NaN where it is not known, Inf
        beyond float64.
    sigma : float64, shape (depths,), or None
        Standard deviation over random nets, sampled or of the finite-width theory.
    """

    mean: np.ndarray
    sigma: np.ndarray | None = None


def main_curve(name: str, at: Mapping[str, Curve]) -> Curve:
    """A moment where it is read if nothing else is said: at the main station of each unit.

    Units of a net may differ, so that not every one has that station; then it is the next in the order.
    """
    found, *others = (at[loc] for loc in main_locs(name, at))
    for other in others:
        missing = np.isnan(found.mean)
        if not missing.any():
            break
        sigma = found.sigma
        if sigma is not None and other.sigma is not None:
            sigma = np.where(missing, other.sigma, sigma)
        found = Curve(np.where(missing, other.mean, found.mean), sigma)
    return found


def main_loc(name: str, locs: Iterable[str]) -> str:
    """Where a moment is read if nothing else is said, among the stations that have it."""
    return main_locs(name, locs)[0]


def main_locs(name: str, locs: Iterable[str]) -> list[str]:
    """The stations that have a moment, the first to read it at first."""
    locs = tuple(locs)
    if name in ("nu1_abs_signal", "mu4_signal"):
        order = ("norm", "conv", "branch", "merge", "input", "act", "out")
    elif name.startswith("reff"):
        order = ("act", "out", "merge", "conv", "norm", "branch", "input")
    else:
        order = ("out", "merge", "act", "norm", "conv", "branch", "input")
    return [loc for loc in order if loc in locs]


def gather(
    stations: list[Station], depths: list[int], nets: int | None
) -> tuple[np.ndarray, tuple[str, ...], dict[str, dict[str, Curve]]]:
    """Curves from stations: of sampled nets their mean and standard deviation, of engines what they say.

    Returns
    -------
    depth : int64, shape (depths,)
    locs : tuple of str
    moments : dict of str to dict of str to Curve
    """
    named = [(station.loc, station) for station in stations if station.loc]
    locs = tuple(dict.fromkeys(loc for loc, _ in named))
    index = {depth: i for i, depth in enumerate(depths)}
    shape = (max((station.net for station in stations), default=0) + 1, len(depths))
    values: dict[str, dict[str, np.ndarray]] = {}
    sigmas: dict[str, dict[str, np.ndarray]] = {}
    for loc, station in named:
        for table, found in ((values, station.moments), (sigmas, station.sigmas)):
            for name, value in found.items():
                at = table.setdefault(name, {})
                at.setdefault(loc, np.full(shape, np.nan))[station.net, index[station.depth]] = value
    with np.errstate(over="ignore", invalid="ignore"):
        for name in [name for name in values if name.startswith("log_")]:
            linear = name.removeprefix("log_")
            values[linear] = {loc: np.exp(array) for loc, array in values[name].items()}
            if name in sigmas:
                values[linear], sigmas[linear] = _lognormal(values[name], sigmas[name])
    values.update(_increments(values.get("log_chi", {}), locs))
    moments = {}
    for name in MOMENTS:
        if name in values:
            at, over = values[name], sigmas.get(name, {})
            moments[name] = {loc: _curve(at[loc], nets, over.get(loc)) for loc in locs if loc in at}
    return np.array(depths, dtype=np.int64), locs, moments


def _lognormal(means: dict, sigmas: dict) -> tuple[dict, dict]:
    """Mean and deviation of variables whose logarithms are Gaussian."""
    linear, deviations = {}, {}
    for loc, mean in means.items():
        variance = sigmas[loc] ** 2
        linear[loc] = np.exp(mean + 0.5 * variance)
        deviations[loc] = linear[loc] * np.sqrt(np.expm1(variance))
    return linear, deviations


def _increments(log_chi: dict[str, np.ndarray], locs: tuple[str, ...]) -> dict:
    """Growth of chi over the first layer of a unit, and its parts up to and behind batch norm."""
    inside = [loc for loc in locs if loc not in ("input", "branch", "merge", "out")]
    if not inside or "input" not in log_chi:
        return {}
    end = inside[-1]
    with np.errstate(over="ignore"):
        parts = {"delta_chi": {end: np.exp(log_chi[end] - log_chi["input"])}}
        if "norm" in inside:
            parts["delta_chi_bn"] = {"norm": np.exp(log_chi["norm"] - log_chi["input"])}
            parts["delta_chi_phi"] = {end: np.exp(log_chi[end] - log_chi["norm"])}
        elif "act" in inside:
            parts["delta_chi_phi"] = {end: parts["delta_chi"][end]}
    return parts


def _curve(values: np.ndarray, nets: int | None, sigma: np.ndarray | None = None) -> Curve:
    if nets is None:
        return Curve(values[0], None if sigma is None else sigma[0])
    with np.errstate(invalid="ignore", over="ignore"):
        sigma = values.std(axis=0, ddof=1) if nets > 1 else np.full(values.shape[1], np.nan)
        return Curve(values.mean(axis=0), sigma)
