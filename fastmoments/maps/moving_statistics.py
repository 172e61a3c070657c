"""Batch norm whose mean and variance move with the noise: the noise of all points together.

Of one channel z over M points, x = z - mean z and y = x / sqrt(q + eps), q = |x|^2 / M, noise dz becomes

    dy = (H - y y' / M) dz / sqrt(q + eps),    H = I - 1 1' / M,

for any eps. So the noise of different images is no longer independent. With E = H D H and f(y) the product of
what an activation behind it passes on at p and at q, the covariance E f dy_p dy_q has terms of degree 0, 2
and 4 in x over the powers 1, 2 and 3 of q + eps. As in `quadrature` the powers become integrals over s with
1, s and s^2 / 2, and x a Gaussian of covariance S_s. Integrating by parts, twice in the last, leaves

    D'_pq = int w(s) [ k0 (G E G)_pq + j (u_p v_q / v_p + u_q v_p / v_q) + (s^2 / 2 M^2) tr(E S_s) k1 ] ds,

    G = I - (s / M) S_s,    u_p = -(s / M) (E S_s)_pp + (s^2 / 2 M^2) (S_s E S_s)_pp,    v_p^2 = (S_s)_pp,

with r the correlation of p and q in S_s. Of the rectifier k0 = (pi - arccos r) / 2 pi,
j = sqrt(1 - r^2) / 2 pi, k1 = v_p v_q (j + r k0); without an activation k0 = 1, j = 0, k1 = (S_s)_pq.
"""

from __future__ import annotations

import numpy as np

from ..covariances.scales import log
from ..covariances.storage import NoiseCovariance
from ..nets.activations import PiecewiseLinear
from .activation import check_dead, passed_derivative
from .quadrature import BatchNormWeight

#: Points that it is computed for: a layer takes some dozens of products of matrices of that size.
MOST_POINTS = 512
#: Share of the mean variance below which that of a point is rounding: it has no signal.
ROUNDING = 1e-14


def move_statistics(
    noise: NoiseCovariance,
    values: np.ndarray,
    vectors: np.ndarray,
    weight: BatchNormWeight,
    activation: PiecewiseLinear | None,
    tolerance: float,
) -> tuple[NoiseCovariance, float]:
    """Noise behind a batch norm that it moves, and behind the activation that follows, in place.

    Parameters
    ----------
    noise : overwritten
        Behind it the images' noise is joined (`NoiseCovariance.join`).
    values, vectors : ndarray, shapes (points,) and (points, points)
        All eigenpairs of the centred covariance of the signal.
    weight : BatchNormWeight
        Of `values`, in their units; the noise is divided by the square root of these units.
    activation : PiecewiseLinear or None
    tolerance : float
        As of `BatchNormWeight.rule`.

    Returns
    -------
    between : NoiseCovariance
        Behind the batch norm, before the activation; `noise` itself without one.
    error : float
        Of the quadrature.

    Raises
    ------
    ValueError
        If the activation has no derivative at a point without signal.
    """
    noise.join()
    points = noise.points
    centred = vectors.T @ _centred(noise.blocks[0]) @ vectors  # E in the basis of S
    rule = weight.rule(0.0, 0.0, tolerance, quadratic=True)
    plain, behind = np.zeros((2, points, points))
    for s, share in zip(rule.nodes, rule.weights, strict=True):
        damped = values / (1.0 + (2.0 * s / points) * values)
        step = (s / points) * damped
        kept = _turned(centred * np.outer(1.0 - step, 1.0 - step), vectors)
        signal = _turned(np.diag(damped), vectors)
        quartic = 0.5 * (s / points) * float(step @ centred.diagonal())
        plain += share * (kept + quartic * signal)
        if activation is not None:
            # u, from the diagonal of a symmetric form of it
            form = centred * (0.5 * np.multiply.outer(step, step) - 0.5 * np.add.outer(step, step))
            linear = np.einsum("pk,pk->p", vectors @ form, vectors)
            behind += share * _rectified(kept, signal, linear, quartic)
    between = _brought_to_one(noise, plain)
    if activation is None:
        noise.blocks, noise.log_scale = between.blocks, between.log_scale
        return noise, rule.error
    dead = vectors**2 @ values <= ROUNDING * values.mean()
    check_dead(dead, activation)
    behind = activation.bend * behind + activation.passed * plain
    behind[dead], behind[:, dead] = 0.0, 0.0
    settled = _brought_to_one(noise, behind)
    noise.blocks, noise.log_scale = settled.blocks, settled.log_scale
    return between, rule.error


def _rectified(kept: np.ndarray, signal: np.ndarray, linear: np.ndarray, quartic: float) -> np.ndarray:
    """The integrand behind a rectifier."""
    roots = np.sqrt(np.maximum(signal.diagonal(), 0.0))
    inverses = np.divide(1.0, roots, out=np.zeros_like(roots), where=roots > 0.0)
    r = np.clip(signal * np.outer(inverses, inverses), -1.0, 1.0)
    np.fill_diagonal(r, 1.0)
    k0 = passed_derivative(r)
    j = np.sqrt(1.0 - r * r) / (2.0 * np.pi)
    ratio = np.outer(linear * inverses, roots)
    return k0 * kept + j * (ratio + ratio.T) + quartic * np.outer(roots, roots) * (j + r * k0)


def _turned(inner: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """A matrix out of the basis of the signal."""
    return vectors @ inner @ vectors.T


def _centred(matrix: np.ndarray) -> np.ndarray:
    """HDH of a symmetric matrix D."""
    means = matrix.mean(axis=0)
    return matrix - means - means[:, None] + means.mean()


def _brought_to_one(noise: NoiseCovariance, matrix: np.ndarray) -> NoiseCovariance:
    """Noise of this covariance in the scale of `noise`, its mean variance 1."""
    found = NoiseCovariance(matrix[None], 1, noise.grid, noise.log_scale)
    level = found.mean_variance()
    if level > 0.0:
        found.blocks = found.blocks / level
        found.log_scale += log(level)
    return found
