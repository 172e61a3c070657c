"""The errors that a scan at finite width claims, against simulated nets: `python -m bench.finite_error`.

Small nets of every family, fully connected and convolutional, at several widths and batches, the first four
depths and then every tenth. The actual error of a mean or a deviation is its distance from the simulated one;
it is resolved where that is beyond two standard errors of the simulation.

Covered: the share of points where the actual error is within what is claimed and one standard error.
Claimed / actual: quartiles over the points that are resolved. Each moment at its main station; of logarithms,
but for ranks. Points of one setting stand on the same nets, so that they are less than their number.
"""

from __future__ import annotations

import math

import numpy as np

import fastmoments as fm
from fastmoments.engines.protocol import ENGINE_MOMENTS, Station
from fastmoments.scans.curves import main_loc

from .common import arguments, deliver, quartiles, table
from .finite_width import FAMILIES, shrunk

#: kernel, images, squares of pixels that are averaged, padding, and width x points.
SETTINGS = (
    (1, "fashion-mnist", 1, "periodic", "32x8,32x32,64x6,64x16,64x64,128x32,256x16,256x64"),
    (1, "synthetic:6x6x3", 1, "periodic", "64x16,128x8,128x32"),
    (3, "fashion-mnist", 2, "periodic", "32x12,64x6,128x16"),
    (3, "fashion-mnist", 2, "zeros", "64x6"),
    (3, "synthetic:6x6x3", 1, "periodic", "64x12"),
    (3, "synthetic:6x6x3", 1, "symmetric", "128x6"),
)


def taken(network, images, engine, every: int) -> dict[tuple[int, str], list[Station]]:
    """Stations of all nets, by depth and name."""
    found: dict[tuple[int, str], list[Station]] = {}

    def keep(station) -> None:
        if isinstance(station, Station) and station.loc and station.depth:
            found.setdefault((station.depth, station.loc), []).append(station)

    fm.scan(network, images, engine, every=every, progress=keep)
    return found


def compared(network, images, width: int, every: int, nets: int) -> list[dict]:
    """A row for each moment and depth of one net."""
    theory = taken(network, images, fm.FiniteWidth(width=width), every)
    simulated = taken(network, images, fm.Sampled(width=width, nets=nets, seed=width + len(images)), every)
    rows = []
    for depth in sorted({depth for depth, _ in theory}):
        for name in ENGINE_MOMENTS:
            locs = [loc for at, loc in theory if at == depth and name in theory[at, loc][0].moments]
            if not locs:
                continue
            place = depth, main_loc(name.removeprefix("log_"), locs)
            ours = theory[place][0]
            values = np.array([station.moments[name] for station in simulated[place]])
            deviation = float(values.std(ddof=1))
            of_mean = abs(ours.moments[name] - float(values.mean())), deviation / math.sqrt(nets)
            of_sigma = abs(ours.sigmas[name] - deviation), deviation / math.sqrt(2 * nets)
            parts = ((ours.errors, *of_mean), (ours.sigma_errors, *of_sigma))
            for what, (claims, actual, chance) in zip(("mean", "deviation"), parts, strict=True):
                row = {"depth": depth, "moment": name.removeprefix("log_"), "what": what}
                rows.append(row | {"claimed": claims[name], "actual": actual, "chance": chance})
    return rows


def summary(rows: list[dict]) -> dict:
    """How far the claims of one moment hold."""
    claimed, actual, chance = (
        np.array([row[key] for row in rows]) for key in ("claimed", "actual", "chance")
    )
    resolved = actual > 2.0 * chance + 1e-9
    found = {key: rows[0][key] for key in ("kernel", "family", "moment", "what")}
    found |= {"points": len(rows), "covered": float(np.mean(actual <= claimed + chance + 1e-9))}
    found["resolved"] = int(resolved.sum())
    if resolved.any():
        found["claimed / actual"] = quartiles(claimed[resolved] / actual[resolved])
    return found


def main() -> None:
    """Compare everything, then show what is alike."""
    parser = arguments(__doc__, depth=40, every=10, nets=200)
    parser.add_argument("--families", default=",".join(FAMILIES))
    parser.add_argument("--kernels", default="1,3")
    parser.add_argument("--settings", help="width x points, instead of those of each kind of images")
    given = parser.parse_args()
    rows: list[dict] = []
    for kernel, source, by, padding, sizes in SETTINGS:
        if str(kernel) not in given.kernels.split(","):
            continue
        for width, points in (map(int, each.split("x")) for each in (given.settings or sizes).split(",")):
            images = shrunk(fm.load_images(source, points, seed=points).array, by)
            for family in given.families.split(","):
                if family == "residual" and kernel > 1:
                    continue  # which the theory does not cover
                known = {"kernel": kernel, "family": family, "width": width, "images": source}
                for depth, every in ((min(4, given.depth), 1), (given.depth, given.every)):
                    network = getattr(fm, family)(depth, kernel_size=kernel, padding=padding)
                    rows += [known | row for row in compared(network, images, width, every, given.nets)]
    groups: dict[tuple, list[dict]] = {}
    for row in rows:
        groups.setdefault((row["what"], row["kernel"], row["family"], row["moment"]), []).append(row)
    order = {"mean": 0, "deviation": 1}
    summaries = [summary(groups[key]) for key in sorted(groups, key=lambda key: (order[key[0]], *key[1:]))]
    form = {"what": "", "kernel": "d", "family": "", "moment": "", "points": "d", "covered": ".0%"}
    table(summaries, form | {"resolved": "d", "claimed / actual": ".1f"})
    deliver(given.json, summaries=summaries, rows=rows)


if __name__ == "__main__":
    main()
