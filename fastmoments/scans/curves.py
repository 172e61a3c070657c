"""Curves over depth, gathered from stations: one moment at one kind of station."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields

import numpy as np

from ..engines.protocol import Station

#: Curves in the order of tables. The logarithms, the last four, never overflow.
MOMENTS = (
    "nu1_abs_signal", "nu2_signal", "mu2_signal", "mu4_signal", "mu2_noise", "chi",
    "delta_chi", "delta_chi_bn", "delta_chi_phi", "reff_signal", "reff_noise", "jacobian",
    "log_nu2_signal", "log_mu2_noise", "log_chi", "log_jacobian",
)  # fmt: skip
#: Those that count from the end of a net, where they are 1: what they tell of it stands at its beginning.
BACKWARD = ("jacobian", "log_jacobian")


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
    error, sigma_error : float64, shape (depths,), or None
        Estimated errors of mean and deviation, in the units of the curve, where an engine has some: at finite
        width the size of what the next order of its expansion adds. Growths of chi have none.
    """

    mean: np.ndarray
    sigma: np.ndarray | None = None
    error: np.ndarray | None = None
    sigma_error: np.ndarray | None = None


def main_curve(name: str, at: Mapping[str, Curve]) -> Curve:
    """A moment where it is read if nothing else is said: at the main station of each unit.

    Units of a net may differ, so that not every one has that station; then it is the next in the order.
    """
    found, *others = (at[loc] for loc in main_locs(name, at))
    for other in others:
        missing = np.isnan(found.mean)
        if not missing.any():
            break
        pairs = ((getattr(found, each.name), getattr(other, each.name)) for each in fields(Curve))
        found = Curve(*(a if a is None or b is None else np.where(missing, b, a) for a, b in pairs))
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
    values, sigmas, errors, sigma_errors = tables = [dict[str, dict[str, np.ndarray]]() for _ in range(4)]
    for loc, station in named:
        parts = (station.moments, station.sigmas, station.errors, station.sigma_errors)
        for table, found in zip(tables, parts, strict=True):
            for name, value in found.items():
                at = table.setdefault(name, {})
                at.setdefault(loc, np.full(shape, np.nan))[station.net, index[station.depth]] = value
    with np.errstate(over="ignore", invalid="ignore"):
        for name in [name for name in values if name.startswith("log_")]:
            linear = name.removeprefix("log_")
            values[linear] = {loc: np.exp(array) for loc, array in values[name].items()}
            if name in sigmas:
                values[linear], sigmas[linear] = _lognormal(values[name], sigmas[name])
            if name in errors and name not in sigmas:
                errors[linear] = {loc: values[linear][loc] * np.expm1(e) for loc, e in errors[name].items()}
            elif name in errors:
                of_log = values[name], sigmas[name], errors[name], sigma_errors[name]
                errors[linear], sigma_errors[linear] = _lognormal_errors(*of_log)
    values.update(_increments(values.get("log_chi", {}), locs))
    moments = {}
    for name in MOMENTS:
        if name in values:
            at = values[name]
            over = [table.get(name, {}) for table in tables[1:]]
            moments[name] = {
                loc: _curve(at[loc], nets, *(table.get(loc) for table in over)) for loc in locs if loc in at
            }
    return np.array(depths, dtype=np.int64), locs, moments


def _lognormal(means: dict, sigmas: dict) -> tuple[dict, dict]:
    """Mean and deviation of variables whose logarithms are Gaussian."""
    linear, deviations = {}, {}
    for loc, mean in means.items():
        variance = sigmas[loc] ** 2
        linear[loc] = np.exp(mean + 0.5 * variance)
        deviations[loc] = linear[loc] * np.sqrt(np.expm1(variance))
    return linear, deviations


def _lognormal_errors(means: dict, sigmas: dict, errors: dict, sigma_errors: dict) -> tuple[dict, dict]:
    """Errors of mean and deviation of variables whose logarithms are Gaussian.

    By the errors of m and of the deviation sqrt V, of the logarithms of the mean, m + V / 2, and of the
    deviation, m + V / 2 + log(e^V - 1) / 2.
    """
    of_mean, of_deviation = {}, {}
    linear, deviations = _lognormal(means, sigmas)
    for loc, sigma in sigmas.items():
        shift = errors[loc] + sigma * sigma_errors[loc]
        variance = sigma**2
        ratio = np.where(variance > 0.0, sigma / -np.expm1(-np.maximum(variance, 1e-300)), 0.0)
        of_mean[loc] = linear[loc] * np.expm1(shift)
        of_deviation[loc] = deviations[loc] * np.expm1(shift + ratio * sigma_errors[loc])
    return of_mean, of_deviation


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


def _curve(values: np.ndarray, nets: int | None, *others: np.ndarray | None) -> Curve:
    """A curve from its values over nets; of analytic engines also what else `Curve` holds."""
    if nets is None:
        return Curve(values[0], *(None if other is None else other[0] for other in others))
    with np.errstate(invalid="ignore", over="ignore"):
        sigma = values.std(axis=0, ddof=1) if nets > 1 else np.full(values.shape[1], np.nan)
        return Curve(values.mean(axis=0), sigma)
