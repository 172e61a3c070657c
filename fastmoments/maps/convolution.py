"""Convolution of covariances, and the ReLU behind it in the same visit.

Each map takes signal and noise, works on their memory and says what it leaves behind. Where a ReLU
follows, the map before it does both in one visit to each block, and hands back the station between
them as a `Marginals`.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import DTypeLike

from ..covariances.scales import log
from ..covariances.storage import (
    Covariance,
    NoiseCovariance,
    assembled,
    cut,
    gather_row_sums,
    pairs,
    tile_size,
)
from ..nets.activations import PiecewiseLinear
from ..nets.linear import Conv
from .activation import coefficients, mask_target, scaled_and_activated, settle
from .marginals import Marginals, roots_and_inverses
from .taps import memory_of_workers, seen_along, seen_by_taps, tap_tables


def convolve_diagonal(diagonal: np.ndarray, grid: tuple[int, int, int], conv: Conv) -> np.ndarray:
    """Mean over the taps of a field over points, such as the diagonal of a covariance."""
    images, height, width = grid
    total: float | np.ndarray = 0.0
    for factors in zip(*conv.tap_factors, strict=True):
        part = diagonal.reshape(images, height, width)
        for axis, size, weights in zip((1, 2), (height, width), factors, strict=True):
            summed: float | np.ndarray = 0
            for weight, (index, outside) in zip(weights, seen_along(conv, size), strict=True):
                seen = np.take(part, index, axis=axis)
                if outside is not None:
                    np.moveaxis(seen, axis, -1)[..., outside] = 0.0
                summed = summed + weight * seen
            part = np.asarray(summed)
        total = total + part
    return np.ravel(total) / conv.kernel_size**2


def patches(images: np.ndarray, conv: Conv, weights: np.ndarray | None = None) -> np.ndarray:
    """Images (n, h, w, c) cut into the patches a convolution sees, (n, h', w', k k c).

    Each tap's part is multiplied by its number in `weights` (k, k), if there are some.
    """
    parts = list(seen_by_taps(conv, images))
    if weights is not None:
        parts = [weight * part for weight, part in zip(weights.ravel(), parts, strict=True)]
    return np.concatenate(parts, axis=-1)


def first_convolution(
    images: np.ndarray,
    noise: NoiseCovariance,
    conv: Conv,
    method: str = "auto",
    tile: int | None = None,
    dtype: DTypeLike = np.float64,
) -> Covariance:
    """Convolution of the images, as a Gram matrix of patches: no covariance at their full size.

    Parameters
    ----------
    images : ndarray, shape (n, h, w, c)
    noise : overwritten
    conv, method
        As for `convolve`.
    tile, dtype
        As for `Covariance.from_features`.
    """
    noise.own()
    parts = patches(images, conv, None if conv.weights.tap_variances is None else np.sqrt(conv.tap_weights))
    if _one_position(conv, noise.grid):
        noise.log_scale += log(conv.weights.gain * share_of_taps(conv))
    else:
        _convolve_noise(noise, conv, method)
    weights = conv.weights
    factor = weights.gain / parts.shape[-1]
    return Covariance.from_features(parts, factor, weights.bias_variance, tile, dtype)


def _one_position(conv: Conv, grid: tuple[int, int]) -> bool:
    """Whether images have one position, before and behind: a pointwise layer with a share of the taps."""
    return grid == (1, 1) == conv.output_grid(grid)


def share_of_taps(conv: Conv) -> float:
    """Share of the taps that meet the one position of a 1x1 image.

    Raises
    ------
    ValueError
        If there is none.
    """
    share = float(convolve_diagonal(np.ones(1), (1, 1, 1), conv)[0])
    if share == 0.0:
        raise ValueError(_off_the_image(conv, (1, 1)))
    return share


def _off_the_image(conv: Conv, grid: tuple[int, int]) -> str:
    return (
        f"No tap of a Conv of kernel size {conv.kernel_size} and dilation {conv.dilation} with zero padding "
        f"meets an image of {grid[0]} x {grid[1]} positions; use a smaller dilation or stride, or another "
        "padding."
    )


def _convolve_noise(noise: NoiseCovariance, conv: Conv, method: str) -> None:
    """Convolution of the noise, in place, with its mean variance brought to 1."""
    count = noise.seen if noise.joint else noise.blocks.shape[0]
    diagonal = np.einsum("npp->np", noise.blocks).ravel()
    grid = (count, *noise.grid)
    level = conv.weights.gain * float(np.mean(convolve_diagonal(diagonal, grid, conv)))
    if level == 0.0:
        raise ValueError(_off_the_image(conv, noise.grid))
    first, second = pairs(count) if noise.joint else (np.arange(count), np.arange(count))
    source = cut(noise.blocks[0], count) if noise.joint else noise.blocks
    blocks, _ = _convolve_blocks(
        source, first, second, grid, conv, 1.0 / level, 0.0, method, tally=False
    )  # fmt: skip
    noise.blocks = assembled(blocks, count)[None] if noise.joint else blocks
    noise.log_scale += log(level)
    noise.grid = conv.output_grid(noise.grid)


#: An activation that follows in the same visit, roots and inverses of the diagonal, and the noise it masks.
_Beside = tuple[PiecewiseLinear, np.ndarray, np.ndarray, np.ndarray]


def _convolve_blocks(
    source: np.ndarray, first: np.ndarray, second: np.ndarray, grid: tuple[int, int, int], conv: Conv,
    factor: float, bias: float, method: str, activation: _Beside | None = None, tally: bool = True,
) -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray]]:  # fmt: skip
    """``factor`` times the convolution of blocks, plus ``bias``; in place when the size allows.

    `activation` is (activation, roots, inverses, noise) when one is to follow in the same visit.
    Returns the blocks and the sums (pairs, 2, size) before and after it, the first only if `tally`.
    """
    from ..kernels import blocks as kernels
    from ..kernels.threads import spread, workers
    from . import fft

    _, height, width = grid
    new_grid = conv.output_grid((height, width))
    new_size = math.prod(new_grid)
    shape = (len(source), new_size, new_size)
    target = source if new_grid == (height, width) else np.empty(shape, source.dtype)
    before = np.zeros((len(source) if tally else 0, 2, new_size))
    after = np.zeros((len(source) if activation else 0, 2, new_size))
    scale = factor * conv.weights.gain / conv.kernel_size**2
    if fft.chosen(method, conv, height, width):
        fft.convolve(source, target, conv, height, width)
        if activation is None:
            target *= scale
            target += bias
            if tally:
                before[:, 0], before[:, 1] = target.sum(2), target.sum(1)
            return target, (before, after)
        which, roots, inverses, mask = activation
        spread(
            kernels.activate, *coefficients(which, source.dtype), target, first, second, scale, bias,
            roots, inverses, mask, before, after,
        )  # fmt: skip
        return target, (before, after)
    nothing = np.empty(0, source.dtype)
    alone = None, nothing, nothing, np.empty((0, 0, 0))
    behind, roots, inverses, mask = alone if activation is None else activation
    tables, pad_h = tap_tables(conv, height, width), conv.padded_index(height)
    spread(
        kernels.convolve, *coefficients(behind, source.dtype), source, target, first, second, width, pad_h,
        *tables, conv.stride, np.full((1, tables.drops.size), scale), bias,
        activation is not None, roots, inverses, mask, before, after,
        *memory_of_workers(workers(), tables, pad_h, new_size, source.dtype),
    )  # fmt: skip
    return target, (before, after)


def convolve(
    signal: Covariance,
    noise: NoiseCovariance,
    conv: Conv,
    activation: PiecewiseLinear | None,
    *,
    method: str = "auto",
    detail: bool = True,
) -> tuple[Marginals, dict[str, float | None]]:
    """Convolution, and the activation behind it, in place.

    K'_pq = gain / k^2 sum_t v_t K_(p+t),(q+t) + bias_variance, the same tap on both sides, v its relative
    variance, and always divided by k^2, also at a border padded with zeros; D likewise without bias. Exact
    at infinite width.

    Parameters
    ----------
    signal, noise : overwritten
    conv : Conv
    activation : PiecewiseLinear or None
    method : {"auto", "direct", "fft"}
    detail : bool
        Whether the station before a ReLU is wanted; if not, its row sums are not taken.

    Returns
    -------
    station : Marginals
        Behind the convolution, before the ReLU.
    known : dict
        `Marginals.known` of where the signal stands now.
    """
    alone = _one_position(conv, noise.grid)
    pointwise, share = alone or conv.pointwise, share_of_taps(conv) if alone else 1.0
    if noise.grid == (1, 1) and not pointwise:
        regroup(signal, (noise.seen, 1, 1))
    old_grid = signal.grid
    if pointwise:
        level = noise.mean_variance()
        noise.blocks /= level
        noise.log_scale += log(conv.weights.gain * share * level)
    else:
        _convolve_noise(noise, conv, method)
        signal.grid = (old_grid[0], *noise.grid)
    log_noise = noise.log_scale + log(noise.mean_variance())

    seen = signal.diagonal * share if pointwise else convolve_diagonal(signal.diagonal, old_grid, conv)
    log_bias = log(conv.weights.bias_variance)
    log_level = np.logaddexp(signal.log_scale + log(conv.weights.gain * float(seen.mean())), log_bias)
    factor = math.exp(signal.log_scale - log_level)
    bias = math.exp(log_bias - log_level)
    signal.diagonal = factor * conv.weights.gain * seen + bias
    signal.log_scale = float(log_level)
    before_diagonal = signal.diagonal

    known: dict[str, float | None] = {}
    if pointwise:
        scale = factor * conv.weights.gain * share
        if activation is not None:
            row_sums, known = scaled_and_activated(signal, noise, scale, bias, activation)
        else:
            signal.blocks *= scale
            signal.blocks += bias
            row_sums = signal.row_sums = scale * signal.row_sums + bias * signal.points
    else:
        first, second = pairs(old_grid[0])
        beside: _Beside | None = None
        if activation is not None:
            roots = roots_and_inverses(signal.diagonal, signal.blocks.dtype)
            beside = (activation, *roots, mask_target(signal, noise, activation))
        # Where sizes stay, a tap of a periodic convolution sees every column once: row sums go the diagonal's
        # way.
        alike = conv.padding == "periodic" and conv.keeps_size
        signal.blocks, (before, after) = _convolve_blocks(
            signal.blocks, first, second, old_grid, conv, factor, bias, method, beside,
            tally=not alike and (detail or activation is None),
        )  # fmt: skip
        if alike:
            row_sums = convolve_diagonal(signal.row_sums, old_grid, conv)
            row_sums = factor * conv.weights.gain * row_sums + bias * signal.points
        else:
            row_sums = gather_row_sums(before, old_grid[0]) if before.size else None
        signal.row_sums = row_sums  # type: ignore[assignment]  # None where no station is wanted
        if activation is not None:
            known = settle(signal, noise, after, activation)
        if noise.grid == (1, 1):
            tiled(signal)
    return Marginals(signal.log_scale, before_diagonal, row_sums, log_noise, {}), known


def tiled(signal: Covariance) -> None:
    """Store images of one position in tiles."""
    if signal.points == signal.grid[0]:
        size = tile_size(signal.points)
        regroup(signal, (signal.points // size, size, 1))


def regroup(signal: Covariance, grid: tuple[int, int, int]) -> None:
    """Store blocks of another grid: images of one position stand in tiles, all others by themselves."""
    signal.blocks, signal.grid = cut(signal.unscaled().astype(signal.blocks.dtype), grid[0]), grid
