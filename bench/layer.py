"""What a layer costs, in copies of the stored covariance: `python -m bench.layer`.

Bounds: convolution and ReLU in at most 5 copies on two threads; the ReLU in at most 2 ns per stored
element on one core. Besides the clock, which other programs disturb, stands the processor time per thread:
what the clock would show if they left the cores alone. The copy is made by one thread. Threads without work
sleep here (OMP_WAIT_POLICY), or they would count as busy and slow the copy down.
"""

from __future__ import annotations

import os

import numpy as np
from threadpoolctl import threadpool_limits

import fastmoments as fm
from fastmoments import batch_norm, maps
from fastmoments.covariance import Covariance
from fastmoments.infinite_width import InfiniteWidth
from fastmoments.scanning import limited_threads, prepared

from .common import arguments, deliver, interleaved, quartiles, table, timed

CONV, EPSILON = fm.Conv(3), 1e-3
#: Number of images and their side behind the stem, by the number of points.
SIZES = {1568: (8, 14), 4096: (16, 16)}


def inside(points: int, depth: int = 5):
    """Signal, noise and leading eigenvectors `depth` layers into a batch-normalised net."""
    count, side = SIZES[points]
    images = fm.load_images(f"synthetic:{2 * side}x{2 * side}", count, seed=0).array
    net = fm.bn_ff(depth)
    engine = InfiniteWidth(net, prepared(net, images, normalise=True), every=depth)
    state = engine._start()
    for _ in engine._walk(state):
        pass
    return state.signal, state.noise, engine._vectors["branch", 1]


def tasks(signal, noise, vectors) -> dict:
    """List a plain copy of the blocks, and layers that work on a fresh copy each time."""
    work = signal.blocks.copy()

    def fresh():
        np.copyto(work, signal.blocks)
        parts = signal.diagonal.copy(), signal.row_sums.copy()
        return Covariance(work, signal.grid, signal.log_scale, *parts), noise.copy()

    def normalised(k, d):
        maps.convolve(k, d, CONV, activate=False)
        batch_norm.normalise(k, d, EPSILON, activate=True, start=vectors)

    layers = {
        "conv + relu": lambda k, d: maps.convolve(k, d, CONV, activate=True),
        "conv + relu, nothing between": lambda k, d: maps.convolve(k, d, CONV, activate=True, detail=False),
        "conv": lambda k, d: maps.convolve(k, d, CONV, activate=False),
        "relu": maps.rectify,
        "conv + norm + relu": normalised,
    }
    copy = timed(lambda: np.copyto(work, signal.blocks))
    return {"copy": copy} | {name: timed(layer, fresh) for name, layer in layers.items()}


def main() -> None:
    """Time the layers at every size and number of threads."""
    parser = arguments(__doc__, repeats=15)
    given = parser.parse_args()
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # read when the first kernel runs
    rows = []
    for points in SIZES:
        signal, noise, vectors = inside(points)
        for threads in sorted({1, min(2, os.cpu_count())}):
            # As in the engine, BLAS keeps to one thread inside the kernels.
            with limited_threads(threads), threadpool_limits(1, user_api="blas"):
                seconds = interleaved(tasks(signal, noise, vectors), given.repeats)
            copy = seconds["copy"]
            for layer, values in seconds.items():
                busy = values[:, 1] / (1 if layer == "copy" else threads)
                rows.append(
                    {
                        "points": points, "threads": threads, "layer": layer,
                        "copies": quartiles(values[:, 0] / copy[:, 0]),
                        "copies, cpu": quartiles(busy / copy[:, 1]),
                        "ns/element": quartiles(values[:, 0] / signal.blocks.size * 1e9),
                        "ns, cpu": quartiles(busy / signal.blocks.size * 1e9),
                        "best ns, cpu": busy.min() / signal.blocks.size * 1e9,
                    }
                )  # fmt: skip
    columns = {"points": "d", "threads": "d", "layer": "", "copies": ".1f", "copies, cpu": ".1f"}
    table(rows, columns | {"ns/element": ".2f", "ns, cpu": ".2f", "best ns, cpu": ".2f"})
    deliver(given.json, layers=rows)


if __name__ == "__main__":
    main()
