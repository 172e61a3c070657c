"""The figures of the article's page, drawn when the site is built: `python docs/figures.py FOLDER`.

Fully connected nets on 64 embedded images, so that all of it takes seconds.
"""

import sys
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

import fastmoments as fm
from fastmoments.plots.scans import FAMILY_COLOURS, save_figure

DEPTH, COUNT = 100, 64


def scans() -> dict[str, fm.Scan]:
    """A scan of each of the four families."""
    images = fm.load_images("fashion-mnist", count=COUNT, seed=0)
    nets = {name: family(DEPTH, kernel_size=1) for name, family in fm.FAMILIES.items()}
    return {name: fm.scan(net, images) for name, net in nets.items()}


def pathologies(found: dict[str, fm.Scan]) -> Figure:
    """Chi and the effective rank of the signal over depth."""
    figure = Figure(figsize=(8.5, 3.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    for name, scan in found.items():
        left.semilogy(scan.depth, scan["chi"], label=name, color=FAMILY_COLOURS[name])
        right.semilogy(scan.depth, scan["reff_signal"], label=name, color=FAMILY_COLOURS[name])
    left.set_title("sensitivity chi")
    right.set_title("effective rank of the signal")
    for axes in (left, right):
        axes.set_xlabel("depth")
        axes.grid(True, alpha=0.2)
    left.legend(fontsize="small")
    return figure


def dilution(found: dict[str, fm.Scan]) -> Figure:
    """Growth of log chi in one layer or unit, with and without skips, and the variance behind the merge."""
    figure = Figure(figsize=(8.5, 3.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    for name in ("bn_ff", "bn_res"):
        scan = found[name]
        left.loglog(scan.depth[1:], np.diff(scan["log_chi"]), label=name, color=FAMILY_COLOURS[name])
    net = found["bn_res"]
    exponent = net.verdict.rate
    left.loglog(net.depth[1:], exponent / (net.depth[1:] + 1), "k:", label=f"{exponent:.2f} / (l + 1)")
    left.set_title("growth of log chi in one layer or unit")
    left.legend(fontsize="small")
    right.plot(net.depth, net["nu2_signal", "merge"], color=FAMILY_COLOURS["bn_res"], label="bn_res")
    right.plot(net.depth, net.depth + 1, "k:", label="l + 1")
    right.set_title("variance of the signal behind the merge")
    right.legend(fontsize="small")
    for axes in (left, right):
        axes.set_xlabel("depth l")
        axes.grid(True, alpha=0.2)
    return figure


def draw_all(folder: Path) -> None:
    """Draw them as SVG into a folder, which is made if need be."""
    folder.mkdir(parents=True, exist_ok=True)
    found = scans()
    save_figure(pathologies(found), folder / "pathologies.svg")
    save_figure(dilution(found), folder / "dilution.svg")


if __name__ == "__main__":
    draw_all(Path(sys.argv[1]))
