"""What storing the signal in single precision costs in accuracy: `python -m bench.precision`.

The same scan with dtype float64 and float32: for each moment the relative difference at some depths, and the
largest of all stations and depths. Both choose the rank of batch norm for themselves, as in use. Nets with a
unit without batch norm have no such option, because their correlations tend to 1.
"""

from __future__ import annotations

import numpy as np

import fastmoments as fm

from .common import arguments, deliver, table

#: Curves compared. Of those that may overflow the logarithm, whose difference is a relative one.
CURVES = {
    "chi": "log_chi", "nu2": "log_nu2_signal", "mu2 of noise": "log_mu2_noise", "nu1": "nu1_abs_signal",
    "mu4": "mu4_signal", "r_eff": "reff_signal", "r_eff of noise": "reff_noise",
}  # fmt: skip


def differences(single: fm.Scan, double: fm.Scan, depths: list[int]) -> list[dict]:
    """Compare two scans; a row for each moment."""
    rows = []
    at = np.searchsorted(double.depth, depths)
    for name, moment in CURVES.items():
        found = {}
        for loc, curve in double.moments[moment].items():
            other = single[moment, loc]
            found[loc] = np.abs(other - curve.mean if "log" in moment else other / curve.mean - 1.0)
        worst = np.max(list(found.values()), axis=0)  # over stations
        row = {"family": double.architecture["name"], "points": double.data["points"], "moment": name}
        row |= {f"at {depth}": float(worst[index]) for depth, index in zip(depths, at, strict=True)}
        rows.append(row | {"largest": float(np.nanmax(worst))})
    return rows


def main() -> None:
    """Compare both batch-normalised families."""
    parser = arguments(__doc__, repeats=1, depth=200, every=10, count=16)
    parser.add_argument("--images", default="synthetic:16x16x3", help="seen at half their size")
    given = parser.parse_args()
    images = fm.load_images(given.images, given.count, seed=0)
    depths = [depth for depth in (10, 50, 100, 200, 500) if depth <= given.depth]
    rows = []
    for family in (fm.bn_ff, fm.bn_res):
        net = family(given.depth)
        double, single = (
            fm.scan(net, images, fm.InfiniteWidth(dtype=dtype), every=given.every)
            for dtype in ("float64", "float32")
        )
        rows += differences(single, double, depths)
    form = {"family": "", "points": "d", "moment": ""}
    table(rows, form | dict.fromkeys([*(f"at {depth}" for depth in depths), "largest"], ".1e"))
    deliver(given.json, precision=rows)


if __name__ == "__main__":
    main()
