"""Direct against Fourier convolution of blocks, and the costs behind "auto": `python -m bench.convolution`.

Fits the constants at the top of fastmoments/maps/fft.py and says how well "auto" chooses with those that
stand there. Processor time on one thread: the direct sum divides it by the threads and the FFT does not,
but the choice may not depend on them, because the numbers must not. `--plot` draws both methods over kernel
and image size, with periodic padding, and where the constants that stand in fft.py make "auto" switch.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from scipy.optimize import nnls
from threadpoolctl import threadpool_limits

from fastmoments import Conv
from fastmoments.covariances.storage import pairs
from fastmoments.maps import fft
from fastmoments.maps.convolution import _convolve_blocks
from fastmoments.scans.scanning import limited_threads

from .common import arguments, deliver, interleaved, table, timed

SIDES = (4, 7, 8, 14, 16, 24)
CASES = [
    (Conv(kernel, padding=padding, dilation=dilation), side)
    for side in SIDES
    for padding in ("periodic", "zeros", "symmetric")
    for kernel, dilation in [(1, 1), (3, 1), (5, 1), (9, 1), (15, 1), (31, 1), (3, 2), (5, 3)]
    if kernel > 1 or padding == "periodic"
] + [(Conv(63), side) for side in SIDES if side > 7]
ELEMENTS = 300_000  # of the blocks, for the FFT of their padded grids, about, in one measurement


def measure(conv: Conv, side: int, repeats: int) -> dict:
    """Nanoseconds per element of a block by both methods, each on enough blocks to hide its start."""
    rows, columns, _, _ = fft._torus(conv, side, side)
    size, grid = side * side, rows.size * columns.size
    images = max(2, round((2 * ELEMENTS / size**2) ** 0.5))
    first, second = pairs(images)
    blocks = np.random.default_rng(0).standard_normal((first.size, size, size))
    counts = {"direct": first.size, "fft": min(max(3, ELEMENTS // grid**2), first.size)}

    def by(method):
        some = slice(counts[method])
        return lambda: _convolve_blocks(
            blocks[some], first[some], second[some], (images, side, side), conv, 0.1, 0.0, method
        )

    seconds = interleaved({method: timed(by(method)) for method in counts}, repeats)
    row = {"side": side, "padding": conv.padding, "kernel": conv.kernel_size, "dilation": conv.dilation}
    row |= {"grid": grid, "auto": "fft" if fft.chosen("auto", conv, side, side) else "direct"}
    for method, values in seconds.items():
        row[method] = float(np.median(values[:, 1])) / (counts[method] * size**2) * 1e9
    return row


def fitted(rows: list[dict]) -> dict[str, float]:
    """Constants of fft.py that fit the measured times best, by relative least squares."""
    direct, fourier, kernel, side, grid = (
        np.array([row[key] for row in rows]) for key in ("direct", "fft", "kernel", "side", "grid")
    )
    ones = np.ones(len(rows))
    base, per_tap = nnls(np.column_stack([ones, 2 * kernel]) / direct[:, None], ones)[0]
    growth, blocks = (grid / side**2) ** 2, 1.0 / side**4
    per_element, per_block = nnls(np.column_stack([growth, blocks]) / fourier[:, None], ones)[0]
    return {
        "DIRECT_BASE": base, "DIRECT_PER_TAP": per_tap,
        "FFT_PER_ELEMENT": per_element, "FFT_PER_BLOCK": per_block,
    }  # fmt: skip


def draw(rows: list[dict], path: Path) -> None:
    """Both methods over the kernel's size, a panel for each image size; shaded where "auto" takes the FFT."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 6), layout="constrained")
    panels = figure.subplots(2, 3, sharex=True, sharey=True).ravel()
    for axes, side in zip(panels, SIDES, strict=True):
        mine = [
            row for row in rows
            if (row["side"], row["padding"], row["dilation"]) == (side, "periodic", 1)
        ]  # fmt: skip
        for method in ("direct", "fft"):
            kernels, times = [row["kernel"] for row in mine], [row[method] for row in mine]
            axes.plot(kernels, times, "o-", label=method)
        chosen = [fft.chosen("auto", Conv(kernel), side, side) for kernel in range(1, 65, 2)]
        if any(chosen):
            axes.axvspan(1 + 2 * chosen.index(True), 80, color="C1", alpha=0.15, label="auto: fft")
        axes.set(xscale="log", yscale="log", title=f"{side} x {side} positions", xlim=(0.9, 80))
        axes.grid(True, alpha=0.2)
    for axes in panels[3:]:
        axes.set_xlabel("taps along a side")
    for axes in panels[::3]:
        axes.set_ylabel("ns per element")
    panels[-1].legend(fontsize="small")
    figure.savefig(path, dpi=120)


def main() -> None:
    """Measure all cases, fit the constants and judge the choice."""
    parser = arguments(__doc__, repeats=3)
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw both against kernel and image size")
    given = parser.parse_args()
    with limited_threads(1), threadpool_limits(1, user_api="blas"):
        rows = [measure(conv, side, given.repeats) for conv, side in CASES]
    columns = {"side": "d", "padding": "", "kernel": "d", "dilation": "d", "direct": ".1f", "fft": ".1f"}
    table([row for row in rows if row["padding"] == "periodic"], columns | {"auto": ""})

    regrets = [row[row["auto"]] / min(row["direct"], row["fft"]) for row in rows]
    choice = {
        "cases": len(rows), "fft faster": sum(row["fft"] < row["direct"] for row in rows),
        "auto chose the faster": sum(regret == 1.0 for regret in regrets), "worst regret": max(regrets),
    }  # fmt: skip
    table([choice], {**dict.fromkeys(list(choice)[:3], "d"), "worst regret": ".2f"})
    constants = fitted(rows)
    table(
        [{"constant": name, "ns": value} for name, value in constants.items()], {"constant": "", "ns": ".3g"}
    )
    if given.plot:
        draw(rows, given.plot)
    deliver(given.json, cases=rows, choice=choice, constants=constants)


if __name__ == "__main__":
    main()
