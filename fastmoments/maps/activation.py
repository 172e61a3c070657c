"""Activations of a Gaussian signal: arc-cosine kernels."""

from __future__ import annotations

import math

import numpy as np

from ..covariances.scales import log, log_mean
from ..covariances.storage import Covariance, NoiseCovariance, gather_row_sums, pairs
from ..nets.activations import PiecewiseLinear
from .marginals import roots_and_inverses


def coefficients(activation: PiecewiseLinear | None, dtype: np.dtype) -> tuple:
    """What the kernels are told of an activation: polynomials, `bend` and `passed`; without one not used."""
    from ..kernels.blocks import POLYNOMIALS

    bend, passed = (activation.bend, activation.passed) if activation is not None else (1.0, 0.0)
    return (*POLYNOMIALS[dtype], dtype.type(bend), dtype.type(passed))


def settle(
    signal: Covariance, noise: NoiseCovariance, after: np.ndarray, activation: PiecewiseLinear
) -> dict[str, float | None]:
    """Book-keeping behind an activation of a Gaussian; the moments that its diagonal does not give.

    K'_pp = K_pp E phi(z)^2, z standard Gaussian; E |phi| follows from K'_pp. `after` are the kernel's sums.
    """
    signal.diagonal = activation.second_moment * signal.diagonal
    signal.row_sums = gather_row_sums(after, signal.grid[0])
    if noise.grid == (1, 1) and not noise.joint:
        noise.log_scale += log(activation.second_moment)  # r = 1
    # E |z|^2 = 2 / pi; of the rectifier E |phi|^2 / E phi^2 = 1 / pi.
    spread = math.pi * (0.5 * activation.second_moment / activation.absolute_moment**2)
    log_nu1 = 0.5 * signal.log_scale + log_mean(np.sqrt(signal.diagonal / spread))
    return {"log_nu1_abs_signal": log_nu1, "log_mu4_signal": None}


def mask_target(signal: Covariance, noise: NoiseCovariance, activation: PiecewiseLinear) -> np.ndarray:
    """Noise blocks for a kernel to mask: none when every image has one position, whose r is 1.

    Noise of several images together is masked here, by the signal as it stands. The rectifier's derivative
    at 0 is 0, so a point without signal loses its noise.

    Raises
    ------
    ValueError
        If a point has no signal and the derivative there is not 0.
    """
    dead = signal.diagonal == 0.0
    check_dead(dead, activation)
    if noise.joint:
        from ..kernels.threads import spread

        _, inverses = roots_and_inverses(signal.diagonal)
        spread(_mask, noise.blocks[0], activation, signal.blocks, *pairs(signal.grid[0]), inverses)
        if dead.any():
            noise.blocks *= ~(dead[:, None] | dead)
        return np.empty((0, 0, 0))
    if noise.grid == (1, 1):
        if dead.any():
            noise.separate()
            noise.blocks[dead] = 0.0
        return np.empty((0, 0, 0))
    noise.separate()
    dead = dead.reshape(noise.images, -1)
    if dead.any():
        noise.blocks *= ~(dead[:, :, None] | dead[:, None, :])
    return noise.blocks


def _mask(
    worker: int, workers: int, noise: np.ndarray, activation: PiecewiseLinear, blocks: np.ndarray,
    first: np.ndarray, second: np.ndarray, inverses: np.ndarray,
) -> None:  # fmt: skip
    """A worker's blocks of the noise of all images together; `inverses` of the roots of the diagonal."""
    size = blocks.shape[1]
    for p in range(worker, len(blocks), workers):
        rows, columns = (slice(i * size, (i + 1) * size) for i in (first[p], second[p]))
        r = np.clip(blocks[p] * np.outer(inverses[rows], inverses[columns]), -1.0, 1.0)
        if first[p] == second[p]:
            np.fill_diagonal(r, 1.0)
        mask = activation.bend * passed_derivative(r) + activation.passed
        noise[rows, columns] *= mask
        if first[p] != second[p]:
            noise[columns, rows] *= mask.T


def check_dead(dead: np.ndarray, activation: PiecewiseLinear) -> None:
    """Refuse points without signal where the derivative at 0 is not 0."""
    if dead.any() and activation.slopes[1] != 0.0:
        raise ValueError(
            f"{type(activation).__name__} of a point without signal has no derivative; use ReLU, or images "
            "and paddings that leave no point at 0."
        )


def passed_derivative(r: np.ndarray) -> np.ndarray:
    """E relu'(u) relu'(v) of two Gaussians of correlation r: k0 of the arc-cosine kernels."""
    return (math.pi - np.arccos(r)) / (2.0 * math.pi)


def activate(
    signal: Covariance, noise: NoiseCovariance, activation: PiecewiseLinear
) -> dict[str, float | None]:
    """Activation of a Gaussian signal, in place: K'_pq = E phi(u) phi(v), D' = D E phi'(u) phi'(v).

    Of ReLU K' = sqrt(K_pp K_qq) k1(r), D' = D k0(r), with r the correlation: the arc-cosine kernels (Cho and
    Saul, 2009); see `PiecewiseLinear` for the other cases. Exact at infinite width.
    """
    return scaled_and_activated(signal, noise, 1.0, 0.0, activation, tally=False)[1]


def scaled_and_activated(
    signal: Covariance, noise: NoiseCovariance, scale: float, bias: float, activation: PiecewiseLinear,
    tally: bool = True,
) -> tuple[np.ndarray | None, dict[str, float | None]]:  # fmt: skip
    """Activation of ``scale * blocks + bias``, whose diagonal `signal` already has.

    Returns the row sums before it, if `tally`, and `Marginals.known` behind it.
    """
    from ..kernels import blocks as kernels
    from ..kernels.threads import spread

    first, second = pairs(signal.grid[0])
    size = signal.blocks.shape[1]
    before = np.zeros((first.size if tally else 0, 2, size))
    after = np.zeros((first.size, 2, size))
    mask = mask_target(signal, noise, activation)
    roots, inverses = roots_and_inverses(signal.diagonal, signal.blocks.dtype)
    spread(
        kernels.activate, *coefficients(activation, signal.blocks.dtype), signal.blocks, first, second,
        scale, bias, roots, inverses, mask, before, after,
    )  # fmt: skip
    known = settle(signal, noise, after, activation)
    return gather_row_sums(before, signal.grid[0]) if tally else None, known
