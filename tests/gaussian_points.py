"""Writes gaussian_points.csv: pairs of Gaussians through activations. Needs mpmath, which no test does.

    python tests/gaussian_points.py [name ...]

A row is an activation, q1, q2, r, E f(u) f(v) and E f'(u) f'(v), good to 1e-14 of their largest possible
values. The integrals are nested: over u, and over v given u, in units of the arguments, on panels that
double away from where f bends; by mpmath's formulas of f at 20 digits.
"""

import sys
from itertools import pairwise
from pathlib import Path

import mpmath
from gaussian_pairs import triples
from mpmath import cosh, erf, exp, log1p, mpf, pi, sin, sqrt, tanh

COUNT, SEED, REACH, ORDER = 10, 11, mpf("8.6"), 10
mpmath.mp.dps = 20
ROOT = 1 / sqrt(2 * pi)
#: Panels end at these distances from 0 and from kinks.
GRADES = [mpf(2) ** k for k in range(-1, 10)]


def probability(x):
    return (1 + erf(x / sqrt(2))) / 2


def sigmoid(x):
    return 1 / (1 + exp(-x))


def gelu_tanh(x):
    root, cubic = sqrt(2 / pi), mpf("0.044715")
    inner, slope = root * (x + cubic * x**3), root * (1 + 3 * cubic * x * x)
    return x * (1 + tanh(inner)) / 2, (1 + tanh(inner)) / 2 + x * slope / cosh(inner) ** 2 / 2


def mish(x):
    soft = tanh(log1p(exp(x)))
    return x * soft, soft + x * sigmoid(x) * (1 - soft * soft)


def hard_swish(x):
    if abs(x) > 3:
        return (x, mpf(1)) if x > 0 else (mpf(0), mpf(0))
    return x * (x + 3) / 6, (2 * x + 3) / 6


#: (f, f') at a point, and the kinks, or None of a wave, by what `fastmoments` calls the activation.
ACTIVATIONS = {
    "Erf()": (lambda x: (erf(x), 2 * sqrt(2) * ROOT * exp(-x * x)), ()),
    "Sin()": (lambda x: (sin(x), mpmath.cos(x)), None),
    "GELU()": (lambda x: (x * probability(x), probability(x) + x * exp(-x * x / 2) * ROOT), ()),
    'GELU("tanh")': (gelu_tanh, ()),
    "Tanh()": (lambda x: (tanh(x), 1 / cosh(x) ** 2), ()),
    "SiLU()": (lambda x: (x * sigmoid(x), sigmoid(x) * (1 + x * (1 - sigmoid(x)))), ()),
    "ELU(0.5)": (lambda x: (x, mpf(1)) if x > 0 else ((exp(x) - 1) / 2, exp(x) / 2), (0,)),
    "Softplus()": (lambda x: (log1p(exp(x)), sigmoid(x)), ()),
    "Mish()": (mish, ()),
    "HardSwish()": (hard_swish, (-3, 0, 3)),
}


def nodes_of(edges, cache={}):  # noqa: B006
    """Nodes and weights of Gauss and Legendre on panels between sorted edges."""
    if not cache:
        import numpy as np

        for x in np.polynomial.legendre.leggauss(ORDER)[0]:
            x = mpmath.findroot(lambda t: mpmath.legendre(ORDER, t), mpf(float(x)))
            slope = ORDER * (x * mpmath.legendre(ORDER, x) - mpmath.legendre(ORDER - 1, x)) / (x * x - 1)
            cache[x] = 2 / ((1 - x * x) * slope**2)
    for low, high in pairwise(edges):
        half, middle = (high - low) / 2, (high + low) / 2
        for x, weight in cache.items():
            yield middle + half * x, half * weight


def edges_of(marks, root, centre):
    """Ends of panels over a Gaussian: marks, and every other standard deviation."""
    low, high = centre - REACH * root, centre + REACH * root
    marks = [*marks, *(centre + k * root for k in range(-8, 9, 2))]
    return sorted({low, high, *(mark for mark in marks if low < mark < high)})


def density(x, root):
    return exp(-((x / root) ** 2) / 2) / root * ROOT


def bends(kinks):
    if kinks is None:
        return range(-88, 89, 4)
    return [centre + side * step for centre in {0, *kinks} for side in (-1, 1) for step in [0, *GRADES]]


def one_point(function, kinks, q, other):
    """E f_i(u) f_i(other u) for both f."""
    total, root = [mpf(0), mpf(0)], sqrt(q)
    marks = [*bends(kinks), *(mark / other for mark in bends(kinks) if other)]
    for u, weight in nodes_of(edges_of(marks, root, 0)):
        weight *= density(u, root)
        for i, (one, two) in enumerate(zip(function(u), function(other * u), strict=True)):
            total[i] += weight * one * two
    return total


def mean(function, kinks, centre, root):
    """E f_i(v) of a Gaussian v of this mean and deviation."""
    total = [mpf(0), mpf(0)]
    for v, weight in nodes_of(edges_of(bends(kinks), root, centre)):
        weight *= density(v - centre, root)
        for i, value in enumerate(function(v)):
            total[i] += weight * value
    return total


def reference(name, q1, q2, r):
    """E f(u) f(v) and E f'(u) f'(v)."""
    function, kinks = ACTIVATIONS[name]
    q1, q2, r = mpf(q1), mpf(q2), mpf(r)
    ratio, left = sqrt(q2 / q1), sqrt(q2 * (1 - r) * (1 + r))
    if not left:
        return one_point(function, kinks, q1, r * ratio)
    if not r:
        pairs = zip(*(mean(function, kinks, 0, sqrt(q)) for q in (q1, q2)), strict=True)
        return [one * two for one, two in pairs]
    total, slope, root = [mpf(0), mpf(0)], r * ratio, sqrt(q1)
    widths = [0, *(side * step * left for side in (-1, 1) for step in GRADES)]
    marks = [*bends(kinks), *(mark / slope for mark in bends(kinks))]
    marks += [(kink + width) / slope for kink in kinks or () for width in widths]
    for u, weight in nodes_of(edges_of(marks, root, 0)):
        weight *= density(u, root)
        inner = mean(function, kinks, slope * u, left)
        for i, (one, two) in enumerate(zip(function(u), inner, strict=True)):
            total[i] += weight * one * two
    return total


def main():
    """Compute the table and write it; of some activations, print it."""
    lines = []
    for name in sys.argv[1:] or ACTIVATIONS:
        for q1, q2, r in triples(COUNT, SEED, 2.0 if name == "Sin()" else 4.0):
            values = [float(value) for value in (q1, q2, r, *reference(name, q1, q2, r))]
            lines.append(",".join([name, *map(repr, values)]))
            if sys.argv[1:]:
                print(lines[-1], flush=True)
    if not sys.argv[1:]:
        Path(__file__).with_suffix(".csv").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
