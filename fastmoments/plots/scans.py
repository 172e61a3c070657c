"""Figures: the four panels of one scan, several scans side by side, and their files.

Figures are objects of their own: no pyplot, no window, no LaTeX, and a style that neither reads nor
changes the user's rcParams.
"""

from __future__ import annotations

import io
import math
import os
import textwrap
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ..scans.curves import Curve, main_curve, main_loc
from ..scans.files import checked_ending
from ..scans.results import Scan
from ..scans.verdict import EXPLODING, ONE_DIMENSIONAL, WELL_BEHAVED, Verdict
from ..scans.writing import write_atomically

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

#: Keywords of what is drawn, as matplotlib takes them.
Look = dict[str, Any]

# What figures are saved as, and the metadata that would make two savings differ.
FORMATS = {".png": {"Software": None}, ".pdf": {"CreationDate": None}, ".svg": {"Date": None}}

# Beyond this |log chi| the axis shows log10 chi: powers of ten no longer fit float64.
LARGEST_LOG = 300.0

# The colours of Okabe and Ito, which colour-blind readers can tell apart.
BLUE, SKY, GREEN, VERMILION = "#0072B2", "#56B4E9", "#009E73", "#D55E00"
PURPLE, ORANGE, BLACK, GREY = "#CC79A7", "#E69F00", "#000000", "#666666"
FAMILY_COLOURS = {"vanilla": BLUE, "residual": SKY, "bn_ff": VERMILION, "bn_res": GREEN}
HEALTH = {WELL_BEHAVED: GREEN, ONE_DIMENSIONAL: BLUE, EXPLODING: VERMILION, None: GREY}
NO_LABEL = "no verdict"

# The axes that both pages have, and a scan's curves on them. A level is dashed: a value, what it means, and
# the share of the panel left for these words, below the value or, if negative, above it.
GROWTH: Look = {"label": r"$\delta\chi$", "level": (1.0, "no growth", 0.1)}
RANK: Look = {"label": r"$r_{\mathrm{eff}}$", "level": (1.0, "a single direction", 0.1), "log_y": True}
GROWTH_CURVES: dict[str, Look] = {
    "delta_chi": {"label": r"$\delta\chi$", "color": BLACK, "linewidth": 2.8},
    "delta_chi_bn": {"label": r"$\delta_{\mathrm{BN}}\,\chi$: batch norm", "color": ORANGE},
    "delta_chi_phi": {"label": r"$\delta_\phi\,\chi$: activation", "color": SKY, "linestyle": (0, (4, 2))},
}
RANK_CURVES: dict[str, Look] = {
    "reff_signal": {"label": "signal", "color": BLUE},
    "reff_noise": {"label": "noise", "color": ORANGE},
}
DASHED: Look = {"linewidth": 1.0, "linestyle": (0, (4, 3))}

STYLE = {
    "font.size": 10, "axes.titlesize": 10.5, "axes.titlelocation": "left", "axes.titlepad": 8,
    "axes.spines.top": False, "axes.spines.right": False, "axes.edgecolor": GREY, "axes.axisbelow": True,
    "axes.grid": True, "grid.color": "#E8E8E8", "axes.xmargin": 0.03, "axes.ymargin": 0.07,
    "xtick.labelsize": 9, "ytick.labelsize": 9, "xtick.minor.size": 0, "ytick.minor.size": 0,
    "lines.linewidth": 1.9, "lines.markersize": 4.5, "legend.edgecolor": "none", "legend.framealpha": 0.85,
    "figure.constrained_layout.h_pad": 0.1, "figure.constrained_layout.w_pad": 0.12,
    "svg.hashsalt": "fastmoments", "pdf.fonttype": 42,
}  # fmt: skip


