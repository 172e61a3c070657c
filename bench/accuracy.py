"""What leading eigenpairs cost in accuracy, over many layers: `python -m bench.accuracy`.

The same scan with every eigenpair (the dense formula) and with the leading ones only. Of every setting: the
relative Frobenius error of the centred covariance behind the last unit, and the largest errors of the curves
over all depths; beside them the error per layer that the scan itself reports.
"""

from __future__ import annotations

import time

import numpy as np
from threadpoolctl import threadpool_limits

import fastmoments as fm
from fastmoments.engines.infinite_width.walk import InfiniteWidthWalk
from fastmoments.images.sources import normalise

from .common import arguments, deliver, table

#: Curves compared: at the station that the tables read, the ranks at the activation.
CURVES = {"ln chi": "log_chi", "mu4": "log_mu4_signal", "r_eff": "reff_signal"}


def followed(network, images, **options):
    """Curves of one scan, the centred covariance at its end, and what it took and reported."""
    engine = InfiniteWidthWalk(network, images, **options)
    start = time.perf_counter()
    state, curves, error = engine._start(), {name: {} for name in CURVES}, 0.0
    with threadpool_limits(1, user_api="blas"):
        for station in engine._walk(state):
            error = station.error
            for name, moment in CURVES.items():
                if moment in station.moments:
                    value = station.moments[moment]
                    curves[name][station.path] = value if "ln" in name else abs(value)
    seconds = time.perf_counter() - start
    full = state.signal.dense()
    centred = full - full.mean(0) - full.mean(1)[:, None] + full.mean()
    return curves, centred, seconds, error


def main() -> None:
    """Compare a list of settings with the dense formula for both batch-normalised families."""
    parser = arguments(__doc__, repeats=1)
    parser.add_argument("--depth", type=int, default=60)
    parser.add_argument("--images", default="synthetic:16x16x3", help="seen at half their size")
    parser.add_argument("--count", type=int, default=16)
    given = parser.parse_args()
    settings = [{"rank": rank} for rank in (16, 32, 64)] + [{}]
    images = fm.load_images(given.images, given.count, seed=0).array
    rows = []
    for family in (fm.bn_ff, fm.bn_res):
        network = family(given.depth)
        values = normalise(images, network.fully_connected)
        points = len(values) * ((values.shape[1] + 1) // 2) * ((values.shape[2] + 1) // 2)
        exact, covariance, seconds, _ = followed(network, values, rank=points)
        for setting in settings:
            curves, found, took, error = followed(network, values, **setting)
            row = {
                "family": network.name, "points": points, "depth": given.depth,
                "setting": ", ".join(f"{name} {value}" for name, value in setting.items()) or "default",
                "covariance": float(np.linalg.norm(found - covariance) / np.linalg.norm(covariance)),
            }  # fmt: skip
            for name, curve in curves.items():
                other = exact[name]
                relative = name == "r_eff"
                row[name] = max(
                    abs(value / other[at] - 1.0) if relative else abs(value - other[at])
                    for at, value in curve.items()
                )
            rows.append(row | {"reported": error, "seconds": took, "dense seconds": seconds})
    columns = {"family": "", "points": "d", "depth": "d", "setting": "", "covariance": ".1e"}
    columns |= {name: ".1e" for name in CURVES}
    table(rows, columns | {"reported": ".1e", "seconds": ".1f", "dense seconds": ".1f"})
    deliver(given.json, accuracy=rows)


if __name__ == "__main__":
    main()
