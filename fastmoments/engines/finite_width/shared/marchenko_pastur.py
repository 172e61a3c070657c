"""Spectrum of a sample covariance: free multiplicative convolution with a Marchenko-Pastur law.

The Gram matrix of N samples with a population covariance of M eigenvalues t_k, gamma = M / N, has a
spectrum whose companion Stieltjes transform m solves (Silverstein, 1995)

    x = -1/m + gamma mean_k t_k / (1 + t_k m).

With w = 1/m = a - ib, x is real where b(a) > 0 solves gamma mean_k t_k^2 / ((t_k + a)^2 + b^2) = 1, whose
left side falls with b: no iteration can fail. There

    x = -a + gamma mean_k t_k (1 - t_k (t_k + a) / |t_k + w|^2),

and the density of the M eigenvalues is b / (pi gamma |w|^2). Intervals of a with b > 0 are the separate
parts of the spectrum, each of which holds as many eigenvalues as of the population (exact separation, Bai
and Silverstein, 1999).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ....kernels.spectra import bisected, real_curve

#: Points of the curve b(a) on every part of the spectrum, and for each eigenvalue in it.
LEAST_POINTS, POINTS = 48, 3
#: A ratio up to which the spread, its square root, is rounding.
LEAST_RATIO = 1e-12
#: Relative step of the derivative in `sampled_largest`.
STEP = 0.02
#: Deviation of the Tracy-Widom law (of real matrices).
TRACY_WIDOM = 1.268


def sampled_spectrum(values: np.ndarray, ratio: float) -> np.ndarray:
    """Spectrum of the Gram matrix of M / `ratio` samples: means of M cells of equal mass, rising.

    Parameters
    ----------
    values : shape (M,)
        Non-negative eigenvalues of the population.
    ratio : float
        gamma; up to `LEAST_RATIO` the values stay as they are.

    Returns
    -------
    ndarray, shape (M,)
        With the mean of `values`; the law is that of the limit of large M at the same ratio.
    """
    scale, count = float(np.mean(values)), values.size
    values = np.sort(np.maximum(values, 0.0))
    if ratio <= LEAST_RATIO or scale <= 0.0:
        return values
    positive = values[values > 1e-12 * scale] / scale
    weights = ratio * positive**2 / count
    places, parts = [], []
    # With more points than samples the lowest eigenvalues, those at the largest a, are 0.
    surplus = max(positive.size - count / ratio, 0.0)
    for low, high in _parts(positive, weights)[::-1]:
        held = int(np.count_nonzero((-positive > low) & (-positive < high)))
        lost = min(surplus, float(held))
        surplus -= lost
        place, part = _density(low, high, positive, weights, LEAST_POINTS + POINTS * held)
        places.append(place)
        parts.append(part * (held - lost))
    x, mass = np.concatenate(places), np.concatenate(parts)
    order = np.argsort(x)
    x, mass = x[order], mass[order] / mass.sum()
    # More points than samples, or points without variance, leave a null space.
    null = 1.0 - min(positive.size / count, 1.0 / ratio)
    edges = np.concatenate([[0.0], null + (1.0 - null) * np.r_[0.0, np.cumsum(mass)]])
    first = np.concatenate([[0.0, 0.0], np.cumsum(mass * x)])
    cells = np.diff(np.interp(np.linspace(0.0, 1.0, count + 1), edges, first))
    return cells * (scale * count / cells.sum())


def mean_of_top_cell(values: np.ndarray, counts: np.ndarray, pair_variance: float) -> float:
    """Largest eigenvalue of the Gram matrix of 1 / `pair_variance` samples: the mean of its cell.

    Parameters
    ----------
    values : shape (r,), rising
        Non-negative eigenvalues of the population.
    counts : shape (r,)
        How often each occurs.
    pair_variance : float
        1 over the number of samples.
    """
    top = float(values[-1])
    if pair_variance <= LEAST_RATIO / counts.sum():
        return top
    some = values > 1e-12 * top
    positive, counts = values[some] / top, counts[some]
    weights = pair_variance * positive**2 * counts
    low, high = _parts(positive, weights)[0]
    held = float(counts[(-positive > low) & (-positive < high)].sum())
    # Of more points than samples the lowest eigenvalues are 0.
    held -= max(held - 1.0 / pair_variance, 0.0)
    # A bulk that stands for many eigenvalues is smooth, and far from the end that is wanted. With so many
    # points the cell errs by a few thousandths of what sampling shifts it.
    points = 8 * LEAST_POINTS + POINTS * min(int(held), len(positive))
    place, mass = _density(low, high, positive, weights, points)
    order = np.argsort(place)
    place, mass = place[order], np.cumsum(mass[order]) * held
    first = np.concatenate([[0.0], np.cumsum(np.diff(mass, prepend=0.0) * place)])
    return top * float(first[-1] - np.interp(held - 1.0, np.concatenate([[0.0], mass]), first))


class LargestEigenvalue(NamedTuple):
    """Largest eigenvalue of a Gram matrix of samples.

    Attributes
    ----------
    value : float
    apart : float
        Its derivative by that of the population, of their logarithms: near 1 if it stands apart from the
        others, and 0 at the edge of a bulk of many.
    edge : float
        Relative deviation of the largest of white noise with the same edge over the bulk.
    """

    value: float
    apart: float
    edge: float


def sampled_largest(values: np.ndarray, counts: np.ndarray, pair_variance: float) -> LargestEigenvalue:
    """What 1 / `pair_variance` samples make of the largest eigenvalue; arguments as of `largest`."""
    value, top = mean_of_top_cell(values, counts, pair_variance), float(values[-1])
    if pair_variance <= 0.0 or top <= 0.0:
        return LargestEigenvalue(value, 1.0, 0.0)
    if counts[-1] > 1.0:
        values, counts = np.append(values, top), np.append(counts, 1.0)
        counts[-2] -= 1.0
    moved = mean_of_top_cell(np.append(values[:-1], top * (1.0 + STEP)), counts, pair_variance)
    apart = float(np.clip(np.log(moved / value) / np.log1p(STEP), 0.0, 1.0))
    root = max(np.sqrt(value / top) - 1.0, 0.0)
    samples = 1.0 / pair_variance
    return LargestEigenvalue(value, apart, edge_deviation(max(root**2 * samples, 1.0), samples))


def edge_deviation(points: float, width: float) -> float:
    """Relative, of the largest eigenvalue of the sample covariance of white noise (Johnstone, 2001)."""
    edge = (1.0 + np.sqrt(points / width)) ** 2
    scale = (np.sqrt(width) + np.sqrt(points)) * (width**-0.5 + points**-0.5) ** (1.0 / 3.0) / width
    return float(TRACY_WIDOM * scale / edge)


def _density(
    low: float, high: float, values: np.ndarray, weights: np.ndarray, points: int
) -> tuple[np.ndarray, np.ndarray]:
    """Places on a part of the spectrum, and the share of its mass at each."""
    angle = (np.arange(points) + 0.5) / points
    # Both ends of a part are square-root edges, which Chebyshev's points resolve.
    a = 0.5 * (low + high) - 0.5 * (high - low) * np.cos(np.pi * angle)
    square, place = real_curve(a, values, weights)
    # As functions of the angle they go on as if mirrored at an end.
    steps = np.gradient(np.pad(place, 1, mode="edge"))[1:-1]
    part = np.sqrt(square) / (a * a + square) * np.abs(steps)
    return place, part / part.sum()


def _parts(values: np.ndarray, weights: np.ndarray) -> list[tuple[float, float]]:
    """Intervals of a on which h(a) = sum weights / (values + a)^2 exceeds 1."""
    poles = -values[::-1]
    reach = np.sqrt(weights.sum()) * 1.001
    # Between two poles h is convex: its minimum tells whether the two parts touch. That of the two poles
    # alone, known in closed form, sorts most gaps out.
    left, right, roots = poles[:-1], poles[1:], np.cbrt(weights[::-1])
    apart = (right - left) ** 2 > (roots[:-1] + roots[1:]) ** 3
    left, right = left[apart], right[apart]
    bottom = bisected(right, left, values, weights, True, 0.0)  # where h' = -2 sum weights / (..)^3 is 0
    split = (weights / (values + bottom[:, None]) ** 2).sum(1) < 1.0
    left, right, bottom = left[split], right[split], bottom[split]
    starts = np.r_[poles[0] - reach, bottom], np.r_[poles[0], right]
    stops = np.r_[bottom, poles[-1] + reach], np.r_[left, poles[-1]]
    crossings = (bisected(*ends, values, weights, False, 1.0) for ends in (starts, stops))
    return list(zip(*crossings, strict=True))
