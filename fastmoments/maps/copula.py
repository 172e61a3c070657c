"""What an activation makes of a pair of points of a sum, by a Gaussian copula, in tables.

See `post_activation` for what is computed.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.interpolate import PchipInterpolator
from scipy.special import ndtr, ndtri

from .channels import LEAST_WIDTH, Channels

#: Classes of points: by the law of the shortcut, by the share of the branch. Terms of a series in one
#: correlation, and of one in two correlations, for each; cells of a table.
CLASSES, TERMS, DOUBLE, CELLS = (4, 6), 256, 40, 56


@dataclass(frozen=True)
class Tables:
    """What becomes of a pair of points, by their classes; see `kernels.post_activation.look_up`.

    Attributes
    ----------
    kinds : ndarray of int64, shape (points,)
    ends : ndarray, shape (classes, classes, CELLS + 1)
    tables : ndarray, shape (3, classes, classes, CELLS + 1, CELLS + 1)
    """

    kinds: np.ndarray
    ends: np.ndarray
    tables: np.ndarray


def _bins(values: np.ndarray, count: int) -> np.ndarray:
    """Equal bins of values, fewer where they hardly differ: a hundredth is alike."""
    low, spread = float(values.min()), float(np.ptp(values))
    count = min(count, math.ceil(100.0 * spread))
    return np.minimum((count * (values - low) / (spread or 1.0)).astype(np.int64), max(count - 1, 0))


def classes(channels: Channels, share: np.ndarray) -> tuple[np.ndarray, int]:
    """Class of every point, and how many there are.

    Points are alike in (E|x|)^2 / E x^2 of the shortcut, and in the logarithm of the branch's share.
    """
    if share.size <= math.prod(CLASSES):
        return np.arange(share.size), share.size
    shape = np.broadcast_to(channels.mean(1) ** 2 / np.maximum(channels.mean(2), 1e-300), share.shape)
    width = 0.5 * np.log(np.maximum(share, LEAST_WIDTH**2))
    both = CLASSES[1] * _bins(shape, CLASSES[0]) + _bins(width, CLASSES[1])
    names, kinds = np.unique(both, return_inverse=True)
    return kinds.astype(np.int64), names.size


@lru_cache(maxsize=1)
def _panel() -> tuple[np.ndarray, np.ndarray]:
    nodes, weights = np.polynomial.legendre.leggauss(16)
    return 0.5 * (nodes + 1.0), 0.5 * weights


def quadrature(low: float, high: float, panels: int) -> tuple[np.ndarray, np.ndarray]:
    """Gauss-Legendre in panels."""
    nodes, weights = _panel()
    size = (high - low) / panels
    return (low + size * (np.arange(panels)[:, None] + nodes)).ravel(), np.tile(size * weights, panels)


def latent(channels: Channels, density: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Nodes z of a law at which a standard Gaussian of the same rank is known; and it there."""
    z, f = channels.grid, np.maximum(density, 0.0)
    padded = np.pad(f, 1)
    cells = 13.0 * (padded[1:-2] + padded[2:-1]) - padded[:-3] - padded[3:]
    cells = np.maximum(channels.step / 24.0 * cells, 0.0)
    below = np.concatenate([[0.0], np.cumsum(cells)])
    above = np.concatenate([np.cumsum(cells[::-1])[::-1], [0.0]])
    total = below[-1]
    middle = (below > 1e-14 * total) & (above > 1e-14 * total)
    z, below, above = z[middle], below[middle] / total, above[middle] / total
    a = np.where(below < 0.5, ndtri(below), -ndtri(above))
    keep = np.concatenate([[True], np.diff(a) > 1e-9])
    return z[keep], a[keep]


def hermite(x: np.ndarray, count: int) -> np.ndarray:
    """Hermite polynomials that are orthonormal under a standard Gaussian, shape (count, ...)."""
    found = np.empty((count, *x.shape))
    found[0], found[1] = 1.0, x
    for n in range(2, count):
        found[n] = (x * found[n - 1] - math.sqrt(n - 1) * found[n - 2]) / math.sqrt(n)
    return found


def _powers(x: np.ndarray, count: int) -> np.ndarray:
    """x^n for n < count, along a last axis of its own."""
    factors = np.repeat(x[..., None], count, axis=-1)
    factors[..., 0] = 1.0
    return np.multiply.accumulate(factors, axis=-1)


