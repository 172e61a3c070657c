"""What noise that moves the statistics of batch norm changes: `python -m bench.batch_noise`.

Chi behind the last layer of a batch-normalised feed-forward net, with the batch's mean and variance held
(`noise="frozen"`) and moving (`noise="through"`): at infinite width, and the mean over simulated nets with
its standard error.
"""

from __future__ import annotations

import fastmoments as fm

from .common import arguments, deliver, table

#: Images of a batch and kernel size.
CASES = ((2, 1), (4, 1), (16, 1), (64, 1), (2, 3), (8, 3))


def net(noise: str, depth: int, size: int) -> fm.Network:
    """`fm.bn_ff` with either noise."""
    unit = [fm.Conv(size), fm.BatchNorm(noise=noise), fm.ReLU()]
    return fm.Network(unit * depth, stem=[fm.Conv(size, fm.Gaussian(gain=1.0), stride=1 if size == 1 else 2)])


def main() -> None:
    """Print chi of both, by images and kernel size."""
    parser = arguments(__doc__, repeats=1)
    parser.add_argument("--depth", type=int, default=30)
    parser.add_argument("--images", default="synthetic:16x16x3")
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--nets", type=int, default=20)
    given = parser.parse_args()
    rows = []
    for count, size in CASES:
        images = fm.load_images(given.images, count, seed=0)
        row = {"images": count, "kernel": size}
        for noise in ("frozen", "through"):
            network = net(noise, given.depth, size)
            options = {"every": given.depth, "reff_locs": ()}
            infinite = fm.scan(network, images, **options)
            sampled = fm.scan(network, images, fm.Sampled(given.width, given.nets), **options)
            row["points"] = infinite.data["points"]
            row[noise] = float(infinite["chi"][-1])
            row[f"{noise}, sampled"] = float(sampled["chi"][-1])
            row[f"+- ({noise})"] = float(sampled.curve("chi").sigma[-1]) / given.nets**0.5
        rows.append(row | {"ratio": row["frozen"] / row["through"]})
    columns = {"images": "d", "kernel": "d", "points": "d"}
    for noise in ("frozen", "through"):
        columns |= {noise: ".4g", f"{noise}, sampled": ".4g", f"+- ({noise})": ".2g"}
    table(rows, columns | {"ratio": ".4g"})
    deliver(given.json, batch_noise=rows)


if __name__ == "__main__":
    main()
