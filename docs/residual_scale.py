"""The largest residual scale for which chi at depth 1,000 stays below 10: `python docs/residual_scale.py`.

Explained in residual-scale.md. Takes about a minute; `--plot FILE` draws chi over depth as well.
"""

import argparse
import math

import fastmoments as fm

DEPTH, BOUND = 1000, 10.0
SCALES = (1.0, 0.5, 0.2, 0.1, 0.05)
IMAGES = fm.load_images("fashion-mnist", count=16, seed=0)


def curve(family, scale: float, depth: int = DEPTH) -> fm.Scan:
    """A scan of 16 embedded images through a fully connected net, thinned."""
    net = family(depth, kernel_size=1, scale=scale)
    return fm.scan(net, IMAGES, every=depth // 20, threads=1)  # so few points gain nothing from a second


def largest(depth: int) -> float:
    """Where chi behind the last unit of bn_res reaches the bound."""

    def net(scale: float) -> fm.Network:
        return fm.bn_res(depth, kernel_size=1, scale=scale)

    options = {"tolerance": 1e-3, "every": depth // 20, "threads": 1}
    return fm.find(net, IMAGES, ("chi", BOUND), (0.02, 1.0), **options).value


def draw(scans: dict[float, fm.Scan], path: str) -> None:
    """Draw chi over depth for every scale, and over scale^2 times depth."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    for scale, scan in scans.items():
        left.loglog(scan.depth, scan["chi"], label=f"scale {scale:g}")
        right.loglog(scale**2 * scan.depth, scan["chi"])
    for axes, label in ((left, "depth, in units"), (right, "scale² depth")):
        axes.axhline(BOUND, color="0.5", linewidth=1, linestyle=":")
        axes.set_xlabel(label)
        axes.grid(True, alpha=0.2)
    left.set_ylabel("chi")
    left.legend(fontsize="small")
    figure.savefig(path, dpi=120)


def main() -> None:
    """Print chi against scale, then the largest scale by depth."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--plot", metavar="FILE")
    plot = parser.parse_args().plot
    print("scale  chi(100)  chi(1000)  law of chi")
    scans = {scale: curve(fm.bn_res, scale) for scale in SCALES}
    for scale, scan in scans.items():
        law = scan.verdict.law
        exponent = "" if law != "power" else f" l^{scan.verdict.rate:.2f}"
        chi = scan["chi"]
        print(f"{scale:5.2f}  {chi[1]:8.2f}  {chi[-1]:9.2f}  {law}{exponent}")
    if plot:
        draw(scans, plot)
    print("\ndepth  largest scale  times sqrt(depth)")
    for depth in (200, 500, 1000):
        scale = largest(depth)
        print(f"{depth:5d}  {scale:13.4f}  {scale * math.sqrt(depth):17.2f}")


if __name__ == "__main__":
    main()