def plot_scan(scan: Scan) -> Figure:
    """Draw the four panels of one scan: growth per layer, sensitivity, effective ranks, shape.

    A curve that was not taken is left out; one-sigma bands over random nets stand where the scan knows
    them. Depth is logarithmic for a sensitivity whose law is a power, and what leaves float64 is drawn
    as log10 chi. The shape is that of the signal behind batch norm; in nets without it the scale is
    free, so mu4 and nu1 are divided by the powers of mu2 and nu2 that take it out.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    """
    label = scan.verdict.label
    with _page(10, 7.6, scan.architecture["name"], _facts(scan)) as figure:
        words: Look = {"size": 15, "weight": "bold", "color": HEALTH[label], "ha": "right", "va": "top"}
        figure.text(0.98, 0.974, label or NO_LABEL, **words)
        grid = figure.add_gridspec(2, 2)
        growth, sensitivity, ranks = (figure.add_subplot(grid[at]) for at in ((0, 0), (0, 1), (1, 0)))
        curves = [(scan, name, look) for name, look in GROWTH_CURVES.items()]
        _panel(growth, curves, "(a)  Growth of sensitivity in one layer", legend=True, **GROWTH)
        _sensitivity(sensitivity, scan, "(b)  Sensitivity to noise, relative to the images")
        curves = [(scan, name, look) for name, look in RANK_CURVES.items()]
        _panel(ranks, curves, "(c)  Effective rank", legend=True, **RANK)
        upper, lower = grid[1, 1].subgridspec(2, 1).subplots(sharex=True, squeeze=False)[:, 0]
        _shape(upper, lower, scan, "(d)  Shape of the signal")
    return figure


def plot_compare(scans: Iterable[Scan]) -> Figure:
    """Draw several scans on one page, usually of the four families: cards with verdicts, and the curves.

    Sensitivity is drawn twice: over linear depth an exponential is a straight line, over logarithmic
    depth a power law is one. Shaded are the curves that show a pathology. Where depths differ, the curves
    stand over their share of the depth.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    ValueError
        If there is no scan.
    """
    scans = list(scans)
    if not scans:
        raise ValueError("There is nothing to compare: give at least one scan.")
    facts, looks = [_facts(scan) for scan in scans], _looks(scans)
    over = "depth"
    if len({scan.depth[-1] for scan in scans}) > 1:
        over = "share of the depth"
        scans = [replace(scan, depth=scan.depth / max(scan.depth[-1], 1)) for scan in scans]
    common = [fact for fact in facts[0] if all(fact in other for other in facts)]
    rows, columns = math.ceil(len(scans) / 4), min(len(scans), 4)

    def drawn(name: str) -> list[tuple[Scan, str, Look]]:
        return [(scan, name, look) for scan, look in zip(scans, looks, strict=True)]

    with _page(12, 7.3 + 1.3 * rows, "Signal and noise through random nets", common) as figure:
        page = figure.add_gridspec(2, 1, height_ratios=(1.3 * rows, 6.5))
        cards, grid = page[0].subgridspec(rows, columns), page[1].subgridspec(2, 3)
        for index, scan in enumerate(scans):
            own = [fact for fact in facts[index] if fact not in common]
            _card(figure.add_subplot(cards[divmod(index, columns)]), scan, own, looks[index])
        places = ((0, 0), (0, 1), (0, 2), (1, slice(2)), (1, 2))
        linear, logarithmic, growth, signal, noise = (figure.add_subplot(grid[at]) for at in places)
        name, axis = _chi(scans)
        axis, growths, rank = ({**each, "over": over} for each in (axis, GROWTH, RANK))
        _panel(linear, drawn(name), "Sensitivity: an exponential is straight", shade=EXPLODING, **axis)
        _panel(logarithmic, drawn(name), "Sensitivity: a power law is straight", log_x=True, **axis)
        _panel(growth, drawn("delta_chi"), "Growth of sensitivity in one layer", **growths)
        curves = drawn("reff_signal")
        _panel(signal, curves, "Effective rank of the signal", shade=ONE_DIMENSIONAL, **rank)
        _panel(noise, drawn("reff_noise"), "Effective rank of the noise", **rank)
    return figure


def save_figure(figure: Figure, path: str | os.PathLike[str]) -> None:
    """Write a figure to a .png, .pdf or .svg file, all of it or nothing, the same bytes every time.

    Raises
    ------
    ValueError
        If the ending is none of these, or a file cannot be written there.
    OSError
        In one sentence, if the system fails, as on a full disk; what was there stays.
    """
    ending = checked_ending(path, tuple(FORMATS))
    content = io.BytesIO()
    with _style():
        figure.savefig(content, format=ending[1:], metadata=FORMATS[ending])
    write_atomically(path, content.getvalue())


