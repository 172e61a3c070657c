"""Any activation of a Gaussian signal, by its dual (`dual`): K'_pq = E phi(u) phi(v), D' = D E phi' phi'."""

from __future__ import annotations

import math

import numpy as np

from ..covariances.scales import log, log_mean
from ..covariances.storage import Covariance, NoiseCovariance, gather_row_sums, pairs
from ..nets.activations import Nonlinearity
from .dual import Dual, dual

#: Variance below which a point counts as one without signal.
_DEAD = 1e-280


def activate(
    signal: Covariance, noise: NoiseCovariance, activation: Nonlinearity
) -> tuple[dict[str, float | None], np.ndarray, float]:
    """Activation of a Gaussian signal, in place.

    Not homogeneous, so that it depends on the scale of the signal, which comes out as a new one.

    Returns
    -------
    known : dict
        What its diagonal does not tell (`Marginals.known`).
    mean_share : ndarray, shape (points,)
        Mean over channels relative to the root of the mean square.
    error : float
        Relative, of the covariance.

    Raises
    ------
    ValueError
        If the signal is too large or too small for it.
    """
    from ..kernels.threads import spread

    largest = signal.log_scale + log(float(signal.diagonal.max()))
    if not -560.0 < largest < 560.0:
        raise ValueError(
            f"{type(activation).__name__} of a signal of variance exp({largest:.0f}) is not covered at "
            "infinite width; use a gain that keeps the signal's size."
        )
    factor = math.exp(signal.log_scale)
    applied = dual(activation, np.maximum(signal.diagonal * factor, _DEAD))
    log_scale = log(float(applied.square.max()))
    first, second = pairs(signal.grid[0])
    size = signal.blocks.shape[1]
    after = np.zeros((first.size, 2, size))
    masked = _masked(noise, applied)
    spread(
        _share,
        signal.blocks,
        first,
        second,
        applied,
        factor,
        math.exp(-log_scale),
        noise.blocks,
        masked,
        after,
    )
    signal.log_scale = log_scale
    signal.diagonal = applied.square * math.exp(-log_scale)
    signal.row_sums = gather_row_sums(after, signal.grid[0])
    known = {"log_nu1_abs_signal": log_mean(applied.absolute), "log_mu4_signal": None}
    return known, applied.mean / np.sqrt(applied.square), applied.error


def _masked(noise: NoiseCovariance, applied: Dual) -> bool:
    """Mask the noise where that needs no visit to a block; whether the visit has to do it."""
    if noise.joint:
        return True
    noise.separate()
    if noise.grid == (1, 1):
        noise.blocks *= applied.slope2[:, None, None]
        return False
    return True


def _share(
    worker: int, workers: int, blocks: np.ndarray, first: np.ndarray, second: np.ndarray, applied: Dual,
    factor: float, shrink: float, noise: np.ndarray, masked: bool, after: np.ndarray,
) -> None:  # fmt: skip
    """A worker's blocks; all of them mask noise of all images together, else those on the diagonal."""
    size, joint = blocks.shape[1], noise.shape[1] == len(applied.square)
    for p in range(worker, len(blocks), workers):
        rows, columns = (slice(i * size, (i + 1) * size) for i in (first[p], second[p]))
        block = factor * blocks[p].astype(np.float64)
        if masked and (joint or first[p] == second[p]):
            mask = applied.derivative(block, rows, columns)
            if first[p] == second[p]:
                np.fill_diagonal(mask, applied.slope2[rows])
            if joint:
                noise[0, rows, columns] *= mask
            else:
                noise[first[p]] *= mask
            if first[p] != second[p]:
                noise[0, columns, rows] *= mask.T
        found = applied.covariance(block, rows, columns)
        if first[p] == second[p]:
            np.fill_diagonal(found, applied.square[rows])
        found *= shrink
        blocks[p] = found
        after[p, 0], after[p, 1] = found.sum(1), found.sum(0)
