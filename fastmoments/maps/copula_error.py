"""What the copula leaves out: channels drawn at some points go through the merges as they are.

The copula (`post_activation`) reduces the law of two points to their marginals and one correlation at every
merge. Its witnesses are independent channels x, drawn from its law at the first merge. Every branch adds a
Gaussian g of the covariance that the walk found, and x' = phi(x + g). Their second moments at a point are
known, and set; compared with K' are mu2 and its part along the leading eigenvector, which give the effective
rank. These deviations o hold the response of the shortcut, but not that of the branches. With w the
branch's share of mu2, the defect o' - (1 - w) o is what one merge adds, and

    d' = (1 - w + b w) d + o' - (1 - w) o

what is left out in all; b is 0 of mu2 where a batch norm resets it, else 1. Control variates are functions of
the Gaussian u, the sum of all branches: squares, whose means are known, and odd ones, whose means are 0.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from scipy.interpolate import PchipInterpolator

from ..covariances.storage import Covariance, block_index
from .channels import Channels
from .copula import hermite, latent, quadrature
from .witnesses import Witnesses

#: Points, and values of all channels; channels at most.
MOST_POINTS, VALUES, MOST_CHANNELS = 128, 2**19, 16_384
#: Terms of a series.
TERMS = 256


def taken_at(signal: Covariance, points: np.ndarray) -> np.ndarray:
    """The covariance of some of the points in the scale of its blocks, shape (n, n)."""
    image, place = np.divmod(points, signal.blocks.shape[1])
    first, second = np.minimum.outer(image, image), np.maximum.outer(image, image)
    turned = image[:, None] > image[None, :]
    rows, columns = np.broadcast_arrays(place[:, None], place[None, :])
    one, other = np.where(turned, columns, rows), np.where(turned, rows, columns)
    return signal.blocks[block_index(signal.grid[0])[first, second], one, other].astype(np.float64)


def _factor(covariance: np.ndarray) -> np.ndarray:
    values, vectors = np.linalg.eigh(covariance)
    return (vectors * np.sqrt(np.maximum(values, 0.0))).astype(np.float32)


def _normals(merges: int, shape: tuple[int, ...]) -> np.ndarray:
    rng = np.random.default_rng(np.random.SeedSequence(0, spawn_key=(merges,)))
    return rng.standard_normal(shape, dtype=np.float32)


def drawn(channels: Channels, signal: Covariance) -> Witnesses:
    """Witnesses of the copula of channels whose law is the same at all points, and of this covariance."""
    count = min(signal.points, MOST_POINTS)
    points = np.sort(np.random.default_rng(0).permutation(signal.points)[:count])
    z, a = latent(channels, channels.density[0])
    quantile = PchipInterpolator(a, z)

    def value(normals: np.ndarray) -> np.ndarray:
        found = quantile(np.clip(normals, a[0], a[-1]))
        return found * np.where(found > 0.0, *channels.slopes)

    level = float(np.interp(0.0, z, a))
    x, w = map(np.hstack, zip(quadrature(-8.0, level, 16), quadrature(level, 8.0, 16), strict=True))
    w = w * np.exp(-0.5 * x * x) / math.sqrt(2.0 * math.pi)
    squares = ((w * value(x)) @ hermite(x, TERMS).T) ** 2
    squares = np.append(squares, max(float(w @ value(x) ** 2) - squares.sum(), 0.0))
    even = 1.0 - np.linspace(math.sqrt(2.0), 0.0, 1001) ** 2
    given = np.maximum.accumulate(np.polynomial.polynomial.polyval(even, squares))
    covariance = taken_at(signal, points)
    roots = np.sqrt(np.maximum(np.diag(covariance), 1e-300))
    found = np.interp(covariance / np.outer(roots, roots), given / given[-1], even)
    np.fill_diagonal(found, 1.0)
    normals = _factor(found) @ _normals(0, (count, min(VALUES // count, MOST_CHANNELS)))
    controls = roots[:, None].astype(np.float32) * normals
    zero = np.zeros(3)
    values = value(normals).astype(np.float32)
    return Witnesses(
        points,
        values,
        controls,
        np.outer(roots, roots) * found,
        signal.log_scale,
        0,
        0.0,
        0.0,
        zero[:2],
        zero,
        zero,
    )


def _set(values: np.ndarray, variances: np.ndarray) -> None:
    """Set the second moments of all points to these."""
    second = np.einsum("ps,ps->p", values, values) / values.shape[1]
    factors = np.divide(variances, second, out=np.zeros_like(variances), where=second > 0.0)
    values *= np.sqrt(factors)[:, None].astype(np.float32)


def joined(
    before: Witnesses, shortcut: Covariance, branch: Covariance, noise_share: float, resets: bool
) -> Witnesses:
    """Witnesses behind a merge.

    Parameters
    ----------
    shortcut, branch : Covariance
    noise_share : float
        Of the branch in the noise of the sum.
    resets : bool
        Whether the branch ends in a batch norm: its mu2 does not depend on that of the shortcut, and its
        noise is that of the shortcut over it.
    """
    top = max(shortcut.log_scale, branch.log_scale)
    mine, theirs = math.exp(shortcut.log_scale - top), math.exp(branch.log_scale - top)
    fresh, old = (f * taken_at(k, before.points) for f, k in ((theirs, branch), (mine, shortcut)))
    variances = [_centred_trace(each) for each in (fresh, old)]
    share = variances[0] / sum(variances) if sum(variances) else 0.0
    merges, factor = before.merges + 1, math.exp(before.log_scale - top)
    added = _factor(fresh) @ _normals(merges, before.values.shape)
    values = before.values.copy()
    _set(values, np.diag(old).copy())
    values += added
    carried = np.array([1.0 - share if resets else 1.0, 1.0, 1.0])
    found, doubt = carried * before.found, carried**2 * before.doubt
    if resets:
        found[2] -= noise_share * before.found[0]
        doubt[2] = (math.sqrt(doubt[2]) + noise_share * math.sqrt(before.doubt[0])) ** 2
    return Witnesses(
        before.points, values, np.float32(math.sqrt(factor)) * before.controls + added,
        factor * before.variance + fresh, top, merges, 1.0 - share, before.spread,
        (1.0 - share) * before.open, found, doubt,
    )  # fmt: skip


def activated(before: Witnesses, signal: Covariance, slopes: tuple[float, float]) -> Witnesses:
    """Witnesses behind an activation of such slopes, which has made this covariance of that of the sum."""
    values = before.values * np.where(before.values > 0.0, *slopes).astype(np.float32)
    covariance = taken_at(signal, before.points)
    _set(values, np.diag(covariance).copy())
    centred = _centred(covariance)
    traces, vectors = np.linalg.eigh(centred)
    leading = vectors[:, -1].astype(np.float32)
    expected = np.array([np.trace(centred), traces[-1]])
    if not expected[0] > 1.000001 * expected[1] > 0.0:
        return replace(before, values=values)
    measured = _squares(values, leading) / expected[:, None]
    # The mean of these squares is set, so that what a channel adds to it has no part in the errors.
    second = np.einsum("ps,ps->s", values, values, dtype=np.float64)
    measured -= second / second.mean() - 1.0
    control = np.diag(_centred(before.variance)).sum(), leading @ before.variance @ leading
    mean = before.controls.mean(0)
    even = _squares(before.controls, leading) / np.maximum(control, 1e-300)[:, None] - 1.0
    along = leading @ before.controls
    columns = [even, np.sign(along) * (even + 1.0), along]
    level = float(before.variance.mean())
    if level > 1e-6 * float(np.diag(before.variance).mean()):  # behind a batch norm the mean over points is 0
        columns += [np.sign(mean) * (even + 1.0), mean, np.sign(mean), mean * mean / level - 1.0]
    controls = np.vstack(columns).T
    spread = 1.0 - expected[1] / expected[0]
    deviations = np.stack([measured[0], (measured[0] - measured[1]) / spread])
    target = deviations - deviations.mean(1, keepdims=True)
    inner = controls - controls.mean(0)
    weights = np.linalg.lstsq(inner, target.T, rcond=None)[0]
    rest = deviations.T - controls @ weights
    open_ = rest.mean(0) - (1.0, 0.0)
    fresh = (1.0 - before.kept**2) * rest.var(0) / len(rest)
    found, doubt = before.found.copy(), before.doubt.copy()
    found[:2] += open_ - before.open
    doubt[:2] += fresh
    return replace(before, values=values, spread=spread, open=open_, found=found, doubt=doubt)


def _squares(values: np.ndarray, leading: np.ndarray) -> np.ndarray:
    """Of every channel the centred square and the square along a centred vector, shape (2, channels)."""
    total = np.einsum("ps,ps->s", values, values, dtype=np.float64)
    return np.stack([total - values.mean(0, dtype=np.float64) ** 2 * len(values), (leading @ values) ** 2])


def _centred(covariance: np.ndarray) -> np.ndarray:
    rows = covariance.mean(0)
    return covariance - rows - rows[:, None] + rows.mean()


def _centred_trace(covariance: np.ndarray) -> float:
    return float(np.trace(covariance) - covariance.mean() * len(covariance))