# --- panels ---------------------------------------------------------------------------------------------


def _sensitivity(axes: Axes, scan: Scan, title: str) -> None:
    """Draw chi and, dashed over the second half of the depth, the law that the verdict read off it."""
    verdict = scan.verdict
    name, axis = _chi([scan])
    look = {"color": HEALTH[verdict.label], "linewidth": 2.8}
    if not _panel(axes, [(scan, name, look)], title, log_x=verdict.law == "power", **axis):
        return
    axes.text(0.04, 0.96, _law(verdict), size=13, va="top", transform=axes.transAxes)
    if verdict.law in ("power", "exponential"):
        known = np.isfinite(scan["log_chi"])
        end, log_chi, reach = scan.depth[known][-1], scan["log_chi"][known][-1], np.linspace(0.5, 1.0, 64)
        fit = log_chi + verdict.rate * (np.log(reach) if verdict.law == "power" else (reach - 1.0) * end)
        values = np.exp(fit) if name == "chi" else fit / math.log(10.0)
        axes.plot(reach * end, values, color=BLACK, **DASHED)


def _shape(upper: Axes, lower: Axes, scan: Scan, title: str) -> None:
    """Draw mu4 above nu1, with their values for a Gaussian."""
    loc = main_loc("mu4_signal", scan.moments.get("mu4_signal") or scan.locs)
    mu4, mu2, nu1, nu2 = (_curve(scan, f"{name}_signal", loc) for name in ("mu4", "mu2", "nu1_abs", "nu2"))
    place, labels = "behind batch norm", (r"$\mu_4$", r"$\nu_1$")
    if loc != "norm":
        with np.errstate(all="ignore"):
            mu4 = mu4 and mu2 and Curve(mu4.mean / mu2.mean**2)
            nu1 = nu1 and nu2 and Curve(nu1.mean / np.sqrt(nu2.mean))
        place, labels = f"at station {loc}", (r"$\mu_4 / \mu_2^2$", r"$\nu_1 / \sqrt{\nu_2}$")
    heavy = mu4 is not None and bool(np.any(np.isfinite(mu4.mean) & (mu4.mean > 30.0)))
    look, nu1_level = {"color": PURPLE}, (math.sqrt(2.0 / math.pi), "Gaussian", -0.25)
    mu4_axis: Look = {"level": (3.0, "Gaussian", 0.25), "log_y": heavy}
    _panel(upper, [(scan, mu4, look)], f"{title} {place}", labels[0], **mu4_axis)
    _panel(lower, [(scan, nu1, look)], "", labels[1], level=nu1_level)
    upper.label_outer()


def _card(axes: Axes, scan: Scan, facts: list[str], look: Look) -> None:
    """Write a scan's name, its verdict and what sets it apart, on the colour of its health."""
    verdict, colour = scan.verdict, HEALTH[scan.verdict.label]
    axes.set(xlim=(0, 1), ylim=(0, 1), xticks=[], yticks=[], facecolor=f"{colour}1A")
    axes.spines[:].set_visible(False)
    axes.plot([0.04, 0.085, 0.13], [0.87] * 3, **look | {"markevery": [1]})
    rank = "" if verdict.reff_last is None else rf"$r_{{\mathrm{{eff}}}} = {verdict.reff_last:.3g}$"
    apart = textwrap.fill(", ".join(facts), 45, max_lines=3, placeholder=" ...")
    lines: tuple[tuple[float, float, str, Look], ...] = (
        (0.16, 0.87, scan.architecture["name"], {"size": 12, "weight": "bold", "parse_math": False}),
        (0.04, 0.67, verdict.label or NO_LABEL, {"size": 12, "weight": "bold", "color": colour}),
        (0.04, 0.50, ",  ".join(filter(None, (_law(verdict), rank))), {}),
        (0.04, 0.40, apart, {"size": 8, "color": GREY, "va": "top", "parse_math": False}),
    )
    centred: Look = {"va": "center"}
    for x, y, words, style in lines:
        axes.text(x, y, words, **centred | style).set_in_layout(False)


