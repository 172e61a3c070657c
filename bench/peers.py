"""Infinite width against neural-tangents, on the same net and images: `python -m bench.peers`.

Plain nets (3x3 circular convolution, ReLU) and residual ones without batch norm; both compute the whole
covariance over images and positions in float64, on two threads. First it is checked that they give the same
numbers, of single layers as well (`LAYERS`); tangent kernels between different images, since that of a point
and itself is theirs to 1e-8 behind a ReLU. Steady state is the time at one depth less that at another, by
their difference; theirs is compiled with `stax.repeat`. What the first call takes beyond a later one is
compilation: of `stax.repeat`, which is a loop, and of `stax.serial`, which is not. neural-tangents runs in an
environment of its own, made at the first run in --env.
"""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

import fastmoments as fm
from fastmoments.engines.infinite_width.state import State
from fastmoments.engines.infinite_width.walk import InfiniteWidthWalk
from fastmoments.nets.activations import ReLU
from fastmoments.nets.linear import Conv
from fastmoments.nets.network import Network, Residual
from fastmoments.scans.kernel import KINDS
from fastmoments.scans.scanning import limited_threads

from .common import arguments, deliver, quartiles, table
from .peer import ENVIRONMENTS, Peer, environment

PINS = ("neural-tangents==0.6.5", "jax==0.5.3", "jaxlib==0.5.3")
SERIAL_DEPTH = 10


class NeuralTangents(Peer):
    """The process in which neural-tangents computes."""

    def __init__(self, python: Path, folder: Path):
        super().__init__(python, "peer_neural_tangents.py", JAX_PLATFORMS="cpu")
        self.folder = folder

    def seconds(
        self, net: str, stack: str, depth: int, images: np.ndarray, keep: Path | None = None,
        kind: str = "nngp",
    ) -> float:  # fmt: skip
        """Compute one kernel."""
        path = self.folder / f"images{len(images)}.npy"
        np.save(path, images)
        return self.ask(net=net, stack=stack, depth=depth, images=path, keep=keep, kind=kind)["seconds"]


_ZEROS, _DENSE = Conv(padding="zeros"), fm.Dense(weights=fm.Gaussian(1.0, bias_variance=0.25))
#: One layer of a kind each, which the peer has as well; compared, not timed. It has no kernel of GELU's tanh
#: form (but that of the exact one), nor a layer norm of what is not Gaussian, as right behind an activation.
LAYERS = {
    "AvgPool": [_ZEROS, ReLU(), fm.AvgPool(2), _ZEROS],
    "AvgPool, SAME": [_ZEROS, ReLU(), fm.AvgPool(3, 2, pad=None), _ZEROS],
    "GlobalAvgPool": [_ZEROS, ReLU(), fm.GlobalAvgPool(), _DENSE],
    "Flatten": [_ZEROS, ReLU(), fm.Flatten(), _DENSE, ReLU(), _DENSE],
    "Concat": [_ZEROS, fm.Concat([(), (ReLU(), _ZEROS), (ReLU(), _ZEROS, ReLU(), _ZEROS)]), _ZEROS],
    "LayerNorm": [_ZEROS, fm.LayerNorm(0.1), ReLU(), _ZEROS],
    "LayerNorm, image": [_ZEROS, fm.LayerNorm(0.1, over="image"), ReLU(), _ZEROS],
    "LeakyReLU": [_ZEROS, fm.LeakyReLU(0.1), _ZEROS],
    "Abs": [_ZEROS, fm.Abs(), _ZEROS],
    "Erf": [_ZEROS, fm.Erf(), fm.Flatten(), _DENSE, fm.Erf(), _DENSE],
    "GELU": [_ZEROS, fm.GELU(), fm.Flatten(), _DENSE, fm.GELU(), _DENSE],
    "Sin": [_ZEROS, fm.Sin(), fm.Flatten(), _DENSE, fm.Sin(), _DENSE],
    "Erf, a and b": [_ZEROS, fm.Scale(2.0), fm.Erf(), fm.Scale(-0.5), _ZEROS],
    "Sin, a and b": [_ZEROS, fm.Scale(2.0), fm.Sin(), fm.Scale(-0.5), _ZEROS],
    "LayerNorm, Erf, Sin, GELU": [
        *(_ZEROS, fm.Erf(), _ZEROS, fm.LayerNorm(0.1), fm.Sin()),
        *(_ZEROS, fm.LayerNorm(0.1, over="image"), fm.GELU(), _ZEROS),
    ],
    "Residual": [
        _ZEROS, Residual([ReLU(), _DENSE, ReLU(), _DENSE]), Residual([ReLU(), _DENSE], [ReLU(), _DENSE]),
        fm.GlobalAvgPool(), _DENSE,
    ],
}  # fmt: skip


def network(net: str, depth: int) -> Network:
    """The net that the peer computes: a convolution, then (ReLU, Conv), or residual units of two of them."""
    layers = (ReLU(), Conv()) if net == "vanilla" else (Residual([ReLU(), Conv(), ReLU(), Conv()]),)
    return Network((Conv(), *layers * depth))


