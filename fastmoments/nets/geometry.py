"""Where the taps of a convolution are: padding, strides, output sizes along one side of an image."""

from __future__ import annotations

import numpy as np

PADDINGS = ("periodic", "zeros", "symmetric")


def output_size(size: int, stride: int) -> int:
    """Positions behind a convolution of `size` before it, ceil(size / stride)."""
    return -(-size // stride)


def padded_index(size: int, kernel_size: int, stride: int, dilation: int, padding: str) -> np.ndarray:
    """Input position at each position of the padded side; -1 where zero padding stands.

    Output ``o`` and tap ``t`` meet at padded position ``o * stride + t * dilation``. Of an odd amount of
    padding the extra position stands at the end.

    Returns
    -------
    ndarray of int64, shape ((output_size - 1) * stride + (kernel_size - 1) * dilation + 1,)
    """
    reach = (kernel_size - 1) * dilation + 1
    length = (output_size(size, stride) - 1) * stride + reach
    before = max(length - size, 0) // 2
    position = np.arange(length, dtype=np.int64) - before
    if padding == "periodic":
        return position % size
    if padding == "symmetric":
        folded = position % (2 * size)
        return np.minimum(folded, 2 * size - 1 - folded)
    return np.where((position >= 0) & (position < size), position, -1)