def _panel(
    axes: Axes, curves: Iterable[tuple[Scan, Curve | str | None, Look]], title: str, label: str, *,
    level: tuple[float, str, float] | None = None, shade: str | None = None, legend: bool = False,
    log_x: bool = False, log_y: bool = False, over: str = "depth",
) -> bool:  # fmt: skip
    """Draw each (scan, curve or its name, look) and all around them; return whether there was any.

    The curves of scans with the label `shade` are shaded down to where the images stand.
    """
    axes.set(xscale="log" if log_x else "linear", yscale="log" if log_y else "linear")
    for scan, curve, look in curves:
        line = _draw(axes, scan, _curve(scan, curve) if isinstance(curve, str) else curve, look)
        if line is not None and shade is not None and scan.verdict.label == shade:
            look = {"color": HEALTH[shade], "alpha": 0.1, "linewidth": 0, "label": None if legend else shade}
            axes.fill_between(scan.depth, line.get_ydata(), 1.0 if log_y else 0.0, **look)
            legend = True
    axes.set(xlabel=over, ylabel=label, title=title)
    if not axes.lines:
        axes.grid(False)
        axes.tick_params(which="both", length=0, labelcolor="none")
        axes.text(0.5, 0.5, "not taken", color=GREY, ha="center", va="center", transform=axes.transAxes)
        return False
    if legend:
        axes.legend()
    if level is not None:
        value, words, room = level
        axes.axhline(value, color=GREY, **DASHED)
        axes.margins(y=abs(room))
        place: Look = {"xycoords": axes.get_yaxis_transform(), "textcoords": "offset points", "size": 8.5}
        offset, side = ((0, -3), "top") if room > 0 else ((0, 2), "bottom")
        axes.annotate(words, (0.995, value), offset, ha="right", va=side, color=GREY, **place)
    _ticks(axes.xaxis, integer=over == "depth")
    _ticks(axes.yaxis)
    return True


def _draw(axes: Axes, scan: Scan, curve: Curve | None, look: Look) -> Line2D | None:
    """Draw a curve and its one-sigma band; return the line, or None if there is nothing to show."""
    if curve is None:
        return None
    log_x, log_y = axes.get_xscale() == "log", axes.get_yscale() == "log"
    shown = np.isfinite(curve.mean) & ((scan.depth > 0) | (not log_x)) & ((curve.mean > 0.0) | (not log_y))
    if not shown.any():
        return None
    mean = np.where(shown, curve.mean, np.nan)
    marked: Look = {"marker": "o" if shown.sum() < 12 else ""}
    (line,) = axes.plot(scan.depth, mean, **marked | look)
    if curve.sigma is not None:
        # On a logarithmic axis a band that reaches zero ends a decade below its curve.
        low = np.maximum(mean - curve.sigma, 0.1 * mean if log_y else -np.inf)
        axes.fill_between(scan.depth, low, mean + curve.sigma, color=line.get_color(), alpha=0.2, linewidth=0)
    return line


def _ticks(axis: Axis, *, integer: bool = False) -> None:
    """Round ticks; on a logarithmic axis of few decades plain numbers, and several in each."""
    from matplotlib.ticker import LogLocator, MaxNLocator

    low, high = axis.get_view_interval()
    if axis.get_scale() == "linear":
        axis.set_major_locator(MaxNLocator("auto", steps=(1, 2, 2.5, 5, 10), integer=integer, min_n_ticks=1))
    elif high < 2000.0 * low:
        axis.set_major_locator(LogLocator(subs=(1, 2, 5) if high > 12.0 * low else (1, 1.5, 2, 3, 4, 5, 7)))
        axis.set_major_formatter("{x:g}")
        axis.set_minor_formatter("")


# --- helpers --------------------------------------------------------------------------------------------


@contextmanager
def _style() -> Iterator[None]:
    try:
        import matplotlib.style
    except ImportError:
        raise ImportError('figures need matplotlib: pip install "fastmoments[plot]"') from None
    with matplotlib.style.context(["default", STYLE]):
        yield


