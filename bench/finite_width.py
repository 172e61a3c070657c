"""The theory at finite width against simulated nets of that width: `python -m bench.finite_width`.

Nets of every family, at widths and batches nothing was fitted to: mean and deviation over nets of every
moment at its main station, over depth; and of nets of five layers at every depth, where the rank of the noise
is farthest off. Fully connected ones, unless a --kernel-size is given; --shrink averages squares of pixels,
which makes convolutional nets quicker to simulate. --borders adds convolutional nets on images with dark
borders, the embedded ones at 7 x 7 positions.

In band: the predicted mean lies within one sampled deviation of the sampled mean. |z|: their distance in
sampled deviations. Ratio: predicted over sampled deviation. All of logarithms, but for ranks. What the
sampled nets leave to chance is 1 / sqrt(nets) in z and 1 / sqrt(2 nets) in the ratio. First 5: in band at
depth 1 to 5; of the rank of the noise there the mean |z|, the largest error and the median ratio. The second
table lists every moment that misses what all are held to: inside the band at every depth, mean |z| at most
0.3, median ratio 0.8 to 1.25. --images: a file of images such as CIFAR-10; else embedded ones.
"""

from __future__ import annotations

import time
from argparse import Namespace

import numpy as np

import fastmoments as fm
from fastmoments.engines.protocol import Station
from fastmoments.scans.curves import main_loc

from .common import arguments, deliver, table

FAMILIES = ("vanilla", "residual", "bn_ff", "bn_res")
LOGARITHMS = ("chi", "nu1_abs_signal", "nu2_signal", "mu2_signal", "mu4_signal", "mu2_noise")
RANKS = ("reff_signal", "reff_noise")
#: What every moment is held to.
BOUNDS = {"z": 1.0, "mean |z|": 0.3, "least": 0.8, "most": 1.25}
#: Options of the nets whose first layers are looked at, and of those on images with borders.
FIRST = {"depth": 5, "every": 1}
BORDERS = {"images": "fashion-mnist", "shrink": 2, "kernel_size": 3, "settings": "128x16,128x64"}


def taken(network, images, engine, every: int) -> tuple[dict, float]:
    """Means and deviations by (moment, depth), each at its main station, and the seconds it took."""
    stations, start = [], time.perf_counter()
    fm.scan(network, images, engine, every=every, progress=stations.append)
    seconds = time.perf_counter() - start
    found: dict = {}
    for station in stations:
        if not isinstance(station, Station) or station.loc is None:
            continue
        for name in (*LOGARITHMS, *RANKS):
            key = name if name in RANKS else f"log_{name}"
            if key in station.moments:
                at = found.setdefault((name, station.depth), {}).setdefault(station.loc, ([], []))
                at[0].append(station.moments[key])
                at[1].append(station.sigmas.get(key))
    curves = {}
    for (name, depth), locs in found.items():
        values, sigmas = locs[main_loc(name, locs)]
        if depth:
            sampled = len(values) > 1
            curves[name, depth] = (
                float(np.mean(values)),
                float(np.std(values, ddof=1)) if sampled else sigmas[0],
            )
    return curves, seconds


