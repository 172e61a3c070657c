"""Stages of a net on an axis: shaded bands with their names above."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..scans.budget import Change
from ..scans.results import Scan
from .scans import GREY, Look

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BAND = "#F3F1EA"
#: Share of an axis that a name, and a name with a size below it, take at least.
_NAME, _SIZE = 0.045, 0.115


def stages(scan: Scan) -> tuple[Change, ...]:
    """The stages of a scan; none where its budget is not known, or it has but one."""
    found = scan.verdict.budget.stages if scan.verdict.budget is not None else ()
    return found if len(found) > 1 else ()


def shade(panels: Sequence[Axes], bands: Sequence[tuple[float, float, Change]]) -> None:
    """Shade every second band in all panels that stand below each other, and name all above the first.

    Parameters
    ----------
    panels : sequence of Axes
        With their limits.
    bands : sequence of (start, end, stage)
        In units of the axis.
    """
    low, high = panels[0].get_xlim()
    for index, (start, end, stage) in enumerate(bands):
        for axes in panels:
            if index % 2 == 0:
                axes.axvspan(start, end, color=BAND, linewidth=0, zorder=0)
        share = (end - start) / (high - low)
        size = stage.what.replace(" channels", " ch.").replace(", ", "\n")
        words = f"{stage.where}\n{size}" if share > _SIZE else stage.where
        look: Look = {"ha": "center", "va": "bottom", "color": GREY, "size": 8, "linespacing": 1.1}
        panels[0].annotate(
            words, (0.5 * (start + end), 1.0), (0, 3), xycoords=panels[0].get_xaxis_transform(),
            textcoords="offset points", rotation=0 if share > _NAME else 90, **look,
        )  # fmt: skip