@contextmanager
def _page(width: float, height: float, title: str, facts: list[str]) -> Iterator[Figure]:
    """Give an empty page under a heading; its layout is fixed once, so that savings do not differ."""
    with _style():
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
        from matplotlib.layout_engine import ConstrainedLayoutEngine

        layout = ConstrainedLayoutEngine(rect=(0, 0, 1, 1 - 0.85 / height))
        figure = Figure(figsize=(width, height), dpi=120, layout=layout)
        FigureCanvasAgg(figure)
        heading: Look = {"x": 0.2 / width, "va": "top", "parse_math": False}
        figure.text(y=1 - 0.2 / height, s=title, size=17, weight="bold", **heading)
        figure.text(y=1 - 0.58 / height, s="  \N{MIDDLE DOT}  ".join(facts), color=GREY, **heading)
        yield figure
        figure.draw_without_rendering()
        figure.set_layout_engine("none")


def _curve(scan: Scan, name: str, loc: str | None = None) -> Curve | None:
    """Return the curve, also that of log10_chi, which no scan holds; None where it was not taken."""
    if name == "log10_chi":
        log, unit = _curve(scan, "log_chi"), math.log(10.0)
        return log and Curve(log.mean / unit, None if log.sigma is None else log.sigma / unit)
    at = scan.moments.get(name)
    if not at:
        return None
    return main_curve(name, at) if loc is None else at.get(loc)


def _chi(scans: list[Scan]) -> tuple[str, Look]:
    """Choose which curve shows chi, and its axis."""
    logs = [curve.mean for scan in scans if (curve := _curve(scan, "log_chi"))]
    if any(np.any(np.isfinite(log) & (np.abs(log) > LARGEST_LOG)) for log in logs):
        return "log10_chi", {"label": r"$\log_{10}\,\chi$"}
    return "chi", {"label": r"$\chi$", "log_y": True}


def _law(verdict: Verdict) -> str:
    rate = f"{float(f'{verdict.rate or 0.0:.2g}'):g}"  # two digits, without an exponent
    power, exponential = rf"$\chi \sim l^{{\,{rate}}}$", rf"$\chi \sim \exp({rate}\,l)$"
    return {"power": power, "exponential": exponential, "bounded": r"$\chi$ bounded"}.get(
        verdict.law or "", "" if verdict.budget is None else f"SNR {verdict.budget.snr_db:+.1f} dB"
    )


def _facts(scan: Scan) -> list[str]:
    """Say what the scan is of, and how it was computed."""
    net, data, size = scan.architecture, scan.data, scan.architecture.get("kernel_size")
    seen = scan.stations[0].grid if scan.stations else None  # of the images; `data` has what the stem leaves
    height, width = seen or (data["height"], data["width"])
    place = f" of {height} x {width}" if height * width > 1 else ""
    nets = f", {scan.nets} nets" if scan.nets else ""
    width = f", width {scan.width}" if scan.width else ""
    facts = [
        f"depth {net.get('depth', scan.depth[-1])}",
        size and ("fully connected" if size == 1 else f"{size} x {size} kernels"),
        "padding" in net and size != 1 and f"{net['padding']} padding",
        "res_depth" in net and f"{net['res_depth']} layers in a unit",
        f"{data['source'].rsplit('/', 1)[-1]}: {data['images']} images{place}",
        "infinite width" if scan.method == "infinite" else f"{scan.method}{width}{nets}",
    ]
    return list(filter(None, facts))


def _looks(scans: list[Scan]) -> list[Look]:
    """Choose colours, a family's own where it is free, and markers that alternate where curves coincide."""
    looks: list[Look] = []
    spare = [PURPLE, ORANGE, BLACK, *FAMILY_COLOURS.values(), GREY]
    for index, scan in enumerate(scans):
        own = FAMILY_COLOURS.get(scan.architecture["name"], PURPLE)
        colour = own if own in spare else spare[0]
        if len(spare) > 1:
            spare.remove(colour)
        every = (0.01 + 0.16 * index / len(scans), 0.16)
        looks.append({"color": colour, "marker": "os^DvPX"[index % 7], "markevery": every})
    return looks
