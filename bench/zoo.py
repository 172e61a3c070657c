"""Every net of the zoo at infinite width, what it takes against its estimate: `python -m bench.zoo`.

A process for each net, which scans once with the kernels compiled and loaded. Bounds, of 8 images of 32 x 32:
60 s, 2 GB, and the estimate right to a factor of two: of the memory at most that too high, of the time either
way (`busy`, the processor time, is what to compare on a machine that others share, with `--threads 1`).
`--verdicts` is the table of the README. `--sampled` compares instead chi and the effective rank of
the signal behind every unit with random nets of the net's own channel numbers. --images: a source as
`fastmoments scan` takes it; --nets: names, "all" for the whole zoo.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from pathlib import Path

import numpy as np

import fastmoments as fm
from fastmoments.nets.network import Network, walk
from fastmoments.nets.zoo import NETS

from .common import arguments, child, deliver, table

#: Layers with weights of the deepest net that is simulated.
DEEPEST = 110
#: The nets whose verdicts the README has.
VERDICTS = (
    "resnet18", "resnet18-v2", "resnet50", "resnet50-v2", "resnet20", "resnet20-v2", "resnet110",
    "resnet110-v2", "vgg16", "vgg16-bn", "fixup-resnet110", "densenet121", "convnext-tiny",
)  # fmt: skip
#: Channels drawn for the scan that loads the kernels.
LOADING = 64


def made(name: str) -> Network:
    """The net of a name."""
    return NETS[name](classes=10)


def alone(name: str, images: str, count: int, threads: int) -> dict:
    """Scan one net in this process: what it takes, what was estimated, and its end."""
    network, batch = made(name), fm.load_images(images, count)
    # What a process loads is no part of the time of a walk.
    fm.scan(network, fm.load_images(images, 2), fm.InfiniteWidth(draws=LOADING), every=network.depth)
    estimate = fm.estimate(network, batch, threads=threads)
    start = time.perf_counter(), time.process_time()
    scan = fm.scan(network, batch, threads=threads)
    seconds, busy = time.perf_counter() - start[0], time.process_time() - start[1]
    last, budget = scan.stations[-1], scan.verdict.budget
    peak = _peak()
    return {
        "net": name, "images": count, "seconds": seconds, "busy": busy, "estimated": estimate.seconds,
        "GB": peak / 1e9, "estimated GB": estimate.bytes / 1e9,
        "chi": last.mean["chi"], "SNR dB": budget.snr_db, "directions": budget.directions,
        "of": budget.most_directions,
        "gradient dB": budget.gradient_db, "verdict": scan.verdict.label,
    }  # fmt: skip


def _peak() -> int:
    """Most memory of this process since the program began, where the system tells it (Linux)."""
    status = Path("/proc/self/status")
    if status.exists():  # `ru_maxrss` also counts the process that started it, before it became this program
        return next(int(line.split()[1]) * 1024 for line in status.open() if line.startswith("VmHWM"))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def sampled(name: str, images: str, count: int, draws: int) -> dict:
    """Chi and r_eff of the signal by both engines, at the end, and the deviations of their logarithms.

    Those behind the last unit, and the largest of all units.
    """
    network, batch = made(name), fm.load_images(images, count)
    analytic, drawn = fm.scan(network, batch), fm.scan(network, batch, fm.Sampled(nets=draws))
    row: dict = {"net": name, "images": count, "nets": draws}
    for key, curve in (("chi", "chi"), ("r_eff", "reff_signal")):
        mine, theirs = analytic[curve], drawn[curve]
        off = np.log(mine / theirs)
        row |= {
            key: float(mine[-1]), f"{key}, sampled": float(theirs[-1]),
            f"{key} +-": float(drawn.standard_error(curve)[-1] / theirs[-1]),
            f"{key} off": float(off[-1]), f"{key} most off": float(off[np.nanargmax(np.abs(off))]),
        }  # fmt: skip
    return row


def _weighted(network: Network) -> int:
    """Layers with weights, those of projections among them."""
    return sum(layer.weighted for _, layer in walk((*network.stem, *network.layers)))


def main() -> None:
    """A table of the whole zoo, or of the nets that are named."""
    parser = arguments(__doc__, nets="all", images="synthetic:32x32x3", counts="4,8", threads=2, draws=10)
    parser.add_argument("--sampled", action="store_true", help="compare with --draws random nets of each")
    parser.add_argument("--verdicts", action="store_true", help="the nets and the table of the README")
    parser.add_argument("--alone", action="store_true", help="of one net, in this process, as JSON")
    given = parser.parse_args()
    every = VERDICTS if given.verdicts else tuple(NETS)
    names = every if given.nets == "all" else given.nets.split(",")
    counts = list(map(int, given.counts.split(",")))
    if given.alone:
        print(json.dumps(alone(names[0], given.images, counts[0], given.threads)))
        return
    rows = []
    for name in names:
        if given.sampled and _weighted(made(name)) > DEEPEST:
            continue
        for count in counts:
            if given.sampled:
                rows.append(sampled(name, given.images, count, given.draws))
            else:
                rows.append(_in_a_child(name, given.images, count, given.threads))
            print(rows[-1], file=sys.stderr, flush=True)
    if given.verdicts:
        verdicts(rows)
    elif given.sampled:
        form = {"": ".3g", ", sampled": ".3g", " +-": ".3f", " off": "+.3f", " most off": "+.3f"}
        of_each = {key + rest: each for key in ("chi", "r_eff") for rest, each in form.items()}
        table(rows, {"net": "", "images": "d", "nets": "d", **of_each})
    else:
        form = {"seconds": ".1f", "busy": ".1f", "estimated": ".1f", "GB": ".2f", "estimated GB": ".2f"}
        table(rows, {"net": "", "images": "d", **form, "chi": ".3g", "SNR dB": "+.1f", "directions": ".2f"})
    deliver(given.json, rows=rows)


def verdicts(rows: list[dict]) -> None:
    """Print what is left at the end of every net, in Markdown."""
    heads = ("net", "chi", "SNR, dB", "directions", "gradients, dB", "verdict", "seconds")
    lines = [heads, ("---",) * len(heads)]
    for row in rows:
        gradient = "" if row["gradient dB"] is None else f"{row['gradient dB']:+.1f}"
        directions = f"{row['directions']:.1f} of {row['of']}"
        ends = f"{row['chi']:,.3g}", f"{row['SNR dB']:+.1f}", directions, gradient, row["verdict"]
        lines.append((row["net"], *ends, f"{row['busy']:.1f}"))
    for line in lines:
        print(f"| {' | '.join(line)} |")


def _in_a_child(name: str, images: str, count: int, threads: int) -> dict:
    """The row of a net that is scanned in a process of its own."""
    asked = ["--alone", "--nets", name, "--images", images, "--counts", count, "--threads", threads]
    said = child([sys.executable, "-m", "bench.zoo", *asked], PYTHONSAFEPATH="").said
    return json.loads(said.splitlines()[-1])


if __name__ == "__main__":
    main()