def ours(net: str, depth: int, images: np.ndarray) -> tuple[float, State]:
    """Seconds to carry a covariance through the net, in the layout we store."""
    engine = InfiniteWidthWalk(network(net, depth), images, depths=())
    start = time.perf_counter()
    state = engine._start()
    with threadpool_limits(1, user_api="blas"):
        for _ in engine._walk(state):
            pass
    return time.perf_counter() - start, state


def same_numbers(peer: NeuralTangents, net: str) -> dict[str, float]:
    """The largest difference on a small case, relative to the largest entry; of a net, or one of `LAYERS`."""
    images = np.random.default_rng(0).standard_normal((4, 6, 6, 3))
    kept = peer.folder / "kept.npy"
    mine = Network(LAYERS[net]) if net in LAYERS else network(net, 4)
    found = {}
    for kind in KINDS:
        peer.seconds(net, "layers" if net in LAYERS else "repeat", 4, images, kept, kind)
        theirs = np.load(kept)
        full = fm.kernel(mine, images, kind=kind, normalise=False)
        full = (full if kind == "nngp" else full[:2, :, :, 2:]).reshape(theirs.shape)
        found[kind] = float(np.abs(full - theirs).max() / np.abs(theirs).max())
    return found


def measured(
    peer: NeuralTangents, net: str, images: np.ndarray, depths: tuple[int, int], repeats: int
) -> dict:
    """Steady state of both, interleaved, and what compilation takes."""
    first = {depth: peer.seconds(net, "repeat", depth, images) for depth in depths}
    serial = peer.seconds(net, "serial", SERIAL_DEPTH, images)
    serial -= peer.seconds(net, "serial", SERIAL_DEPTH, images)
    ours(net, depths[0], images)
    found = []
    for _ in range(repeats):
        times = [[ours(net, d, images)[0], peer.seconds(net, "repeat", d, images)] for d in depths]
        found.append(np.append(np.subtract(*times[::-1]) / (depths[1] - depths[0]), times[1][1]))
    found = np.array(found)
    points = images[..., 0].size
    return {
        "net": net, "points": points, "depths": list(depths),
        "ours": quartiles(found[:, 0]), "theirs": quartiles(found[:, 1]),
        "ratio": quartiles(found[:, 1] / found[:, 0]),
        "ours, ns/entry": quartiles(found[:, 0] / points**2 * 1e9),
        "theirs, ns/entry": quartiles(found[:, 1] / points**2 * 1e9),
        "compile repeat": first[depths[1]] - float(np.median(found[:, 2])),
        f"compile serial {SERIAL_DEPTH}": serial,
    }  # fmt: skip


def draw(rows: list[dict], path: Path) -> None:
    """Seconds per layer of both against the number of points."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.add_subplot(
        xscale="log", yscale="log", xlabel="points M", ylabel="seconds per layer or unit"
    )
    for net, style in (("vanilla", "-"), ("residual", "--")):
        mine = [row for row in rows if row["net"] == net]
        for name, color in (("ours", "C0"), ("theirs", "C1")):
            label = {"ours": "fastmoments", "theirs": "neural-tangents"}[name]
            values = [row[name][1] for row in mine]
            axes.plot([row["points"] for row in mine], values, style, color=color, marker="o",
                      label=f"{label}, {net}")  # fmt: skip
    points = sorted({row["points"] for row in rows})
    axes.set_xticks(points, map(str, points))
    axes.minorticks_off()
    axes.legend()
    axes.grid(True, alpha=0.2)
    figure.savefig(path, dpi=150)


def main() -> None:
    """Compare at every size."""
    parser = arguments(__doc__, repeats=5)
    parser.add_argument("--env", type=Path, default=ENVIRONMENTS / "nt")
    parser.add_argument("--counts", default="1,4,16", help="images of 16x16 positions: 256 points each")
    parser.add_argument("--depths", default="4,14", help="even numbers, between which steady state is taken")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw the comparison")
    given = parser.parse_args()
    depths = tuple(map(int, given.depths.split(",")))
    rows = []
    with (
        tempfile.TemporaryDirectory() as folder,
        limited_threads(min(2, os.cpu_count())),
        NeuralTangents(environment(given.env, PINS), Path(folder)) as peer,
    ):
        differences = {net: same_numbers(peer, net) for net in ("vanilla", "residual", *LAYERS)}
        for net, errors in differences.items():
            for kind, error in errors.items():
                if error > 1e-10:
                    raise SystemExit(f"{net}: {kind} differs by {error:.1e}; nothing is compared.")
        for net in ("vanilla", "residual"):
            for count in map(int, given.counts.split(",")):
                images = fm.load_images("synthetic:16x16x3", count, seed=0).array
                rows.append(measured(peer, net, images, depths, given.repeats) | differences[net])
    columns = {"net": "", "points": "d", "ours": ".4f", "theirs": ".4f", "ratio": ".1f"}
    columns |= {"ours, ns/entry": ".2f", "theirs, ns/entry": ".1f", "compile repeat": ".1f"}
    of_kinds = dict.fromkeys(KINDS, ".1e")
    table([{"layer": net, **differences[net]} for net in LAYERS], {"layer": "", **of_kinds})
    table(rows, columns | {f"compile serial {SERIAL_DEPTH}": ".1f", **of_kinds})
    if given.plot:
        draw(rows, given.plot)
    deliver(given.json, peers=rows, layers={net: differences[net] for net in LAYERS})


if __name__ == "__main__":
    main()
