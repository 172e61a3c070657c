"""Where the taps of a convolution are: padding, strides, output sizes along one side of an image.

How much padding there is follows one of two rules. Without `pad` it is what ceil(size / stride) outputs
need, and of an odd amount the extra position stands at the end (TensorFlow's "SAME"). With it, `pad`
positions stand on both sides, and there are as many outputs as the kernel has places (PyTorch's).
"""

from __future__ import annotations

import numpy as np

PADDINGS = ("periodic", "zeros", "symmetric")


def _reach(kernel_size: int, dilation: int) -> int:
    """Positions from the first tap of a kernel to its last, both counted."""
    return (kernel_size - 1) * dilation + 1


def output_size(size: int, kernel_size: int, stride: int, dilation: int, pad: int | None = None) -> int:
    """Positions behind a convolution of `size` before it.

    ceil(size / stride), or floor((size + 2 pad - dilation (kernel_size - 1) - 1) / stride) + 1 with `pad`.

    Raises
    ------
    ValueError
        If the kernel is larger than the padded side.
    """
    if pad is None:
        return -(-size // stride)
    room, reach = size + 2 * pad, _reach(kernel_size, dilation)
    if reach > room:
        raise ValueError(
            f"A Conv or MaxPool of size {kernel_size} and dilation {dilation} spans {reach} positions, and a "
            f"side of {size} has {room} with pad={pad}; use a larger pad, a smaller kernel, or larger images."
        )
    return (room - reach) // stride + 1


def pad_before(size: int, kernel_size: int, stride: int, dilation: int, pad: int | None = None) -> int:
    """Positions of padding in front of the first of `size`."""
    if pad is not None:
        return pad
    length = (output_size(size, kernel_size, stride, dilation) - 1) * stride + _reach(kernel_size, dilation)
    return max(length - size, 0) // 2


def padded_index(
    size: int, kernel_size: int, stride: int, dilation: int, padding: str, pad: int | None = None
) -> np.ndarray:
    """Input position at each position of the padded side; -1 where zero padding stands.

    Output ``o`` and tap ``t`` meet at padded position ``o * stride + t * dilation``; what no tap sees at the
    end is left out.

    Returns
    -------
    ndarray of int64, shape ((output_size - 1) * stride + (kernel_size - 1) * dilation + 1,)
    """
    outputs = output_size(size, kernel_size, stride, dilation, pad)
    length = (outputs - 1) * stride + _reach(kernel_size, dilation)
    position = np.arange(length, dtype=np.int64) - pad_before(size, kernel_size, stride, dilation, pad)
    if padding == "periodic":
        return position % size
    if padding == "symmetric":
        folded = position % (2 * size)
        return np.minimum(folded, 2 * size - 1 - folded)
    return np.where((position >= 0) & (position < size), position, -1)
