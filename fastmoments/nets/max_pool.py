"""The largest value of a window."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..validation import whole
from . import geometry
from .layers import Layer
from .linear import MOST_TAPS


@dataclass(frozen=True)
class MaxPool(Layer):
    """The largest value of every window, channel by channel; nothing beyond the border is ever it.

    The noise behind it is that of the position which has the largest value.

    Parameters
    ----------
    size : int
        Side of the square window.
    stride : int, optional
        Step between windows, in positions; `size` if left out.
    pad : int or None
        So many positions stand beyond the border on both sides, and there are
        floor((side + 2 pad - size) / stride) + 1 windows along a side (PyTorch's rule). None: as many as
        ceil(side / stride) windows need, of an odd amount the extra position behind (TensorFlow's "SAME").
        At most half of `size`, so that no window stands beyond the border.

    Raises
    ------
    ValueError
        If a parameter is outside its range.
    """

    size: int = 2
    stride: int | None = None
    pad: int | None = 0

    channelwise = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "size", whole("MaxPool: size", self.size, 1, MOST_TAPS))
        if self.stride is not None:
            object.__setattr__(self, "stride", whole("MaxPool: stride", self.stride, 1, MOST_TAPS))
        if self.pad is not None:
            object.__setattr__(self, "pad", whole("MaxPool: pad", self.pad, 0, MOST_TAPS))
            if 2 * self.pad > self.size:
                raise ValueError(
                    f"MaxPool: pad must be at most half of the size {self.size}, not {self.pad}."
                )

    @property
    def step(self) -> int:
        """Positions between windows."""
        return self.size if self.stride is None else self.stride

    @property
    def pointwise(self) -> bool:
        """Whether every output position sees exactly its own input position."""
        return self.size == 1 and self.step == 1

    def output_grid(self, grid: tuple[int, int]) -> tuple[int, int]:
        """Windows along (height, width) of an image of `grid` positions."""
        height, width = (geometry.output_size(side, self.size, self.step, 1, self.pad) for side in grid)
        return height, width

    def seen(self, side: int) -> np.ndarray:
        """Input position of every place in every window along one side; -1 beyond the border.

        Returns
        -------
        ndarray of int64, shape (windows, size)
        """
        padded = geometry.padded_index(side, self.size, self.step, 1, "zeros", self.pad)
        windows = np.arange((len(padded) - self.size) // self.step + 1)[:, None] * self.step
        return padded[windows + np.arange(self.size)]
