"""The largest value of a window."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from . import geometry
from .windows import Windowed


@dataclass(frozen=True)
class MaxPool(Windowed):
    """The largest value of every window; nothing beyond the border is ever it. Parameters as of `Windowed`.

    The noise behind it is that of the position which has the largest value.
    """

    channelwise = True

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
