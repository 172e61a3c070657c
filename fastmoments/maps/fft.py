"""Convolution of covariance blocks in Fourier space, for kernels too large for the direct sum.

Taking both points of a pair along the same tap conserves their displacement. For a fixed
displacement the map is a circular correlation over the first point on the padded grid, so it is
diagonal in the two-dimensional Fourier transform over that point, with the kernel's transfer
function as its eigenvalues.
"""

from __future__ import annotations

import numpy as np
import scipy.fft

from ..nets.linear import Conv

# Time on one thread in ns, as `python -m bench.convolution` fits it. The direct sum costs a constant and a
# part for each tap along both sides, per element of a block; the FFT a constant per element of the padded
# grid and another per block. So it pays from about 50 taps a side, without padding.
DIRECT_BASE, DIRECT_PER_TAP, FFT_PER_ELEMENT, FFT_PER_BLOCK = 2.8, 0.30, 33.0, 62e3


def _torus(conv: Conv, height: int, width: int) -> tuple[np.ndarray, np.ndarray, int, int]:
    """Source position of each position of the padded grid along both axes, and the first tap's offset."""
    if conv.padding == "periodic":
        return np.arange(height), np.arange(width), conv.pad_before(height), conv.pad_before(width)
    return conv.padded_index(height), conv.padded_index(width), 0, 0


def chosen(method: str, conv: Conv, height: int, width: int) -> bool:
    """Whether to go through Fourier space: as told, or by the measured costs for "auto"."""
    if method != "auto":
        return method == "fft"
    rows, columns, _, _ = _torus(conv, height, width)
    growth = (rows.size * columns.size / (height * width)) ** 2
    transformed = FFT_PER_ELEMENT * growth + FFT_PER_BLOCK / (height * width) ** 2
    return transformed < DIRECT_BASE + DIRECT_PER_TAP * 2 * conv.kernel_size * len(conv.tap_factors[0])


def convolve(source: np.ndarray, target: np.ndarray, conv: Conv, height: int, width: int) -> None:
    """Sum over taps of each block, without gain and bias, into `target`, which may be `source`.

    Parameters
    ----------
    source : float64, shape (blocks, height width, height width)
    target : float64, shape (blocks, new size, new size)
    """
    rows, columns, before_h, before_w = _torus(conv, height, width)
    shape = (rows.size, columns.size)
    inside = ((rows >= 0)[:, None] & (columns >= 0)).ravel()
    origin = np.where(inside, (rows[:, None] * width + columns).ravel(), 0)  # any, where there is none
    h, w = (index.ravel() for index in np.indices(shape))
    # partner[displacement, a]: the padded position at that displacement from a.
    partner = (h[:, None] + h) % shape[0] * shape[1] + (w[:, None] + w) % shape[1]
    flat = origin[None, :] * (height * width) + origin[partner]
    known = inside[None, :] & inside[partner]

    profile = np.zeros(shape)
    steps = np.arange(conv.kernel_size) * conv.dilation
    at = np.ix_((steps - before_h) % shape[0], (steps - before_w) % shape[1])
    np.add.at(profile, at, conv.tap_weights)
    transfer = np.conj(scipy.fft.rfft2(profile))

    out_h = np.arange(conv.output_size(height)) * conv.stride % shape[0]  # with much `pad` it goes around
    out_w = np.arange(conv.output_size(width)) * conv.stride % shape[1]
    out = (out_h[:, None] * shape[1] + out_w).ravel()
    down, across = out // shape[1], out % shape[1]
    displacement = (down - down[:, None]) % shape[0] * shape[1] + (across - across[:, None]) % shape[1]
    for block, result in zip(source, target, strict=True):
        sheared = np.where(known, block.ravel()[flat], 0.0).reshape(-1, *shape)
        summed = scipy.fft.irfft2(scipy.fft.rfft2(sheared) * transfer, s=shape)
        result[...] = summed.reshape(-1, shape[0] * shape[1])[displacement, out[:, None]]
