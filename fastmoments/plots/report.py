"""The report of a scan as a figure: layers along x, and what each did to signal, noise and gradients."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import numpy as np

from ..nets.layers import passed_by_all
from ..scans.budget import Change
from ..scans.results import Scan
from .scans import (
    BLACK,
    BLUE,
    DASHED,
    GREEN,
    GREY,
    HEALTH,
    NO_LABEL,
    ORANGE,
    VERMILION,
    Look,
    _facts,
    _page,
    _ticks,
)
from .stages import shade, stages

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def plot_report(scan: Scan) -> Figure:
    """Draw what `Scan.report` tabulates, layer by layer: signal-to-noise ratio, effective ranks, gradients.

    Layers stand in the order in which the signal meets them. Lines run through what all of the signal passes;
    dots beside them are inside units that branch. Stages are shaded, and what lost most is marked.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    ValueError
        If the scan has no stations, as those read from files of the first schema.
    """
    rows = scan.stations
    if not rows:
        raise ValueError("This scan has no stations, of which a report is made; scan the net again.")
    whole = np.array([passed_by_all(row.path) for row in rows])
    index, label = np.arange(len(rows)), scan.verdict.label
    with _page(11, 8.4, scan.architecture["name"], _facts(scan)) as figure:
        words: Look = {"size": 15, "weight": "bold", "color": HEALTH[label], "ha": "right", "va": "top"}
        figure.text(0.98, 0.976, label or NO_LABEL, **words)
        figure.get_layout_engine().set(w_pad=0.25)  # type: ignore[union-attr,call-arg]  # constrained
        panels = list(figure.subplots(3, 1, sharex=True, height_ratios=(1.25, 1, 1)))
        snr, ranks, gradients = panels
        _line(snr, index, [row.snr_db for row in rows], whole, {"color": BLACK, "label": "all of the signal"})
        _line(
            snr, index, [row.snr_db for row in rows], ~whole,
            {"color": GREY, "linestyle": "", "marker": ".", "label": "inside units"},
        )  # fmt: skip
        _worst(snr, scan)
        snr.set_ylabel("SNR relative to\nthe images / dB")
        for name, colour in (("signal", BLUE), ("noise", ORANGE)):
            values = [row.mean.get(f"reff_{name}") for row in rows]
            _line(
                ranks,
                index,
                values,
                np.ones(len(rows), bool),
                {"color": colour, "label": name, "marker": "o"},
            )
        ranks.set(ylabel="effective rank", yscale="log")
        _wanted(ranks, scan)
        grown = [row.gradient_db for row in rows]
        _line(gradients, index, grown, whole, {"color": GREEN, "marker": "o", "markersize": 3})
        gradients.axhline(0.0, color=GREY, **DASHED)
        gradients.set(
            ylabel="mean square of gradients\nrelative to the output / dB",
            xlabel="layer, in the order in which the signal meets them",
        )
        for axes in panels:
            if axes.get_legend_handles_labels()[0]:
                axes.legend(loc="best", ncols=3, fontsize=9)
            if not axes.lines:
                axes.text(0.5, 0.5, "not taken", color=GREY, ha="center", transform=axes.transAxes)
        if ranks.lines:
            _ticks(ranks.yaxis)
        figure.align_ylabels(panels)
        snr.set_xlim(-0.5, len(rows) - 0.5)
        shade(panels, list(_bands(scan)))
        figure.draw_without_rendering()  # a second layout, for ticks that the first one has moved
    return figure


def _line(
    axes: Axes, index: np.ndarray, values: Iterable[float | None], where: np.ndarray, look: Look
) -> None:
    """Draw what is known of some of the values."""
    found = np.array([np.nan if value is None else value for value in values], float)
    shown = where & np.isfinite(found)
    if shown.any():
        axes.plot(index[shown], found[shown], **look)


def _worst(axes: Axes, scan: Scan) -> None:
    """Mark the layers that lost most."""
    if scan.verdict.budget is None:
        return
    paths = {row.path: (number, row.snr_db) for number, row in enumerate(scan.stations)}
    found = [paths[each.where] for each in scan.verdict.budget.layers if each.where in paths]
    if found:
        look: Look = {"color": VERMILION, "linestyle": "", "marker": "v", "markersize": 7}
        axes.plot(*zip(*found, strict=True), **look, label="layers that lost most")


def _wanted(axes: Axes, scan: Scan) -> None:
    """Draw how many directions the classes want, if the axis has them."""
    classes = scan.data.get("classes")
    if classes is not None and axes.lines and 1 < classes - 1 <= 2.0 * axes.get_ylim()[1]:
        axes.axhline(classes - 1, color=GREY, **DASHED)
        place: Look = {"xycoords": axes.get_yaxis_transform(), "textcoords": "offset points"}
        words = f"{classes} classes want {classes - 1}"
        box: Look = {"facecolor": "white", "edgecolor": "none", "alpha": 0.85, "pad": 1.0}
        axes.annotate(words, (0.005, classes - 1), (0, 4), color=GREY, size=8.5, bbox=box, **place)


def _bands(scan: Scan) -> Iterator[tuple[float, float, Change]]:
    """Where stages begin and end among the layers."""
    for stage in stages(scan):
        inside = [
            number for number, row in enumerate(scan.stations) if stage.first <= row.depth <= stage.last
        ]
        yield min(inside) - 0.5, max(inside) + 0.5, stage
