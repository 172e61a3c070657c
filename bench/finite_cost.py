"""What a scan at finite width takes: `python -m bench.finite_cost`.

Fully connected nets of the four families, every depth, time and peak of memory of a whole process. Bounds,
for 200 layers: a few seconds with 64 images, two minutes with 512. --images: a source as `fastmoments scan`
takes it.
"""

from __future__ import annotations

import sys

from .common import FASTMOMENTS, arguments, child, deliver, table

FAMILIES = ("vanilla", "residual", "bn_ff", "bn_res")


def main() -> None:
    """Run every family at every size, once the kernels are compiled."""
    parser = arguments(__doc__, images="synthetic:16x16x3", points="64,512", depth=200, width=512, repeats=1)
    given = parser.parse_args()
    if not FASTMOMENTS.exists():
        sys.exit("The command line is not installed beside this interpreter.")

    def taken(family: str, points: str, depth: int):
        return child(
            [FASTMOMENTS, "scan", family, "--kernel-size", 1, "--depth", depth, "--images", given.images,
             "--count", points, "--method", "finite", "--width", given.width, "--quiet"]
        )  # fmt: skip

    rows = []
    for family in FAMILIES:
        taken(family, "16", 3)  # compiles
        for points in given.points.split(","):
            for _ in range(given.repeats):
                run = taken(family, points, given.depth)
                rows.append(
                    {
                        "family": family, "M": int(points),
                        "seconds": run.seconds, "busy": run.busy, "peak GB": run.peak / 1e9,
                    }
                )  # fmt: skip
    table(rows, {"family": "", "M": "d", "seconds": ".1f", "busy": ".1f", "peak GB": ".2f"})
    deliver(given.json, runs=rows)


if __name__ == "__main__":
    main()
