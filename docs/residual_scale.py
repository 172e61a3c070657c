"""The largest residual scale for which chi at depth 1,000 stays below 10: `python docs/residual_scale.py`.

Explained in residual-scale.md. Takes about a minute.
"""

import math

from scipy.optimize import brentq

import fastmoments as fm

DEPTH, BOUND = 1000, 10.0


def curve(family, scale: float, depth: int = DEPTH) -> fm.Scan:
    """A scan of 16 embedded images through a fully connected net, thinned."""
    images = fm.load_images("fashion-mnist", count=16, seed=0)
    return fm.scan(family(depth, kernel_size=1, scale=scale), images, every=depth // 20)


def largest(depth: int) -> float:
    """Where chi behind the last unit of bn_res reaches the bound."""

    def excess(log_scale: float) -> float:
        scan = curve(fm.bn_res, math.exp(log_scale), depth)
        return float(scan["log_chi"][-1]) - math.log(BOUND)

    return math.exp(brentq(excess, math.log(0.02), math.log(1.0), xtol=1e-3))


def main() -> None:
    """Print chi against scale, then the largest scale by depth."""
    print("scale  chi(100)  chi(1000)  law of chi")
    for scale in (1.0, 0.5, 0.2, 0.1, 0.05):
        scan = curve(fm.bn_res, scale)
        law = scan.verdict.law
        exponent = "" if law != "power" else f" l^{scan.verdict.rate:.2f}"
        chi = scan["chi"]
        print(f"{scale:5.2f}  {chi[1]:8.2f}  {chi[-1]:9.2f}  {law}{exponent}")
    print("\ndepth  largest scale  times sqrt(depth)")
    for depth in (200, 500, 1000):
        scale = largest(depth)
        print(f"{depth:5d}  {scale:13.4f}  {scale * math.sqrt(depth):17.2f}")


if __name__ == "__main__":
    main()
