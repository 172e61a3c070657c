"""Writes bivariate_points.csv: rectified pairs of Gaussians to 40 digits. Needs mpmath, which no test does.

    python tests/bivariate_points.py

A row is a, b, r, K and C of `kernels.bivariate`, as the nearest numbers of double precision. The integrals
are taken over the angle, t = sin(u), on panels that halve towards |r| = 1.
"""

from pathlib import Path

import numpy as np

COUNT = 2000


def points():
    """Means and correlations: of all sizes, and at the edges."""
    rng = np.random.default_rng(0)
    ordinary, wide = rng.standard_normal((COUNT, 2)), rng.uniform(-30.0, 30.0, (COUNT, 2))
    means = np.where(rng.random(COUNT)[:, None] < 0.6, ordinary * rng.choice([1.0, 3.0], (COUNT, 1)), wide)
    near = rng.random(COUNT) < 0.35  # b = +-a but for a little
    little = 10.0 ** rng.uniform(-12.0, 1.0, COUNT)
    means[near, 1] = (rng.choice([-1.0, 1.0], COUNT) * means[:, 0] + little)[near]
    distance = 10.0 ** rng.uniform(-16.0, 0.0, COUNT)
    r = np.where(rng.random(COUNT) < 0.5, rng.uniform(-1.0, 1.0, COUNT),
                 rng.choice([-1.0, 1.0], COUNT) * (1.0 - distance))  # fmt: skip
    edges = np.array([0.0, 0.5, -0.5, np.nextafter(0.5, 1), -np.nextafter(0.5, 1), 1.0, -1.0, 1e-9])
    r[: 8 * len(edges)] = np.tile(edges, 8)
    means[8:16, :] = 0.0
    means[16:24] = 30.0
    means[24:32] = [30.0, -30.0]
    means[32:40] = -30.0
    return means[:, 0], means[:, 1], r


def reference(a, b, r):
    """K and C of one pair."""
    from mpmath import asin, cos, erfc, exp, mpf, pi, quad, sin, sqrt

    a, b, r = mpf(float(a)), mpf(float(b)), mpf(float(r))

    def probability(x):
        return erfc(-x / sqrt(2)) / 2

    def psi(x):
        return x * probability(x) + exp(-x * x / 2) / sqrt(2 * pi)

    if abs(r) == 1:
        other = b * r
        low, high = min(a, other), max(a, other)
        at_one = probability(low) if r > 0 else probability(low) - probability(a)
        if r > 0:
            return at_one, at_one - psi(-high) * psi(low)
        return -at_one, at_one - psi(-high) * psi(low)
    end = asin(abs(r))
    edges = [pi / 2 * (1 - mpf(2) ** -k) for k in range(30)]
    panels = [edge for edge in edges if edge < end] + [end]
    side = 1 if r > 0 else -1

    def density(u):
        return exp(-(a * a - 2 * side * a * b * sin(u) + b * b) / (2 * cos(u) ** 2)) / (2 * pi)

    both = probability(a) * probability(b)
    first = side * quad(density, panels)
    second = quad(lambda u: (abs(r) - sin(u)) * density(u), panels)
    return both + first, r * both + second


def main():
    """Compute the table and write it."""
    import mpmath

    mpmath.mp.dps = 40
    lines = []
    for a, b, r in zip(*points(), strict=True):
        found = [float(value) for value in reference(a, b, r)]
        lines.append(",".join(repr(float(value)) for value in (a, b, r, *found)))
    Path(__file__).with_suffix(".csv").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
