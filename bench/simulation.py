"""Infinite width against a simulation in PyTorch, to the same accuracy: `python -m bench.simulation`.

The question is chi behind the last unit and the effective rank of the signal at its activation, to 1%. Ours:
an analytic scan. Theirs: random nets of a finite width, whose mean has a standard error of 1% after
(relative standard deviation / 1%)^2 nets, and at least one. What more nets do not take away is the bias, the
difference of that width's mean from infinite width; it stands beside the seconds, with its standard error.
To see that both simulate the same nets, the mean is compared with that of our own sampled engine, in standard
errors of the difference (z). Nets, engine and scans take turns; compilation and the start of the processes
are left out on both sides; threads without work sleep (OMP_WAIT_POLICY), or they would slow the other side.
PyTorch runs in an environment of its own, made at the first run in --env.
"""

from __future__ import annotations

import math
import os
import tempfile
from pathlib import Path

import numpy as np

import fastmoments as fm
from fastmoments.images.sources import normalise

from .common import arguments, deliver, quartiles, table
from .peer import ENVIRONMENTS, Peer, environment

PINS = ("torch==2.13.0", "numpy")
ACCURACY = 0.01
QUANTITIES = ("chi", "r_eff")


def ours(net: fm.Network, images, every: int, engine=None) -> fm.Scan:
    """One scan on two threads, at infinite width unless told, with the ranks that the simulation takes."""
    return fm.scan(net, images, engine, every=every, threads=min(2, os.cpu_count()))


def last(scan: fm.Scan) -> dict[str, float]:
    """What is asked for, at the last depth."""
    return {"chi": float(scan["chi"][-1]), "r_eff": float(scan["reff_signal", "act"][-1])}


def measured(peer: Peer, family: str, images, width: int, given, folder: Path) -> list[dict]:
    """Compare at one width; a row for each quantity."""
    net = getattr(fm, family)(given.depth)
    values = folder / "images.npy"
    np.save(values, normalise(images))
    parameters = dict(net.parameters)
    task = {
        "family": family, "depth": given.depth, "every": given.every, "width": width, "images": values,
        "res_depth": parameters.get("res_depth", 1), "epsilon": parameters.get("epsilon", 0.0),
        "threads": min(2, os.cpu_count()),
    }  # fmt: skip
    peer.ask(**task, nets=1, first=0)
    ours(net, images, given.every)
    ours(net, images, given.every, fm.Sampled(width=width, nets=1))
    each = given.nets // given.repeats
    fewer = min(each, max(2, each * 128 // width))  # of our own, which check and are not timed
    answers, exact_seconds, own_scans = [], [], []
    for turn in range(given.repeats):
        exact = ours(net, images, given.every)
        exact_seconds.append(exact.provenance["seconds"])
        answers.append(peer.ask(**task, nets=each, first=1 + turn * each))
        sampled = fm.Sampled(width=width, nets=fewer, seed=1 + turn)
        own_scans.append(ours(net, images, given.every, sampled))
    seconds = np.concatenate([answer["seconds"] for answer in answers])
    nets = {"chi": np.exp(np.concatenate([answer["log_chi"] for answer in answers]))}
    nets["r_eff"] = np.concatenate([answer["r_eff"] for answer in answers])
    rows = []
    for name in QUANTITIES:
        infinite, mean, sigma = last(exact)[name], nets[name].mean(), nets[name].std(ddof=1)
        error = sigma / math.sqrt(len(seconds))
        own = float(np.mean([last(scan)[name] for scan in own_scans]))
        apart = math.hypot(error, sigma / math.sqrt(fewer * given.repeats))  # of two means of the same law
        needed = max(1.0, (sigma / mean / ACCURACY) ** 2)
        spent = needed * float(np.median(seconds))
        rows.append(
            {
                "family": family, "quantity": name, "width": width, "depth": given.depth,
                "points": exact.data["points"], "nets": len(seconds),
                "ours, s": quartiles(np.array(exact_seconds)), "infinite": infinite,
                "layer error": exact.provenance["layer_error"],
                "s a net": quartiles(seconds), "mean": float(mean), "sd, %": float(100 * sigma / mean),
                "nets for 1%": needed, "s for 1%": spent, "ratio": spent / float(np.median(exact_seconds)),
                "bias, %": float(100 * (mean / infinite - 1.0)), "+-": float(100 * error / infinite),
                "own engine": own,
                "z": float((mean - own) / apart),
                "own nets": fewer * given.repeats,
            }
        )  # fmt: skip
    return rows


def draw(rows: list[dict], path: Path) -> None:
    """Seconds to a standard error of 1%, and the bias that remains, against the width."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4), layout="constrained")
    time, bias = figure.subplots(1, 2)
    for number, family in enumerate(dict.fromkeys(row["family"] for row in rows)):
        color = f"C{number}"
        for quantity, style in zip(QUANTITIES, ("o-", "s--"), strict=True):
            mine = [row for row in rows if row["family"] == family and row["quantity"] == quantity]
            width = [row["width"] for row in mine]
            label = f"{family}, {quantity}"
            time.plot(width, [row["s for 1%"] for row in mine], style, color=color, label=label)
            sizes, errors = ([row["bias, %"] for row in mine], [row["+-"] for row in mine])
            bias.errorbar(width, sizes, errors, fmt=style, color=color, capsize=3, label=label)
        time.axhline(float(np.median([row["ours, s"][1] for row in mine])), color=color, lw=1, ls=":")
    time.plot([], [], "k:", lw=1, label="fastmoments, infinite width")
    time.set(ylabel="seconds to a standard error of 1%", yscale="log", title="Time")
    bias.axhspan(-100 * ACCURACY, 100 * ACCURACY, color="0.85")
    bias.set(ylabel="difference from infinite width, %", title="Bias (bars: one standard error)")
    for axes in (time, bias):
        axes.set_xscale("log", base=2)
        axes.set_xlabel("width of the simulated nets")
        axes.grid(True, alpha=0.2)
    figure.legend(*time.get_legend_handles_labels(), loc="outside right upper", fontsize="small")
    figure.savefig(path, dpi=150)


def main() -> None:
    """Compare every family at every width."""
    parser = arguments(__doc__, repeats=4, nets=32, depth=30, every=10, count=8)
    parser.add_argument("--env", type=Path, default=ENVIRONMENTS / "torch")
    parser.add_argument("--families", default="vanilla,bn_ff,bn_res")
    parser.add_argument("--widths", default="128,256,512")
    parser.add_argument("--images", default="synthetic:16x16x3", help="even sides; seen at half their size")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw the comparison")
    given = parser.parse_args()
    images = fm.load_images(given.images, given.count, seed=0)
    if images.array.shape[1] % 2 or images.array.shape[2] % 2:
        parser.error("--images must have even sides.")
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # read when the first kernel runs
    rows = []
    with (
        tempfile.TemporaryDirectory() as folder,
        Peer(environment(given.env, PINS), "peer_torch.py") as peer,
    ):
        for family in given.families.split(","):
            for width in map(int, given.widths.split(",")):
                rows += measured(peer, family, images, width, given, Path(folder))
    columns = {"family": "", "quantity": "", "width": "d", "nets": "d", "ours, s": ".2f", "s a net": ".2f"}
    columns |= {"sd, %": ".2f", "nets for 1%": ".0f", "s for 1%": ".1f", "ratio": ".1f"}
    table(rows, columns | {"bias, %": "+.2f", "+-": ".2f", "own nets": "d", "z": "+.1f"})
    if given.plot:
        draw(rows, given.plot)
    deliver(given.json, simulation=rows)


if __name__ == "__main__":
    main()
