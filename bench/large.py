"""The published size on this machine: 64 images at 16x16 positions, every family: `python -m bench.large`.

M = 16,384 points, to depth 200 (500 residual units), 100 stations, all moments. Each scan is a process of
its own, timed by the clock, with its peak of memory. With several seeds the curves are averaged over their
batches of images. Scans are kept in --folder and not computed again: stopped, it goes on where it was.

With --doubled the first batch is scanned once more with twice the eigenpairs, half their share of the trace,
and twice the iterations, to a tenth of the residual; the largest difference is the error that is left.
"""

from __future__ import annotations

import json
from pathlib import Path
from unittest.mock import patch

import numpy as np

import fastmoments as fm
from fastmoments.maps import batch_norm

from .common import FASTMOMENTS, arguments, child, deliver, table

DEPTHS = {"vanilla": 200, "residual": 500, "bn_ff": 200, "bn_res": 500}
PADDINGS = {"vanilla": "symmetric"}  # as the recording
SHOWN = {200: (10, 30, 50, 100, 200), 500: (10, 50, 100, 200, 500)}


def scanned(family: str, seed: int, given, folder: Path) -> tuple[fm.Scan, dict]:
    """Scan one family on one batch, or read what an earlier run left; with seconds and peak of memory."""
    dtype = given.dtype if family.startswith("bn") else "float64"
    output = folder / f"{family}-{dtype}-{seed}{given.suffix}.json"
    cost = output.with_suffix(".cost")
    if not cost.exists():
        depth = DEPTHS[family]
        command = [
            FASTMOMENTS, "scan", family, "--depth", depth, "--every", depth // 100, "--images", given.images,
            "--count", given.count, "--seed", seed, "--padding", PADDINGS.get(family, "periodic"),
            "--dtype", dtype, "--threads", given.threads, "--output", output, "--resume",
        ]  # fmt: skip
        command += ["--rank", given.rank] if given.rank else []
        done = child(command)
        cost.write_text(json.dumps({"seconds": done.seconds, "peak_gb": done.peak / 2**30}))
    return fm.load_scan(output), json.loads(cost.read_text())


def doubled(family: str, given, folder: Path) -> fm.Scan:
    """Scan a family with batch norm as `scanned` does, its eigenpairs and their iterations doubled."""
    output = folder / f"{family}-{given.dtype}-doubled.npz"
    if not output.exists():
        depth = DEPTHS[family]
        changes = {
            "SHARE": batch_norm.SHARE / 2, "LEAST_RANK": 2 * batch_norm.LEAST_RANK,
            "MOST_RANK": 2 * batch_norm.MOST_RANK, "ITERATIONS": 2 * batch_norm.ITERATIONS,
            "RESIDUAL": batch_norm.RESIDUAL / 10,
        }  # fmt: skip
        with patch.multiple(batch_norm, **changes):
            images = fm.load_images(given.images, given.count, int(given.seeds.split(",")[0]))
            journal = output.with_suffix(".partial")
            scan = fm.scan(
                getattr(fm, family)(depth), images, fm.InfiniteWidth(dtype=given.dtype), every=depth // 100,
                threads=given.threads, journal=journal, resume=True,
            )  # fmt: skip
        fm.save_scan(scan, output)
        journal.unlink()
    return fm.load_scan(output)


def difference(scan: fm.Scan, other: fm.Scan) -> dict:
    """The largest relative differences of the curves, over all depths."""
    names = {"chi": "log_chi", "mu4": "mu4_signal", "r_eff": "reff_signal", "r_eff noise": "reff_noise"}
    ratios = {name: scan[moment] / other[moment] - 1.0 for name, moment in names.items()}
    ratios["chi"] = scan["log_chi"] - other["log_chi"]
    return {name: float(np.abs(ratio).max()) for name, ratio in ratios.items()}


def main() -> None:
    """Scan, then show the costs and the curves."""
    parser = arguments(__doc__, repeats=1)
    parser.add_argument("--images", required=True, help="a file of 32x32 images, such as CIFAR-10")
    parser.add_argument("--count", type=int, default=64)
    parser.add_argument("--families", default=",".join(DEPTHS))
    parser.add_argument("--seeds", default="0")
    parser.add_argument("--dtype", default="float32", help="of the nets with batch norm")
    parser.add_argument("--rank", type=int, help="fixed rank of batch norm")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--folder", type=Path, default=Path("large"))
    parser.add_argument("--doubled", action="store_true", help="measure the error of the eigenpairs")
    given = parser.parse_args()
    given.suffix = f"-rank{given.rank}" if given.rank else ""
    given.folder.mkdir(exist_ok=True)
    costs, rows = [], []
    for family in given.families.split(","):
        scans = []
        for seed in map(int, given.seeds.split(",")):
            scan, cost = scanned(family, seed, given, given.folder)
            scans.append(scan)
            law = scan.verdict.to_dict()
            costs.append(
                {
                    "family": family, "seed": seed, "dtype": scan.provenance["dtype"],
                    "points": scan.data["points"], "minutes": cost["seconds"] / 60,
                    "peak GB": cost["peak_gb"],
                    "layer error": scan.provenance["layer_error"], "verdict": scan.verdict.label,
                    "law": f"{law['sensitivity']['law']} {law['sensitivity']['rate']:.3g}",
                }
            )  # fmt: skip
        curves = {
            "ln chi": [scan["log_chi"] for scan in scans],
            "r_eff": [scan["reff_signal"] for scan in scans],
            "mu4": [scan["mu4_signal"] for scan in scans],
            "nu1": [scan["nu1_abs_signal"] for scan in scans],
        }
        for depth in SHOWN[DEPTHS[family]]:
            at = int(np.searchsorted(scans[0].depth, depth))
            row = {"family": family, "depth": depth, "batches": len(scans)}
            rows.append(row | {name: float(np.mean(curve, 0)[at]) for name, curve in curves.items()})
    form = {"family": "", "seed": "d", "dtype": "", "points": "d", "minutes": ".2f", "peak GB": ".2f"}
    table(costs, form | {"layer error": ".1e", "verdict": "", "law": ""})
    form = {"family": "", "depth": "d", "batches": "d", "ln chi": ".3f", "r_eff": ".3f"}
    table(rows, form | {"mu4": ".4g", "nu1": ".4g"})
    errors = []
    for family in given.families.split(",") if given.doubled else ():
        if family.startswith("bn"):
            seed = int(given.seeds.split(",")[0])
            scan, _ = scanned(family, seed, given, given.folder)
            errors.append({"family": family} | difference(scan, doubled(family, given, given.folder)))
    if errors:
        table(errors, {name: ".1e" if name != "family" else "" for name in errors[0]})
    deliver(given.json, costs=costs, curves=rows, errors=errors)


if __name__ == "__main__":
    main()
