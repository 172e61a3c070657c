"""The phase diagram as a figure: the depth to which a signal reaches by colour, the critical line, names."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..plots.scans import BLACK, GREY, _page
from .variance import CHAOTIC, CRITICAL, DIVERGING, ORDERED

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from .diagram import PhaseDiagram

#: Depth scales, in layers, between which colours run.
SHOWN = (1.0, 1000.0)


def plot_phases(diagram: PhaseDiagram) -> Figure:
    """Draw a phase diagram.

    The colour is the number of layers in which the correlation of two signals comes nearer to its end by a
    factor e, up to 1,000: how deep a net may be for the signal to reach through. Where the variance diverges
    it is hatched. Where the fixed point of a critical net is unstable, its line is dotted.

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    ValueError
        If there are not two gains and two bias variances at least.
    """
    from matplotlib.colors import LogNorm

    gains, biases = diagram.gains, diagram.bias_variances
    if gains.size < 2 or biases.size < 2:
        raise ValueError(
            "A figure of a phase diagram takes several gains and several bias variances; give two of each at "
            "least."
        )
    name = type(diagram.activation).__name__
    facts = ["depth scale of correlations", f"{gains.size} x {biases.size} points", "infinite width"]
    with _page(7.4, 5.6, f"Phases of {name}", facts) as figure:
        axes = figure.subplots()
        axes.grid(False)
        axes.patch.set(facecolor="#F4F4F4", hatch="////", edgecolor="#BBBBBB")
        shown = np.where(diagram.phase == DIVERGING, np.nan, diagram.correlation_scale)
        shown = np.ma.masked_invalid(np.clip(shown, *SHOWN))
        image = axes.pcolormesh(
            gains, biases, shown, norm=LogNorm(*SHOWN), cmap="viridis", shading="nearest", rasterized=True
        )
        axes.set(xlabel="gain (weight variance x fan in)", xlim=(gains[0], gains[-1]))
        axes.set(ylabel="bias variance", ylim=(biases[0], biases[-1]))
        line = diagram.line
        for stable, style, label in ((True, "-", r"critical, $\chi_1 = 1$"), (False, ":", "unstable")):
            biases_of = np.where(line.stable == stable, line.bias_variance, np.nan)
            if np.isfinite(biases_of).any():
                axes.plot(line.gain, biases_of, color="white", linewidth=4.5 if stable else 2.0)
                axes.plot(line.gain, biases_of, style, color=BLACK, linewidth=2.0, label=label)
        if line.gain.size:
            axes.legend(loc="best", frameon=True, framealpha=0.9)
        for phase in (ORDERED, CHAOTIC, DIVERGING):
            _name(axes, diagram, phase)
        figure.colorbar(image, label="layers to a factor e", extend="max", pad=0.02)
    return figure


def _name(axes: Axes, diagram: PhaseDiagram, phase: str) -> None:
    """Write the name of a phase where it is widest, if it has room."""
    from scipy.ndimage import distance_transform_edt

    inside = np.pad((diagram.phase == phase) | (diagram.phase == CRITICAL), 1)
    inside &= np.pad(diagram.phase != CRITICAL, 1)
    m, n = diagram.phase.shape
    distance = distance_transform_edt(inside, sampling=(1.0 / m, 1.0 / n))[1:-1, 1:-1]
    if distance.max() < 0.04:
        return
    i, j = np.unravel_index(distance.argmax(), distance.shape)
    axes.text(
        float(diagram.gains[j]), float(diagram.bias_variances[i]), phase,
        ha="center", va="center", size=14, weight="bold",
        color=BLACK if phase != DIVERGING else GREY,
        bbox={"facecolor": "white", "alpha": 0.75, "edgecolor": "none", "boxstyle": "round,pad=0.3"},
    )  # fmt: skip
