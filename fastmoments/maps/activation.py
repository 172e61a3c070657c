"""Activations of a Gaussian signal: arc-cosine kernels."""

from __future__ import annotations

import math

import numpy as np

from ..covariances.scales import log, log_mean
from ..covariances.storage import Covariance, NoiseCovariance, gather_row_sums, pairs, workers
from .marginals import roots_and_inverses


def halve(signal: Covariance, noise: NoiseCovariance, after: np.ndarray) -> dict:
    """Book-keeping after the ReLU of a Gaussian; the moments that its diagonal does not give."""
    signal.diagonal = 0.5 * signal.diagonal
    signal.row_sums = gather_row_sums(after, signal.grid[0])
    if noise.grid == (1, 1):
        noise.log_scale += log(0.5)  # r = 1
    log_nu1 = 0.5 * signal.log_scale + log_mean(np.sqrt(signal.diagonal / math.pi))
    return {"log_nu1_abs_signal": log_nu1, "log_mu4_signal": None}


def mask_target(signal: Covariance, noise: NoiseCovariance) -> np.ndarray:
    """Noise blocks for a kernel to mask: none when every image has one position, whose r is 1.

    The ReLU's derivative at 0 is 0, so a point without signal loses its noise.
    """
    if noise.grid == (1, 1):
        dead = signal.diagonal == 0.0
        if dead.any():
            noise.separate()
            noise.blocks[dead] = 0.0
        return np.empty((0, 0, 0))
    noise.separate()
    dead = (signal.diagonal == 0.0).reshape(noise.images, -1)
    if dead.any():
        noise.blocks *= ~(dead[:, :, None] | dead[:, None, :])
    return noise.blocks


def rectify(signal: Covariance, noise: NoiseCovariance) -> dict:
    """ReLU of a Gaussian signal, in place: K' = sqrt(K_pp K_qq) k1(r), D' = D k0(r).

    Arc-cosine kernels (Cho and Saul, 2009); exact at infinite width.
    """
    return _rectify(signal, noise, 1.0, 0.0, tally=False)[1]


def _rectify(signal, noise, scale: float, bias: float, tally: bool = True) -> tuple[np.ndarray | None, dict]:
    """ReLU of ``scale * blocks + bias``, whose diagonal `signal` already has.

    Returns the row sums before the ReLU, if `tally`, and `Marginals.known` behind it.
    """
    from ..kernels import blocks as kernels

    first, second = pairs(signal.grid[0])
    size = signal.blocks.shape[1]
    before = np.zeros((first.size if tally else 0, 2, size))
    after = np.zeros((first.size, 2, size))
    mask = mask_target(signal, noise)
    roots, inverses = roots_and_inverses(signal.diagonal, signal.blocks.dtype)
    kernels.rectify(
        signal.blocks, first, second, scale, bias, roots, inverses,
        *kernels.POLYNOMIALS[signal.blocks.dtype], mask, before, after, workers(),
    )  # fmt: skip
    known = halve(signal, noise, after)
    return gather_row_sums(before, signal.grid[0]) if tally else None, known
