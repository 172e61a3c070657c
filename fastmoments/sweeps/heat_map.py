"""The heat map of a sweep: one result over two swept parameters, a panel for each value of the others."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from ..plots.scans import BLACK, GREY, HEALTH, LARGEST_LOG, _page, _ticks
from ..scans.verdict import EXPLODING, ONE_DIMENSIONAL, WELL_BEHAVED
from .grid import TEXTS, Plain, columns

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.colors import Normalize
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage

#: Panels that fit on a page.
PANELS = 12

#: Numbers stand in the cells of panels with at most so many columns and rows.
NUMBERED = 10

#: How a verdict is marked in a cell.
MARKERS = {WELL_BEHAVED: "o", ONE_DIMENSIONAL: "s", EXPLODING: "^"}

#: Results by the symbols of the other figures.
SYMBOLS = {
    "chi": r"$\chi$", "delta_chi": r"$\delta\chi$", "delta_chi_bn": r"$\delta_{\mathrm{BN}}\,\chi$",
    "delta_chi_phi": r"$\delta_\phi\,\chi$", "reff_signal": r"$r_{\mathrm{eff}}$ of the signal",
    "reff_noise": r"$r_{\mathrm{eff}}$ of the noise", "mu4_signal": r"$\mu_4$", "nu1_abs_signal": r"$\nu_1$",
    "nu2_signal": r"$\nu_2$", "mu2_signal": r"$\mu_2$", "mu2_noise": r"$\mu_2$ of the noise",
    "log_chi": r"$\ln\chi$",
}  # fmt: skip

# From this ratio of the largest to the smallest on, colours are logarithmic, as they always are for chi.
_WIDE = 100.0


class Table(Protocol):
    """What is drawn of a sweep: `sweeping.Sweep` has it."""

    @property
    def grid(self) -> dict[str, list]: ...  # noqa: D102
    @property
    def rows(self) -> list[dict]: ...  # noqa: D102
    def __len__(self) -> int: ...


def axes_of(lists: dict[str, list], x: str | None, y: str | None, color: str) -> tuple[str, str]:
    """Choose and check the axes of a heat map; by default the parameters with the most values.

    Raises
    ------
    ValueError
        In one sentence, if a name is no swept parameter or no result, or there would be more than
        `PANELS` panels.
    """
    swept = {name: len(values) for name, values in lists.items() if len(values) > 1}
    if len(swept) < 2:
        raise ValueError("A heat map takes two parameters with several values each; the grid has fewer.")
    for name in (x, y):
        if name is not None and name not in swept:
            raise ValueError(f"{name!r} is no axis of a heat map: swept are {', '.join(swept)}.")
    if x is not None and x == y:
        raise ValueError(f"x and y are both {x!r}; a heat map takes two different parameters.")
    free = [name for name in swept if name not in (x, y)]
    free.sort(key=lambda name: (name == "family", -swept[name]))  # a family rather has a panel
    x = free.pop(0) if x is None else x
    y = free.pop(0) if y is None else y
    results = [name for name in columns(lists) if name not in (*lists, *TEXTS)]
    if color not in results:
        raise ValueError(f"color must be one of {', '.join(results)}, not {color!r}.")
    panels = math.prod(swept[name] for name in free)
    if panels > PANELS:
        over = " and ".join(free)
        raise ValueError(f"The heat map would have {panels} panels, over {over}; sweep at most {PANELS}.")
    return x, y


def plot_sweep(sweep: Table, x: str | None = None, y: str | None = None, color: str = "chi") -> Figure:
    """Draw a result of a sweep as a heat map.

    The other swept parameters have a panel for each of their values. Every cell has a mark for its
    verdict, and its number where there is room; a scan that failed, or has no such result, is hatched.
    Colours are logarithmic for chi and for whatever spans two decades; beyond float64 they show log10.

    Parameters
    ----------
    sweep : sweeping.Sweep
    x, y : str, optional
        Swept parameters; by default those with the most values.
    color : str
        The result.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    ValueError
        As `axes_of`, or if no scan has the result.
    """
    x, y = axes_of(sweep.grid, x, y, color)
    others = [name for name, values in sweep.grid.items() if len(values) > 1 and name not in (x, y)]
    across, up = _distinct(sweep.rows, x), _distinct(sweep.rows, y)
    panels: dict[tuple, list[dict]] = {}
    for row in sweep.rows:
        panels.setdefault(tuple(row[name] for name in others), []).append(row)
    values, log, label = _scaled(sweep.rows, color)

    width, height = max(2.9, 0.62 * len(across) + 1.0), max(2.2, 0.42 * len(up) + 1.0)
    width, height = min(width, 9.0), min(height, 6.0)
    shape = _arranged(len(panels), width)
    # Room for the heading, for the colours, and below for the marks.
    facts = _facts(sweep)
    size = max(shape[1] * width + 1.2, 0.6 + 0.075 * len("  .  ".join(facts))), shape[0] * height + 1.5
    with _page(*size, f"{color} over {x} and {y}", facts) as figure:
        grid = figure.subplots(*shape, squeeze=False)
        finite = [value for value in values.values() if value is not None]
        norm = _norm(min(finite), max(finite), log)
        for index, (axes, (fixed, rows)) in enumerate(zip(grid.flat, panels.items(), strict=False)):
            cells = np.full((len(up), len(across)), np.nan)
            verdicts = {}
            for row in rows:
                at = up.index(row[y]), across.index(row[x])
                cells[at] = np.nan if values[id(row)] is None else values[id(row)]
                verdicts[at] = row["verdict"]
            words = ", ".join(f"{name} {_text(value)}" for name, value in zip(others, fixed, strict=True))
            image = _panel(axes, cells, verdicts, norm, words)
            _label(axes.xaxis, x, across, outer=index + shape[1] >= len(panels))
            _label(axes.yaxis, y, up, outer=index % shape[1] == 0)
        for axes in list(grid.flat)[len(panels) :]:
            axes.set_axis_off()
        bar = figure.colorbar(image, ax=list(grid.flat), label=label, pad=0.02, aspect=20 * shape[0])
        _ticks(bar.ax.yaxis)
        _legend(figure, {row["verdict"] for row in sweep.rows} - {None})
    return figure


def _distinct(rows: list[dict], name: str) -> list:
    return list(dict.fromkeys(row[name] for row in rows))


def _arranged(panels: int, width: float) -> tuple[int, int]:
    """Rows and columns of panels, as many beside each other as the page takes."""
    most = max(1, int(11.0 / width))
    rows = math.ceil(panels / most)
    return rows, math.ceil(panels / rows)


def _scaled(rows: list[dict], color: str) -> tuple[dict[int, float | None], bool, str]:
    """The result of each row by its id, whether its colours are logarithmic, and what they are called."""
    label, log_name = SYMBOLS.get(color, color), f"log_{color}"
    values = {id(row): row.get(color) for row in rows}
    if log_name in rows[0]:
        logs = {id(row): row[log_name] for row in rows}
        finite = [value for value in logs.values() if value is not None]
        if any(abs(value) > LARGEST_LOG for value in finite):
            tens = {name: value if value is None else value / math.log(10.0) for name, value in logs.items()}
            return tens, False, rf"$\log_{{10}}$ {label}"
    finite = [value for value in values.values() if value is not None]
    if not finite:
        raise ValueError(f"No scan of this sweep has the result {color}: there is nothing to draw.")
    positive = min(finite) > 0.0
    return values, positive and (color == "chi" or max(finite) >= _WIDE * min(finite)), label


def _norm(low: float, high: float, log: bool) -> Normalize:
    """Colours from the smallest value to the largest, also if they are the same."""
    from matplotlib.colors import LogNorm, Normalize

    if log:
        return LogNorm(low / 1.05, high * 1.05) if high < 1.05 * low else LogNorm(low, high)
    margin = 0.05 * (abs(low) or 1.0) if high - low <= 1e-12 * abs(high) else 0.0
    return Normalize(low - margin, high + margin)


def _panel(
    axes: Axes, cells: np.ndarray, verdicts: Mapping[tuple[int, int], str | None], norm: Normalize, words: str
) -> AxesImage:
    """Draw one panel: colours, marks, and numbers if they fit; return what the colour bar needs."""
    axes.grid(False)
    axes.patch.set(facecolor="#F4F4F4", hatch="////", edgecolor="#BBBBBB")
    image = axes.imshow(cells, origin="lower", aspect="auto", norm=norm, cmap="viridis")
    axes.set_title(words, parse_math=False)
    rows, columns = cells.shape
    numbered = columns <= NUMBERED and rows <= NUMBERED
    for verdict, marker in MARKERS.items():
        at = [place for place, found in verdicts.items() if found == verdict]
        if at:
            down, right = np.array(at, float).T
            size = 34.0 if numbered else max(4.0, 34.0 * min(1.0, NUMBERED / columns, NUMBERED / rows))
            lift = 0.24 if numbered else 0.0
            look: dict[str, Any] = {
                "marker": marker,
                "facecolor": HEALTH[verdict],
                "edgecolor": "white",
                "linewidth": 0.9,
            }
            axes.scatter(right, down + lift, size, **look)
    for (row, column), value in np.ndenumerate(cells) if numbered else ():
        if math.isfinite(value):
            red, green, blue, _ = image.cmap(norm(value))
            dark = 0.299 * red + 0.587 * green + 0.114 * blue < 0.55
            style: dict[str, Any] = {
                "color": "white" if dark else BLACK,
                "size": 8,
                "ha": "center",
                "va": "center",
            }
            axes.text(column, row - 0.16, f"{value:.3g}", **style)
    axes.set(xlim=(-0.5, columns - 0.5), ylim=(-0.5, rows - 0.5))
    return image


def _label(axis: Axis, name: str, values: Sequence[Plain], *, outer: bool) -> None:
    """The values of a parameter along an outer axis, thinned out where they would not fit."""
    places = range(0, len(values), math.ceil(len(values) / 14))
    texts = [f"{value:.3g}" if isinstance(value, float) else _text(value) for value in values]
    if len(set(texts)) < len(texts):  # three digits do not tell them apart
        texts = [_text(value) for value in values]
    axis.set_ticks(places, [texts[place] if outer else "" for place in places])
    axis.set_label_text(name if outer else "")


def _text(value: Plain) -> str:
    if value is None:
        return "none"
    if isinstance(value, float):
        return f"{value:g}"
    return str(value).rsplit("/", 1)[-1]


def _facts(sweep: Table) -> list[str]:
    """How many scans, and what they have in common."""
    shown = ("family", "depth", "kernel_size", "padding", "epsilon", "source", "count", "method", "width")
    single = {name: sweep.grid[name][0] for name in shown if len(sweep.grid[name]) == 1}
    common = [f"{name} {_text(value)}" for name, value in single.items() if value is not None]
    return [f"{len(sweep)} scans", *common]


def _legend(figure: Figure, verdicts: set[str]) -> None:
    """What the marks mean, below the panels."""
    from matplotlib.lines import Line2D

    handles = []
    for verdict, marker in MARKERS.items():
        if verdict in verdicts:
            look: dict[str, Any] = {
                "marker": marker,
                "markerfacecolor": HEALTH[verdict],
                "markeredgecolor": GREY,
            }
            handles.append(Line2D([], [], linestyle="", markersize=7, label=verdict, **look))
    if handles:
        figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), frameon=False)
