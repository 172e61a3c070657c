"""The figure of a search: the end of the curve over the parameter, and where it crosses its target."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..plots.scans import BLUE, DASHED, GREY, VERMILION, Look, _page

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from .finding import Found

#: From this ratio of the ends of an axis on it is logarithmic.
LOGARITHMIC = 8.0


def plot_search(found: Found) -> Figure:
    """Draw every scan of a search, the target dashed, the value that was found marked.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    """
    name = found.scan.architecture["name"]
    said = f"{found.curve} ends at {found.reached:.4g} for {found.parameter} = {found.value:.6g}"
    with _page(7.0, 4.6, name, [said, f"{len(found.trace)} scans"]) as figure:
        axes = figure.add_subplot()
        values, ends = zip(*sorted(found.trace), strict=True)
        low, high = values[0], values[-1]
        axes.set_xscale("log" if low > 0 and high / low >= LOGARITHMIC else "linear")
        axes.set_yscale("log" if min(ends) > 0 and max(ends) / min(ends) >= LOGARITHMIC else "linear")
        axes.plot(values, ends, color=BLUE, marker="o", label="scans")
        axes.axhline(found.target, color=GREY, label=f"{found.curve} = {found.target:g}", **DASHED)
        mark: Look = {"color": VERMILION, "marker": "D", "markersize": 8, "linestyle": "", "zorder": 3}
        axes.plot([found.value], [found.reached], label=f"{found.value:.6g}", **mark)
        axes.set(xlabel=found.parameter, ylabel=f"{found.curve} at the last depth")
        axes.legend()
    return figure
