"""Activations of a sum that is not Gaussian: nets that activate behind the merge, as ResNet v1 does.

There x' = phi(z), z = x + g, where g, the branch, is Gaussian and fresh, and x, the activations of the unit
before, is not. Second moments do not close: a channel that is far above 0 stays open, and so does its noise.

* *One point is exact.* A `Channels` holds, for every point p, the density f_p of z_p on a grid, and the
  noise energy e_p = f_p V_p, V_p(z) = E[dz_p^2 | z_p]. Both are sums of Gaussians of the width of g, so
  smooth that a few nodes to a standard deviation of g give them to many digits:

      f'(y) = int f(z) N(y - phi(z); s^2) dz,   e'(y) = int (phi'(z)^2 e(z) + D_g f(z)) N(y - phi(z); s^2) dz.

* *Pairs by a Gaussian copula.* x_p = h_p(a), x_q = h_q(b) with standard Gaussians a, b, whose correlation
  r is solved from K_pq = E[h_p(a) h_q(b)] = sum_n c_n(p) c_n(q) r^n. Then, c the correlation of g,
  K'_pq = E[phi(z_p) phi(z_q)] = sum_nm d_nm(p) d_nm(q) r^n c^m, with the double Hermite coefficients d_nm of
  phi(h(a) + s g). The sums are tabulated for pairs of classes of points, whose laws are alike but for their
  scale.
* *Noise of two positions*: E[dx_p dx_q | x] is taken to be proportional to sqrt(v_p(x_p) v_q(x_q)), v_p the
  noise energy at one point, with the factor that makes its mean D_pq; it passes where both masks are open.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from scipy.interpolate import CubicSpline, PchipInterpolator
from scipy.special import ndtr, ndtri

from ..covariances.scales import log_mean
from ..covariances.storage import Covariance, NoiseCovariance, assembled, cut, gather_row_sums, pairs
from ..nets.activations import PiecewiseLinear

#: Of the grid: how far it reaches, and the step before the first merge; nodes to a standard deviation of what
#: is added; least such deviation, relative to that of the sum, that is resolved.
REACH, FIRST_STEP, NODES, LEAST_WIDTH = 8.5, 0.05, 4.0, 0.01
#: Classes of points: by the law of the shortcut, by the share of the branch. Terms of a series in one
#: correlation, and of one in two correlations, for each; cells of a table.
CLASSES, TERMS, DOUBLE, CELLS = (4, 6), 256, 40, 56
#: Gregory's weights at the end of a half line, relative to the step; 1 further inside.
GREGORY = np.array([19087, 84199, 37738, 75242, 55031, 61343]) / 60480
IDENTITY = (1.0, 1.0)


@dataclass(frozen=True)
class Channels:
    """The law of a channel at every point: phi(z), with z of a density on a grid; scales apart.

    Attributes
    ----------
    step : float
        Of the grid, in units of a point that `scales` gives; z = 0 stands at index `zero`.
    zero : int
    density : ndarray, shape (points or 1, n)
        Of z; of integral 1.
    energy : ndarray, shape (points or 1, n)
        E[dz^2 | z] times the density, up to a factor: noise before phi.
    slopes : (above 0, below)
        Of phi; (1, 1) before an activation.
    summands : Summands or None
        Of what z is the sum, as long as an activation may follow.
    """

    step: float
    zero: int
    density: np.ndarray
    energy: np.ndarray
    slopes: tuple[float, float] = IDENTITY
    summands: Summands | None = None

    @property
    def grid(self) -> np.ndarray:
        """The z of the nodes, shape (n,)."""
        return self.step * (np.arange(self.density.shape[1]) - self.zero)

    @property
    def halves(self) -> tuple[np.ndarray, np.ndarray]:
        """Quadrature weights of z > 0 and of z < 0, shape (n,) each."""
        n = self.density.shape[1]
        positive, negative = np.zeros((2, n))
        positive[self.zero :] = self.step
        negative[: self.zero + 1] = self.step
        positive[self.zero : self.zero + GREGORY.size] *= GREGORY
        negative[self.zero - np.arange(GREGORY.size)] *= GREGORY
        return positive, negative

    def taken(self) -> tuple[dict, dict]:
        """Arrays and plain values, the inverse of `Channels.restored`."""
        arrays = {"density": self.density, "energy": self.energy}
        return arrays, {"step": self.step, "zero": self.zero, "slopes": self.slopes}

    @classmethod
    def restored(cls, arrays: dict, described: dict) -> Channels:
        """The laws from their arrays and plain values."""
        slopes = tuple(described["slopes"])
        return cls(described["step"], described["zero"], arrays["density"], arrays["energy"], slopes)

    def activated(self, activation: PiecewiseLinear) -> Channels:
        """Behind an activation."""
        return Channels(self.step, self.zero, self.density, self.energy, activation.slopes)

    def mean(self, power: int) -> np.ndarray:
        """E |phi(z)|^power, shape (points or 1,)."""
        weights = sum(
            half * abs(slope) ** power for half, slope in zip(self.halves, self.slopes, strict=True)
        )
        return self.density @ (weights * np.abs(self.grid) ** power)

    def passed(self, slopes: tuple[float, float]) -> np.ndarray:
        """Share of the noise energy of z that passes an activation of such slopes, shape (points or 1,)."""
        positive, negative = self.halves
        total = self.energy @ (positive + negative)
        found = self.energy @ (slopes[0] ** 2 * positive + slopes[1] ** 2 * negative)
        return np.divide(found, total, out=np.zeros_like(found), where=total > 0.0)

    def refined(self, step: float) -> Channels:
        """On a grid of at most that step."""
        times = math.ceil(self.step / step)
        if times == 1:
            return self
        n = self.density.shape[1]
        new = np.arange((n - 1) * times + 1) / times
        density, energy = (
            CubicSpline(np.arange(n), each, axis=1)(new) for each in (self.density, self.energy)
        )
        return Channels(self.step / times, self.zero * times, density, energy, self.slopes)

    def plus(self, share: np.ndarray, noise_share: np.ndarray) -> Channels:
        """The law of the sum with a fresh Gaussian.

        Parameters
        ----------
        share, noise_share : ndarray, shape (points,)
            Of the Gaussian in the second moment of the sum, and of its noise in that of the noise.
        """
        from ..kernels import post_activation as kernels
        from ..kernels.threads import spread

        points = share.size
        widths = np.sqrt(np.clip(share, LEAST_WIDTH**2, 1.0))
        second = self.mean(2)
        scales = np.sqrt(np.maximum(1.0 - share, 0.0) / np.maximum(second, 1e-300))
        finest = float(widths.min()) / NODES
        steepest = max(abs(slope) for slope in self.slopes) * float(scales.max())
        source = self.refined(finest / steepest) if steepest > 0.0 else self
        low = REACH * (float(widths.max()) if self.slopes[1] == 0.0 else 1.0)
        zero = max(math.ceil(low / finest), GREGORY.size)
        size = zero + math.ceil(REACH / finest) + 1
        density, energy = np.zeros((points, size)), np.zeros((points, size))
        n = source.density.shape[1]
        spread(
            kernels.smooth, source.grid, source.zero, *source.halves, np.array(source.slopes),
            np.broadcast_to(scales, points).copy(), widths, noise_share,
            np.broadcast_to(source.density, (points, n)), np.broadcast_to(source.energy, (points, n)),
            finest, zero, density, energy,
        )  # fmt: skip
        density /= finest * density.sum(1, keepdims=True)
        return Channels(finest, zero, density, energy)


@lru_cache(maxsize=1)
def gaussian() -> Channels:
    """A Gaussian channel, the noise independent of it: the same law at all points."""
    zero = math.ceil(REACH / FIRST_STEP)
    z = FIRST_STEP * (np.arange(2 * zero + 1) - zero)
    density = np.exp(-0.5 * z * z)[None] / math.sqrt(2.0 * math.pi)
    return Channels(FIRST_STEP, zero, density, density)


@dataclass(frozen=True)
class Summands:
    """What a sum was made of.

    Attributes
    ----------
    channels : Channels
        Of the shortcut.
    share : ndarray, shape (points,)
        Of the branch in the second moment of the sum.
    signal : Covariance
    noise : NoiseCovariance
        Those of the shortcut, in its memory.
    """

    channels: Channels
    share: np.ndarray
    signal: Covariance
    noise: NoiseCovariance


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


def _quadrature(low: float, high: float, panels: int) -> tuple[np.ndarray, np.ndarray]:
    """Gauss-Legendre in panels."""
    nodes, weights = _panel()
    size = (high - low) / panels
    return (low + size * (np.arange(panels)[:, None] + nodes)).ravel(), np.tile(size * weights, panels)


def _latent(channels: Channels, density: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
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


def _hermite(x: np.ndarray, count: int) -> np.ndarray:
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
    polynomials = _hermite(-k, DOUBLE)
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
    z, a = _latent(channels, density)
    quantile = PchipInterpolator(a, z, extrapolate=True)
    level = min(max(float(np.interp(0.0, z, a)), -8.0), 8.0)
    ends = (-9.0, level, 9.0)
    parts = [_quadrature(low, high, 12) for low, high in itertools.pairwise(ends)]
    x, w = (np.concatenate(each) for each in zip(*parts, strict=True))
    w = w * np.exp(-0.5 * x * x) / math.sqrt(2.0 * math.pi)
    here = quantile(x)
    slope = np.where(x > level, *channels.slopes)
    ratio = np.divide(energy, density, out=np.zeros_like(energy), where=density > 1e-250)
    root = np.abs(slope) * np.sqrt(np.maximum(np.interp(here, channels.grid, ratio), 0.0))
    functions = np.stack([slope * here, root])
    functions /= np.sqrt(np.maximum((w * functions**2).sum(1, keepdims=True), 1e-300))
    polynomials = _hermite(x, TERMS)
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


def tabulated(summands: Summands, slopes: tuple[float, float]) -> Tables:
    """Tables of an activation of such slopes behind a sum."""
    channels, share = summands.channels, summands.share
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


def activate_sum(
    signal: Covariance, noise: NoiseCovariance, channels: Channels, activation: PiecewiseLinear
) -> tuple[Channels, dict[str, float | None]]:
    """Activation of a sum, in place; the law behind it, and `Marginals.known`.

    Parameters
    ----------
    signal, noise : overwritten
    channels : Channels
        Of the sum, with its summands.
    activation : PiecewiseLinear
    """
    from ..kernels import post_activation as kernels
    from ..kernels.threads import spread

    summands = channels.summands
    assert summands is not None, "the merge stands right before its activation"
    found = tabulated(summands, activation.slopes)
    behind = channels.activated(activation)
    diagonal = signal.diagonal * (behind.mean(2) / channels.mean(2))
    kept = np.broadcast_to(channels.passed(activation.slopes), signal.points)
    first, second = pairs(signal.grid[0])
    noise.separate()
    blocks, before, where = noise.blocks, summands.noise.blocks, np.where(first == second, first, -1)
    if noise.joint:
        blocks, before = (cut(each[0], signal.grid[0]) for each in (blocks, before))
        where = np.arange(first.size)
    elif noise.grid == (1, 1):
        blocks *= kept[:, None, None]
        where = np.full(first.size, -1)
    after = np.zeros((first.size, 2, signal.blocks.shape[1]))
    spread(
        kernels.look_up, signal.blocks, summands.signal.blocks,
        math.exp(summands.signal.log_scale - signal.log_scale), first, second,
        _inverses(summands.signal.diagonal), _inverses(summands.share * signal.diagonal), np.sqrt(diagonal),
        found.kinds, found.ends, found.tables, blocks, before,
        math.exp(summands.noise.log_scale - noise.log_scale), where, np.sqrt(kept), after,
    )  # fmt: skip
    if noise.joint:
        noise.blocks = assembled(blocks, signal.grid[0])[None]
    signal.diagonal = diagonal
    signal.row_sums = gather_row_sums(after, signal.grid[0])
    return behind, absolute_moment(signal, behind)


def _inverses(variances: np.ndarray) -> np.ndarray:
    """Inverse roots, that of 0 being 0."""
    return np.divide(1.0, np.sqrt(variances), out=np.zeros_like(variances), where=variances > 0.0)


def absolute_moment(signal: Covariance, channels: Channels) -> dict[str, float | None]:
    """`Marginals.known` of a signal whose channels have these laws."""
    ratio = channels.mean(1) / np.sqrt(np.maximum(channels.mean(2), 1e-300))
    level = log_mean(np.sqrt(signal.diagonal) * ratio)
    return {"log_nu1_abs_signal": 0.5 * signal.log_scale + level, "log_mu4_signal": None}


def added(
    channels: Channels, shortcut: Covariance, shortcut_noise: NoiseCovariance, branch: Covariance,
    branch_noise: NoiseCovariance,
) -> Channels:  # fmt: skip
    """The law of the sum of a shortcut, whose channels have such laws, and a Gaussian branch."""
    share = _share(branch.diagonal, branch.log_scale, shortcut.diagonal, shortcut.log_scale)
    noises = [_variances(noise, branch.points) for noise in (branch_noise, shortcut_noise)]
    noise_share = _share(noises[0], branch_noise.log_scale, noises[1], shortcut_noise.log_scale)
    found = channels.plus(share, noise_share)
    return replace(found, summands=Summands(channels, share, shortcut, shortcut_noise))


def _variances(noise: NoiseCovariance, points: int) -> np.ndarray:
    """Diagonal of the noise at all points, in the scale of its blocks."""
    found = np.einsum("npp->np", noise.blocks).ravel()
    return np.tile(found, points // found.size)


def _share(values: np.ndarray, log_scale: float, others: np.ndarray, other_log_scale: float) -> np.ndarray:
    """Share of values in the sum with others, entry by entry; 0 where there is none."""
    top = max(log_scale, other_log_scale)
    if top == -math.inf:
        return np.zeros_like(values)
    mine = math.exp(log_scale - top) * values
    total = mine + math.exp(other_log_scale - top) * others
    return np.divide(mine, total, out=np.zeros_like(total), where=total > 0.0)
