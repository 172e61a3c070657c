"""Laws of nu2 and mu2(dx) over random nets, without a simulation: `python docs/histogram.py IMAGES`.

Plain convolutional nets of width 128, depth 50 to 200, on 4 batches of 64 CIFAR-10 images (IMAGES: an npz
with the array `images`), over the Gaussians of the mean and deviation of 10,000 recorded nets (Labatie, ICML
2019, Fig. 2). Takes a quarter of an hour.
"""

import argparse
from pathlib import Path

import numpy as np

import fastmoments as fm
from fastmoments.plots.histogram import plot_histograms
from fastmoments.plots.scans import save_figure

RECORDED = Path(__file__).parents[1] / "tests" / "data" / "recorded" / "vanilla_histo.npz"
MOMENTS = ("log_nu2_signal", "log_mu2_noise")


def main() -> None:
    """Print the differences, and draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("images", help="CIFAR-10 images")
    parser.add_argument("--plot", metavar="FILE", default="histogram.png")
    given = parser.parse_args()
    with np.load(RECORDED, allow_pickle=False) as file:
        recorded = dict(file)
    images = fm.load_images(given.images, 1024, seed=0)
    scan = fm.scan(fm.vanilla(200), images, fm.FiniteWidth(width=128, batch=64, batches=4), every=50)
    beside = {}
    for name in MOMENTS:
        mean, sigma = recorded[f"{name}_loc3/mean"], recorded[f"{name}_loc3/std"]
        beside[name] = dict(zip(recorded["depth"].tolist(), zip(mean, sigma, strict=True), strict=True))
        curve = scan.curve(name, "act")
        print(f"{name}: depth {scan.depth.tolist()}")
        print("  mean, difference from recorded:", np.round(curve.mean - mean, 3).tolist())
        print("  deviation, ratio to recorded:  ", np.round(curve.sigma / sigma, 3).tolist())
    save_figure(plot_histograms(scan, beside=beside, moments=MOMENTS), given.plot)


if __name__ == "__main__":
    main()
