"""Figures of the laws that moments follow over random nets, where a scan knows them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from ..scans.results import GAUSSIAN_LAWS, Scan
from .scans import BLUE, ORANGE, PURPLE, VERMILION, _facts, _page

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LABELS = {
    "log_nu2_signal": r"$\log\,\nu_2(x)$",
    "log_mu2_noise": r"$\log\,\mu_2(dx)$",
    "log_chi": r"$\log\,\chi$",
}
COLOURS = (BLUE, ORANGE, VERMILION, PURPLE)


def plot_histograms(
    scan: Scan,
    depths: Sequence[int] | np.ndarray | None = None,
    beside: Mapping[str, Mapping[int, tuple[float, float]]] | None = None,
    moments: Sequence[str] = GAUSSIAN_LAWS,
) -> Figure:
    """Draw the laws of log nu2, log mu2 of the noise and log chi over random nets, at a few depths.

    Parameters
    ----------
    scan : Scan
        Of method "finite".
    depths : sequence of int, optional
        Recorded depths; four of them, evenly spaced, if left out.
    beside : dict of str to dict of int to (mean, sigma), optional
        By moment and depth, what simulated nets have; drawn as the Gaussian of that mean and deviation.
    moments : sequence of str, optional
        Some of `results.GAUSSIAN_LAWS`; all of them that the scan has, if left out.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    ValueError
        If the scan knows no such law, or has no such depth.
    """
    names = [name for name in moments if name in scan.moments]
    if depths is None:
        positive = scan.depth[scan.depth > 0]
        depths = positive[np.unique(np.linspace(0, positive.size - 1, 5).round().astype(int))[-4:]]
    laws = {
        name: [(int(depth), scan.histogram(name, int(depth), bins=400)) for depth in depths] for name in names
    }
    if not any(laws.values()):
        scan.histogram(names[0] if names else GAUSSIAN_LAWS[0], 0)  # says what is wrong
    with _page(4.6 * len(names) + 0.6, 4.4, scan.architecture["name"], _facts(scan)) as figure:
        for axes, name in zip(figure.subplots(1, len(names), squeeze=False)[0], names, strict=True):
            for (depth, (edges, density)), colour in zip(laws[name], COLOURS * len(depths), strict=False):
                centres = 0.5 * (edges[1:] + edges[:-1])
                axes.plot(centres, density, color=colour, label=f"depth {depth}")
                axes.fill_between(centres, density, color=colour, alpha=0.15, linewidth=0)
                if beside and depth in beside.get(name, {}):
                    mean, sigma = beside[name][depth]
                    theirs = np.exp(-0.5 * ((centres - mean) / sigma) ** 2) / (sigma * np.sqrt(2.0 * np.pi))
                    axes.plot(centres, theirs, color="black", linestyle=(0, (2, 2)), linewidth=1.1)
            if beside and name in beside:
                axes.plot([], [], color="black", linestyle=(0, (2, 2)), linewidth=1.1, label="simulated")
            axes.set(
                title=f"Law of {LABELS[name]} over nets",
                xlabel=LABELS[name],
                ylabel="density",
                ylim=(0, None),
            )
            axes.legend()
    return figure
