"""The signal propagation plot of residual nets: means and variances of channels, unit by unit."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from ..scans.curves import main_curve
from ..scans.results import Scan
from .scans import BLUE, ORANGE, VERMILION, _facts, _page, _ticks
from .stages import shade, stages

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: Below this share of the second moment, the difference that a squared mean is has been lost to rounding.
_ROUNDING = 1e-9
#: Least ratio of the ends of an axis, so that what is constant looks so.
_RANGE = 4.0


def plot_propagation(scan: Scan) -> Figure:
    """Draw how scale and offset of the signal go from unit to unit: three means over channels.

    The squared mean of a channel over the points, nu2 - mu2, and its variance, mu2, at the end of each unit
    (of a residual one at the merge); and the variance at the end of its residual branch. Where channels have
    the mean 0 there is a gap. Source of the plot: Brock, De and Smith, ICLR 2021.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    ValueError
        If the scan has not taken these moments.
    """
    if not {"nu2_signal", "mu2_signal"} <= set(scan.moments):
        raise ValueError("This scan has no nu2 and mu2 of the signal, of which the plot is made.")
    second, variance = (_at(scan, name, "merge") for name in ("nu2_signal", "mu2_signal"))
    with np.errstate(invalid="ignore"):
        squared = np.where(second - variance > _ROUNDING * second, second - variance, np.nan)
    branch = _at(scan, "mu2_signal", "branch", instead=False)
    curves = [
        ("squared mean", squared, BLUE), ("variance", variance, VERMILION),
        ("variance of\nthe branch", branch, ORANGE),
    ]  # fmt: skip
    curves = [each for each in curves if np.any(np.isfinite(each[1]) & (each[1] > 0.0))]
    facts = [*_facts(scan), "means over channels"]
    with _page(10, 2.2 * len(curves) + 1.6, scan.architecture["name"], facts) as figure:
        panels = list(figure.subplots(len(curves), 1, sharex=True, squeeze=False)[:, 0])
        for axes, (name, values, colour) in zip(panels, curves, strict=True):
            shown = np.where(np.isfinite(values) & (values > 0.0), values, np.nan)
            marker = "o" if np.isfinite(shown).sum() < 60 else ""
            axes.set_yscale("log")
            axes.plot(scan.depth, shown, color=colour, marker=marker)
            low, high = np.nanmin(shown), np.nanmax(shown)
            widened = max(1.0, math.sqrt(_RANGE * low / high))
            axes.set_ylim(low / (1.1 * widened), high * 1.1 * widened)
            axes.set_ylabel(name)
            _ticks(axes.yaxis)
        figure.align_ylabels(panels)
        panels[-1].set_xlabel("unit of depth")
        panels[0].set_xlim(scan.depth[0] - 0.5, scan.depth[-1] + 0.5)
        _ticks(panels[-1].xaxis, integer=True)
        found = [stage for stage in stages(scan) if stage.last]
        shade(panels, [(max(stage.first, 1) - 0.5, stage.last + 0.5, stage) for stage in found])
    return figure


def _at(scan: Scan, name: str, loc: str, instead: bool = True) -> np.ndarray:
    """A moment at a station, where a unit has none at its main one; or not at all."""
    own, nothing = scan.moments[name].get(loc), np.full(scan.depth.size, np.nan)
    found = nothing if own is None else own.mean
    if not instead:
        return found
    return np.where(np.isnan(found), main_curve(name, dict(scan.moments[name])).mean, found)
