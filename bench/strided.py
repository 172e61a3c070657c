"""Nets in stages against simulations, extrapolated to infinite width: `python -m bench.strided`.

The pre-activation ResNet-20 of the CIFAR kind and stacks like VGG's with and without batch norm, which halve
the sides of the images by strides; zero padding, as many channels in every stage. At the end of every stage
the logarithms of chi, of mu2 of the noise, of nu2 and of r_eff of the signal, each at its main station, are
compared as `fastmoments.verify` does: random nets of growing width, and the limit of their means on a line in
1 / width. z: distance in standard errors.

A largest eigenvalue that is nearly double has means that are on no such line; so the synthetic images, which
have four of almost the same size, need larger widths. --images: as for `fastmoments scan`; smaller ones get
a border of zeros.
"""

from __future__ import annotations

import numpy as np

import fastmoments as fm
from fastmoments import BatchNorm, Conv, Gaussian, Network, ReLU, Residual

from .common import arguments, deliver, table

MOMENTS = ("chi", "mu2_noise", "nu2_signal", "reff_signal")
CONV, HALVING = Conv(3, padding="zeros"), Conv(3, padding="zeros", stride=2)


def resnet20(stages: int = 3) -> Network:
    """Three residual units a stage, of two convolutions; the first of every stage but the first halves."""
    normed = [BatchNorm(), ReLU()]
    unit = Residual([*normed, CONV, *normed, CONV])
    shortcut = Conv(1, Gaussian(gain=1.0), stride=2)
    halving = Residual([*normed, HALVING, *normed, CONV], shortcut=[shortcut])
    layers = [unit, unit, unit, *[halving, unit, unit] * (stages - 1), *normed]
    return Network(layers, [Conv(3, Gaussian(gain=1.0), padding="zeros")], "resnet20")


def vgg(stages: int = 3) -> Network:
    """Two convolutions a stage, of which the second halves."""
    return Network([CONV, ReLU(), HALVING, ReLU()] * stages, name="vgg")


def vgg_bn(stages: int = 3) -> Network:
    """The same with batch norm."""
    return Network([CONV, BatchNorm(), ReLU(), HALVING, BatchNorm(), ReLU()] * stages, name="vgg_bn")


NETS = {net.__name__: net for net in (resnet20, vgg, vgg_bn)}


def bordered(images: np.ndarray, side: int) -> np.ndarray:
    """Images in the middle of squares of zeros."""
    margins = [(max(side - size, 0) // 2, -(min(size - side, 0) // 2)) for size in images.shape[1:3]]
    return np.pad(images, [(0, 0), *margins, (0, 0)])


def compared(net: str, count: int, given) -> list[dict]:
    """A row for each stage and moment."""
    network = NETS[net](given.stages)
    images = bordered(fm.load_images(given.images, count, seed=0).array, given.side)
    units = network.depth // given.stages
    found = fm.verify(
        network, images, widths=map(int, given.widths.split(",")), nets=given.nets, seed=given.seed,
        depths=range(units, network.depth + 1, units), moments=MOMENTS,
    )  # fmt: skip
    return [
        {
            "net": net, "images": count, "stage": row.depth // units, "moment": row.moment,
            "analytic": row.analytic, "sampled": row.sampled, "+-": row.standard_error, "z": row.z,
            "seconds": found.seconds,
        }
        for row in found.rows
    ]  # fmt: skip


def summary(rows: list[dict]) -> dict:
    """Mean square and largest of the z-scores of one net."""
    z = np.array([row["z"] for row in rows])
    worst = rows[int(np.argmax(np.abs(z)))]
    return {
        "net": worst["net"], "images": worst["images"], "z^2": float(np.mean(z**2)),
        "largest": f"{worst['z']:+.1f} {worst['moment']}, stage {worst['stage']}",
        "seconds": worst["seconds"],
    }  # fmt: skip


def main() -> None:
    """Compare every net on every number of images."""
    parser = arguments(__doc__, nets=12, widths="64,128", seed=0, stages=3, side=32)
    parser.add_argument("--families", default=",".join(NETS), help="default %(default)s")
    parser.add_argument("--counts", default="4,8", help="of images, default %(default)s")
    parser.add_argument("--images", default="fashion-mnist")
    given = parser.parse_args()
    cases = [(net, int(count)) for net in given.families.split(",") for count in given.counts.split(",")]
    found = [compared(net, count, given) for net, count in cases]
    rows = [row for each in found for row in each]
    form = dict.fromkeys(("analytic", "sampled", "+-"), ".3f")
    table(rows, {"net": "", "images": "d", "stage": "d", "moment": "", **form, "z": "+.1f"})
    summaries = list(map(summary, found))
    table(summaries, {"net": "", "images": "d", "z^2": ".2f", "largest": "", "seconds": ".0f"})
    deliver(given.json, summaries=summaries, rows=rows)


if __name__ == "__main__":
    main()
