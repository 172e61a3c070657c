"""What a layer costs, in seconds and in copies of the stored covariance: `python -m bench.layer`.

Bounds: convolution and ReLU in at most 5 copies on two threads; the ReLU in at most 2 ns per stored
element on one core. Besides the clock, which other programs disturb, stands the processor time per thread:
what the clock would show if they left the cores alone. The copy is made by one thread. An element is one of
the stored blocks, of which there are half as many as entries of the full covariance, and a few more. Above
4,096 points a fifth of the repeats, and at least three.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

import fastmoments as fm
from fastmoments.covariances.storage import Covariance
from fastmoments.engines.infinite_width.walk import InfiniteWidthWalk
from fastmoments.images.sources import normalise
from fastmoments.maps import batch_norm
from fastmoments.maps.activation import activate
from fastmoments.maps.convolution import convolve
from fastmoments.nets.activations import ReLU
from fastmoments.scans.scanning import limited_threads

from .common import arguments, deliver, interleaved, quartiles, table, timed

CONV, EPSILON = fm.Conv(3), 1e-3
#: Number of images and their side behind the stem, by the number of points.
SIZES = {
    98: (2, 7), 256: (4, 8), 512: (8, 8), 1024: (4, 16), 1568: (8, 14), 4096: (16, 16), 8192: (32, 16),
    16384: (64, 16),
}  # fmt: skip
#: The layers that are drawn, besides the copy.
DRAWN = ("conv + relu", "conv + norm + relu")


def inside(points: int, depth: int = 5):
    """Signal, noise and leading eigenvectors `depth` layers into a batch-normalised net."""
    count, side = SIZES[points]
    images = fm.load_images(f"synthetic:{2 * side}x{2 * side}", count, seed=0).array
    net = fm.bn_ff(depth)
    engine = InfiniteWidthWalk(net, normalise(images, net.fully_connected), depths=(depth,))
    state = engine._start()
    for _ in engine._walk(state):
        pass
    return state.signal, state.noise, engine.vectors("1", state.signal.points)


def tasks(signal, noise, vectors) -> dict:
    """List a plain copy of the blocks, and layers that work on a fresh copy each time."""
    work = signal.blocks.copy()

    def fresh():
        np.copyto(work, signal.blocks)
        parts = signal.diagonal.copy(), signal.row_sums.copy()
        return Covariance(work, signal.grid, signal.log_scale, *parts), noise.copy()

    def normalised(k, d):
        convolve(k, d, CONV, activation=None)
        batch_norm.normalise(k, d, EPSILON, activation=ReLU(), start=vectors)

    layers = {
        "conv + relu": lambda k, d: convolve(k, d, CONV, activation=ReLU()),
        "conv + relu, nothing between": lambda k, d: convolve(k, d, CONV, activation=ReLU(), detail=False),
        "conv": lambda k, d: convolve(k, d, CONV, activation=None),
        "relu": lambda k, d: activate(k, d, ReLU()),
        "conv + norm + relu": normalised,
    }
    copy = timed(lambda: np.copyto(work, signal.blocks))
    return {"copy": copy} | {name: timed(layer, fresh) for name, layer in layers.items()}


def draw(rows: list[dict], path: Path) -> None:
    """Seconds, nanoseconds per entry of the full covariance and copies, against the number of points."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 3.8), layout="constrained")
    values = {
        "seconds": "seconds per layer",
        "ns/entry": "ns per entry (M²)",
        "copies": "copies of the storage",
    }
    for axes, (key, label) in zip(figure.subplots(1, 3), values.items(), strict=True):
        for number, layer in enumerate(("copy", *DRAWN)):
            for threads, style in ((1, "o--"), (2, "o-")):
                mine = [row for row in rows if row["layer"] == layer and row["threads"] == threads]
                if mine and (layer, threads) != ("copy", 2):  # the copy is one thread's
                    name = layer if layer == "copy" else f"{layer}, {threads} thread{'s' * (threads - 1)}"
                    points, medians = zip(*((row["points"], row[key][1]) for row in mine), strict=True)
                    axes.plot(points, medians, style, color=f"C{number}", markersize=4, label=name)
        axes.set(xscale="log", yscale="log", xlabel="points M", ylabel=label)
        axes.grid(True, which="both", alpha=0.2)
    figure.axes[0].legend(fontsize="small")
    figure.savefig(path, dpi=120)


def main() -> None:
    """Time the layers at every size and number of threads."""
    parser = arguments(__doc__, repeats=15, sizes=",".join(map(str, SIZES)))
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw the costs against the points")
    given = parser.parse_args()
    sizes = [int(size) for size in given.sizes.split(",")]
    if not set(sizes) <= SIZES.keys():
        parser.error(f"--sizes may be of {', '.join(map(str, SIZES))}.")
    rows = []
    for points in sizes:
        repeats = given.repeats if points <= 4096 else max(3, given.repeats // 5)
        signal, noise, vectors = inside(points)
        for threads in sorted({1, min(2, os.cpu_count())}):
            # As in the engine, BLAS keeps to one thread inside the kernels.
            with limited_threads(threads), threadpool_limits(1, user_api="blas"):
                seconds = interleaved(tasks(signal, noise, vectors), repeats)
            copy = seconds["copy"]
            for layer, values in seconds.items():
                busy = values[:, 1] / (1 if layer == "copy" else threads)
                rows.append(
                    {
                        "points": points, "threads": threads, "layer": layer,
                        "seconds": quartiles(values[:, 0]),
                        "ns/entry": quartiles(values[:, 0] / points**2 * 1e9),
                        "copies": quartiles(values[:, 0] / copy[:, 0]),
                        "copies, cpu": quartiles(busy / copy[:, 1]),
                        "ns/element": quartiles(values[:, 0] / signal.blocks.size * 1e9),
                        "ns, cpu": quartiles(busy / signal.blocks.size * 1e9),
                        "best ns, cpu": busy.min() / signal.blocks.size * 1e9,
                    }
                )  # fmt: skip
    columns = {"points": "d", "threads": "d", "layer": "", "seconds": ".2g", "ns/entry": ".2f"}
    columns |= {"copies": ".1f", "copies, cpu": ".1f"}
    table(rows, columns | {"ns/element": ".2f", "ns, cpu": ".2f", "best ns, cpu": ".2f"})
    if given.plot:
        draw(rows, given.plot)
    deliver(given.json, layers=rows)


if __name__ == "__main__":
    main()
