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

import math
from dataclasses import replace

import numpy as np

from ..covariances.scales import log_mean
from ..covariances.storage import Covariance, NoiseCovariance, assembled, cut, gather_row_sums, pairs
from ..nets.activations import PiecewiseLinear
from . import copula_error
from .channels import Channels, Summands
from .copula import tabulated


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
    found = tabulated(summands.channels, summands.share, activation.slopes)
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
    assert channels.witnesses is not None, "they come with the sum"
    seen = copula_error.activated(channels.witnesses, signal, activation.slopes)
    return replace(behind, witnesses=seen), absolute_moment(signal, behind)


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
    branch_noise: NoiseCovariance, fresh: Channels | None = None,
) -> Channels:  # fmt: skip
    """The law of the sum of a shortcut with such channels and a branch; of `fresh` see `Channels.plus`."""
    share = _share(branch.diagonal, branch.log_scale, shortcut.diagonal, shortcut.log_scale)
    noises = [_variances(noise, branch.points) for noise in (branch_noise, shortcut_noise)]
    noise_share = _share(noises[0], branch_noise.log_scale, noises[1], shortcut_noise.log_scale)
    found = channels.plus(share, noise_share, fresh)
    seen = channels.witnesses or copula_error.drawn(channels, shortcut)
    seen = copula_error.joined(seen, shortcut, branch, float(noise_share.mean()), resets=fresh is not None)
    return replace(found, summands=Summands(channels, share, shortcut, shortcut_noise), witnesses=seen)


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
