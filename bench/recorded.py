"""The infinite-width engine beside recorded simulations of width 512: `python -m bench.recorded`.

Every net is computed on several random batches, whose mean is compared. Infinite and finite width need
not agree: what remains is O(1/512), and more where the signal is degenerate. CIFAR-10 images as for the
tests (tests/recorded.py): --cifar, else FASTMOMENTS_CIFAR, else beside the repository.
"""

from __future__ import annotations

import os
import sys
import time

import numpy as np
import pytest

import fastmoments as fm
from tests.recorded import LOCS, batch, cifar, load, network

from .common import arguments, deliver, table

#: Our names of the increments of chi that the recordings keep without a station.
INCREMENTS = {"dchi": "delta_chi", "dchi_bn": "delta_chi_bn", "dchi_phi": "delta_chi_phi"}
SHOWN = (2, 10, 30, 50, 100, 200, 500)


def curves(name: str, batches: int, count: int) -> dict[str, np.ndarray]:
    """Moments at infinite width under the recording's names, shape (batches, depths)."""
    recording, images = load(name), cifar()
    depths = recording["depth"]
    net = network(name, int(depths[-1]))
    found: dict[str, list] = {}
    for seed in range(batches):
        start = time.perf_counter()
        inputs = batch(images, seed, flat=net.fully_connected, count=count)
        scan = fm.scan(net, inputs, every=int(depths[0]), normalise=False)
        for key in (key.removesuffix("/mean") for key in recording if key.endswith("/mean")):
            value = _curve(scan, key, LOCS[name])
            found.setdefault(key, []).append(value[np.searchsorted(scan.depth, depths)])
        seconds = time.perf_counter() - start
        print(f"{name}: batch {seed + 1} of {batches}, {seconds:.1f} s", file=sys.stderr)
    return {key: np.array(values) for key, values in found.items()}


def _curve(scan, key: str, locs: dict[str, str]) -> np.ndarray:
    if key in INCREMENTS:
        return scan[INCREMENTS[key]]
    moment, _, loc = key.rpartition("_")
    if moment in scan.moments:
        return scan[moment, locs[loc]]
    return np.log(scan[moment.removeprefix("log_"), locs[loc]])


def compare(name: str, batches: int, count: int) -> list[dict]:
    """One row per recorded moment and depth; of logarithms the difference is that of the exponentials."""
    recording = load(name)
    rows = []
    for key, ours in curves(name, batches, count).items():
        for index, depth in enumerate(recording["depth"].tolist()):
            mean, sigma = recording[f"{key}/mean"][index], recording[f"{key}/std"][index]
            value = ours[:, index].mean()
            relative = np.expm1(value - mean) if key.startswith("log_") else value / mean - 1.0
            rows.append(
                {
                    "net": name, "moment": key, "depth": depth, "recorded": mean, "sigma": sigma,
                    "infinite": value, "between batches": ours[:, index].std(),
                    "relative": relative, "sigmas": (value - mean) / sigma,
                }
            )  # fmt: skip
    return rows


def summary(rows: list[dict]) -> list[dict]:
    """Largest and median differences of each moment over depth."""
    found = []
    for name, moment in dict.fromkeys((row["net"], row["moment"]) for row in rows):
        own = [row for row in rows if (row["net"], row["moment"]) == (name, moment)]
        relative, sigmas = (np.abs([row[key] for row in own]) for key in ("relative", "sigmas"))
        found.append(
            {
                "net": name, "moment": moment,
                "median relative": float(np.median(relative)), "largest relative": float(relative.max()),
                "median sigmas": float(np.median(sigmas)), "largest sigmas": float(sigmas.max()),
                "at depth": own[int(sigmas.argmax())]["depth"],
            }
        )  # fmt: skip
    return found


def shown_moments(rows: list[dict]) -> set[str]:
    """Moments for the table: chi as a logarithm, because its mean hangs on few nets; others as they are."""
    names = {row["moment"] for row in rows}
    return {name for name in names if name.startswith("log_chi") or not name.startswith(("log_", "chi"))}


def main() -> None:
    """Compare the recorded nets and print selected depths and a summary."""
    parser = arguments(__doc__, batches=8, cifar="")
    parser.add_argument("nets", nargs="*", default=list(LOCS), help="default: all of %(default)s")
    parser.add_argument("--images", type=int, default=16, help="of the convolutional net; recorded with 64")
    given = parser.parse_args()
    if given.cifar:
        os.environ["FASTMOMENTS_CIFAR"] = given.cifar
    rows = []
    for name in given.nets:
        flat = network(name, 1).fully_connected
        try:
            rows += compare(name, given.batches if flat else 1, 64 if flat else given.images)
        except pytest.skip.Exception as missing:
            sys.exit(str(missing))
    shown = [row for row in rows if row["depth"] in SHOWN and row["moment"] in shown_moments(rows)]
    figures = {"recorded": ".4g", "sigma": ".2g", "infinite": ".4g", "between batches": ".1g"}
    table(shown, {"net": "", "moment": "", "depth": "d", **figures, "relative": "+.1%", "sigmas": "+.1f"})
    summed = summary(rows)
    columns = {"median relative": ".1%", "largest relative": ".1%", "median sigmas": ".1f"}
    table(summed, {"net": "", "moment": "", **columns, "largest sigmas": ".1f", "at depth": "d"})
    deliver(given.json, rows=rows, summary=summed)


if __name__ == "__main__":
    main()