def _inverted(x: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Where values over x, both falling but for rounding, are x again; the nearest x beyond them."""
    return np.interp(-x, np.maximum.accumulate(-values), x)


def _smoothed(k: np.ndarray, slopes: tuple[float, float]) -> tuple[np.ndarray, np.ndarray]:
    """Hermite coefficients over g of phi(k + g) and of phi'(k + g), shape (DOUBLE, k.size) each."""
    above, below = slopes
    peak = np.exp(-0.5 * k * k) / math.sqrt(2.0 * math.pi)
    polynomials = hermite(-k, DOUBLE)
    n = np.arange(1, DOUBLE)
    mask = np.empty_like(polynomials)
    mask[0] = below + (above - below) * ndtr(k)
    mask[1:] = (above - below) * peak * polynomials[:-1] / np.sqrt(n)[:, None]
    value = np.empty_like(polynomials)
    value[0] = below * k + (above - below) * (k * ndtr(k) + peak)
    value[1:] = mask[:-1] / np.sqrt(n)[:, None]
    return value, mask


@dataclass(frozen=True)
class _Series:
    """Hermite coefficients of one class of points, each of a function brought to a second moment of 1.

    `value`, `energy` are those of h and sqrt(v), shape (TERMS + 1,), the last being the rest; `sum`,
    `masked` and `open` the double ones of phi(z), phi'(z) sqrt(v) and phi'(z), shape (DOUBLE, DOUBLE), with
    the `rests` of them and the `passed` shares, the second moments of the latter two.
    """

    value: np.ndarray
    energy: np.ndarray
    double: np.ndarray
    rests: np.ndarray
    passed: np.ndarray


def _series(channels: Channels, rows: np.ndarray, share: float, slopes: tuple[float, float]) -> _Series:
    density, energy = channels.density[rows].mean(0), channels.energy[rows].mean(0)
    z, a = latent(channels, density)
    quantile = PchipInterpolator(a, z, extrapolate=True)
    level = min(max(float(np.interp(0.0, z, a)), -8.0), 8.0)
    ends = (-9.0, level, 9.0)
    parts = [quadrature(low, high, 12) for low, high in itertools.pairwise(ends)]
    x, w = (np.concatenate(each) for each in zip(*parts, strict=True))
    w = w * np.exp(-0.5 * x * x) / math.sqrt(2.0 * math.pi)
    here = quantile(x)
    slope = np.where(x > level, *channels.slopes)
    ratio = np.divide(energy, density, out=np.zeros_like(energy), where=density > 1e-250)
    root = np.abs(slope) * np.sqrt(np.maximum(np.interp(here, channels.grid, ratio), 0.0))
    functions = np.stack([slope * here, root])
    functions /= np.sqrt(np.maximum((w * functions**2).sum(1, keepdims=True), 1e-300))
    polynomials = hermite(x, TERMS)
    single = (w * functions) @ polynomials.T
    rest = np.sqrt(np.maximum(1.0 - (single**2).sum(1, keepdims=True), 0.0))
    single = np.concatenate([single, rest], axis=1)

    width = math.sqrt(max(share, LEAST_WIDTH**2))
    k = functions[0] * math.sqrt(max(1.0 - share, 0.0)) / width
    value, mask = _smoothed(k, slopes)
    weighted = w * polynomials[:DOUBLE]
    double = np.stack([weighted @ value.T, (weighted * functions[1]) @ mask.T, weighted @ mask.T])
    above, below = slopes
    open_ = ndtr(k)
    peak = np.exp(-0.5 * k * k) / math.sqrt(2.0 * math.pi)
    positive = (1.0 + k * k) * open_ + k * peak  # E (k + g)^2 where k + g > 0
    second = above**2 * positive + below**2 * (1.0 + k * k - positive)
    squared = above**2 * open_ + below**2 * (1.0 - open_)
    norms = np.array([w @ second, w @ (squared * functions[1] ** 2), w @ squared])
    double[0] /= math.sqrt(max(norms[0], 1e-300))
    norms[0] = 1.0
    rests = np.sqrt(np.maximum(norms - (double**2).sum((1, 2)), 0.0))
    return _Series(single[0], single[1], double, rests, norms[1:])


def tabulated(channels: Channels, share: np.ndarray, slopes: tuple[float, float]) -> Tables:
    """Tables of an activation of such slopes behind a sum with a Gaussian of that share (`Summands`)."""
    kinds, count = classes(channels, share)
    series = []
    for kind in range(count):
        rows = np.flatnonzero(kinds == kind)
        laws = rows if len(channels.density) > 1 else np.zeros(1, int)
        series.append(_series(channels, laws, float(share[rows].mean()), slopes))
    nodes = np.linspace(0.0, math.sqrt(2.0), CELLS + 1)
    even = 1.0 - nodes**2
    powers = _powers(even, TERMS + 1)
    across = powers[:, :DOUBLE].T
    values, energies = (np.stack([getattr(each, name) for each in series]) for name in ("value", "energy"))
    doubles, rests = (np.stack([getattr(each, name) for each in series]) for name in ("double", "rests"))
    rest = np.abs(even) ** (DOUBLE / 2)
    ends = np.empty((count, count, CELLS + 1))
    tables = np.empty((3, count, count, CELLS + 1, CELLS + 1))
    with np.errstate(divide="ignore", invalid="ignore"):
        inverse = 1.0 / (1.0 - even)
    for i in range(count):
        ts, energy = powers @ (values[i] * values[i:]).T, powers @ (energies[i] * energies[i:]).T
        rs = np.stack([_inverted(even, t) for t in ts.T])  # of the copula where the shortcut has a node's t
        energy = np.stack([np.interp(-r, -even, e) for r, e in zip(rs, energy.T, strict=True)])
        found = _powers(rs, DOUBLE)[:, None] @ (doubles[i] * doubles[i:]) @ across
        tail = (np.abs(rs) ** (DOUBLE / 2))[:, None, :, None] * rest
        found += (rests[i] * rests[i:])[:, :, None, None] * tail
        value, kept, open_ = found.swapaxes(0, 1)
        with np.errstate(invalid="ignore"):
            end = (1.0 - value[:, :, 0]) * inverse
            inner = (value[:, :, :1] - value) * inverse
        end[:, 0] = 2.0 * end[:, 1] - end[:, 2]
        inner[:, :, 0] = 2.0 * inner[:, :, 1] - inner[:, :, 2]
        energy = energy[:, :, None]
        kept = np.divide(kept, energy, out=np.zeros_like(kept), where=energy > 1e-9)
        ends[i, i:] = ends[i:, i] = end
        tables[:, i, i:] = tables[:, i:, i] = inner, kept, open_
    return Tables(kinds, ends, tables)
