"""Rectified pairs of Gaussians with means: nanoseconds a pair on one thread, and the largest error.

    python -m bench.bivariate

The pairs of one matrix, by how much its units are correlated; the best of some runs, in processor time. The
series of Mehler takes fewer terms the smaller the correlations of a block are, the one around |r| = 1 always
as many. The errors are against integrals to 40 digits (`tests/bivariate_points.py`).
"""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np

from fastmoments.kernels.threads import limited
from fastmoments.maps.rectified import rectify
from fastmoments.nets.activations import ReLU

from .common import arguments, deliver, table

POINTS = Path(__file__).parents[1] / "tests" / "bivariate_points.csv"


def covariance(units: int, correlation: float, rng: np.random.Generator) -> np.ndarray:
    """Of units whose correlations are all this one, or are those of a random matrix for NaN."""
    if np.isnan(correlation):
        root = rng.standard_normal((units, units))
        return root @ root.T / units
    return correlation + (1.0 - correlation) * np.eye(units)


def nanoseconds(matrix: np.ndarray, mean: np.ndarray, repeats: int) -> float:
    found = []
    for _ in range(repeats + 1):
        signal, noise = matrix[None].copy(), np.ones((1, *matrix.shape))
        start = time.process_time()
        rectify(ReLU(), mean, signal, noise)
        found.append(time.process_time() - start)
    return min(found[1:]) / (len(mean) * (len(mean) + 1) / 2) * 1e9


def errors() -> dict[str, float]:
    """The largest of K and of C."""
    worst = np.zeros(2)
    for a, b, r, *wanted in np.loadtxt(POINTS, delimiter=","):
        signal, noise = np.array([[[1.0, r], [r, 1.0]]]), np.ones((1, 2, 2))
        rectify(ReLU(), np.array([a, b]), signal, noise)
        worst = np.maximum(worst, np.abs(np.array([noise[0, 0, 1], signal[0, 0, 1]]) - wanted))
    return {"K": float(worst[0]), "C": float(worst[1])}


def main() -> None:
    parser = arguments(__doc__.splitlines()[0], units=1024, repeats=5)
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    mean = rng.standard_normal(options.units)
    rows = []
    with limited(1):
        for name, correlation in (("0.01", 0.01), ("0.1", 0.1), ("0.45", 0.45), ("0.9", 0.9),
                                  ("of a random matrix", np.nan)):  # fmt: skip
            matrix = covariance(options.units, correlation, rng)
            rows.append({"correlations": name, "ns a pair": nanoseconds(matrix, mean, options.repeats)})
        worst = errors()
    table(rows, {"correlations": "", "ns a pair": ".1f"})
    print(f"largest error of 2,000 pairs: K {worst['K']:.1e}, C {worst['C']:.1e}")
    deliver(options.json, pairs=rows, errors=worst)


if __name__ == "__main__":
    main()