def shrunk(images: np.ndarray, by: int) -> np.ndarray:
    """Means over squares of `by` x `by` pixels."""
    count, height, width, channels = images.shape
    return images.reshape(count, height // by, by, width // by, by, channels).mean((2, 4))


def compared(family: str, width: int, points: int, given) -> list[dict]:
    """One row for each moment and depth."""
    images = shrunk(fm.load_images(given.images, points, seed=points).array, given.shrink)
    network = getattr(fm, family)(given.depth, kernel_size=given.kernel_size, padding=given.padding)
    theory, seconds = taken(network, images, fm.FiniteWidth(width=width), given.every)
    sampling = fm.Sampled(width=width, nets=given.nets, seed=width)
    simulated, longer = taken(network, images, sampling, given.every)
    rows = []
    for (name, depth), (mean, sigma) in theory.items():
        sampled, deviation = simulated[name, depth]
        if deviation > 0.0:
            rows.append(
                {
                    "family": family, "kernel": given.kernel_size, "images": given.images,
                    "layers": given.depth,
                    "width": width, "points": points, "moment": name, "depth": depth,
                    "mean": mean, "sampled mean": sampled, "sigma": sigma, "sampled sigma": deviation,
                    "z": (mean - sampled) / deviation, "ratio": sigma / deviation,
                    "seconds": seconds, "sampled seconds": longer,
                }
            )  # fmt: skip
    return rows


def first_layers(rows: list[dict]) -> dict:
    """Share over moments of the first layers, and how far off the rank of the noise is, where it is known."""
    noise = [row for row in rows if row["moment"] == "reff_noise"]
    found = {"first 5": float(np.mean([abs(row["z"]) < 1.0 for row in rows]))}
    if noise:
        errors = [row["mean"] / row["sampled mean"] - 1.0 for row in noise]
        found["noise rank |z|"] = float(np.mean([abs(row["z"]) for row in noise]))
        found["error"] = float(max(errors, key=abs))
        found["its ratio"] = float(np.median([row["ratio"] for row in noise]))
    return found


def summary(rows: list[dict]) -> dict:
    """Shares and means over moments and depths."""
    z, ratio = (np.array([row[key] for row in rows]) for key in ("z", "ratio"))
    worst = rows[int(np.argmax(np.abs(z)))]
    return {
        "family": rows[0]["family"], "N": rows[0]["width"], "M": rows[0]["points"],
        "in band": float(np.mean(np.abs(z) < 1.0)), "mean |z|": float(np.mean(np.abs(z))),
        "largest": f"{worst['z']:+.1f} {worst['moment']} at {worst['depth']}",
        "ratio": np.quantile(ratio, [0.25, 0.5, 0.75]).tolist(),
        "seconds": rows[0]["seconds"], "sampled": rows[0]["sampled seconds"],
    }  # fmt: skip


def exceptions(rows: list[dict]) -> list[dict]:
    """Moments of a family, at a size, that miss `BOUNDS`: over depths, the first layers by themselves."""
    groups: dict[tuple, list[dict]] = {}
    for row in rows:
        key = tuple(
            row[name] for name in ("family", "kernel", "images", "layers", "width", "points", "moment")
        )
        groups.setdefault(key, []).append(row)
    found = []
    for (family, kernel, images, layers, width, points, moment), group in groups.items():
        far = max((row["z"] for row in group), key=abs)
        mean = float(np.mean([abs(row["z"]) for row in group]))
        ratio = np.quantile([row["ratio"] for row in group], [0.25, 0.5, 0.75]).tolist()
        if (
            abs(far) > BOUNDS["z"]
            or mean > BOUNDS["mean |z|"]
            or not BOUNDS["least"] <= ratio[1] <= BOUNDS["most"]
        ):
            found.append(
                {
                    "family": family, "kernel": kernel, "layers": layers, "N": width, "M": points,
                    "moment": moment, "mean |z|": mean, "largest": far,
                    "error": max((row["mean"] / row["sampled mean"] - 1.0 for row in group), key=abs)
                    if moment in RANKS else None,
                    "ratio": ratio, "images": images,
                }
            )  # fmt: skip
    return found


def main() -> None:
    """Compare everything, then show what is alike."""
    settings = "128x32,128x128,256x64,1024x32,512x16"
    parser = arguments(__doc__, depth=50, every=10, nets=200)
    parser.add_argument("--settings", default=settings, help=f"width x points, default {settings}")
    parser.add_argument("--families", default=",".join(FAMILIES))
    parser.add_argument("--kernel-size", type=int, default=1)
    parser.add_argument("--padding", default="periodic")
    parser.add_argument("--shrink", type=int, default=1)
    parser.add_argument("--images", default="fashion-mnist")
    parser.add_argument("--borders", action="store_true", help="images with dark borders as well")
    parser.add_argument("--detail", action="store_true", help="every moment at every depth as well")
    given = parser.parse_args()
    cases = [given, *([Namespace(**{**vars(given), **BORDERS})] if given.borders else [])]
    rows, summaries = [], []
    for case in cases:
        for family in case.families.split(","):
            for width, points in (map(int, each.split("x")) for each in case.settings.split(",")):
                found = compared(family, width, points, case)
                rows += (first := found)
                if not vars(case).items() >= FIRST.items():
                    rows += (first := compared(family, width, points, Namespace(**{**vars(case), **FIRST})))
                described = {"kernel": case.kernel_size, "images": case.images}
                summaries.append(summary(found) | first_layers(first) | described)
    form = {
        "family": "",
        "kernel": "d",
        "N": "d",
        "M": "d",
        "in band": ".0%",
        "mean |z|": ".2f",
        "largest": "",
    }
    form |= {"ratio": ".2f", "seconds": ".1f", "sampled": ".1f"}
    form |= {"first 5": ".0%", "noise rank |z|": ".2f", "error": "+.1%", "its ratio": ".2f", "images": ""}
    table(summaries, form)
    missed = exceptions(rows)
    columns = {
        "family": "",
        "kernel": "d",
        "layers": "d",
        "N": "d",
        "M": "d",
        "moment": "",
        "mean |z|": ".2f",
    }
    table(missed, columns | {"largest": "+.2f", "error": "+.1%", "ratio": ".2f", "images": ""})
    if given.detail:
        detail = {
            "family": "",
            "kernel": "d",
            "width": "d",
            "points": "d",
            "moment": "",
            "depth": "d",
            "mean": ".4g",
        }
        detail |= {"sampled mean": ".4g", "sigma": ".3g", "sampled sigma": ".3g", "z": "+.2f", "ratio": ".2f"}
        table(rows, detail)
    deliver(given.json, summaries=summaries, exceptions=missed, rows=rows)


if __name__ == "__main__":
    main()
