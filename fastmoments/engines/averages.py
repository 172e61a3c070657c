"""What means over positions leave of noise that is correlated between them, more than of white noise."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ..nets.fixed import Averaging
from ..nets.layers import Layer, passed_by_all


class Averages:
    """Logarithms of that, by stretches of the net: one ends behind a layer whose windows overlap.

    Such a layer correlates noise that was white before it, so that what later means leave is not the white
    noise's share for who looks from before it, but is for who looks from behind it.

    Parameters
    ----------
    so_far : sequence of float
        One number a stretch, as `Station.averaged`.
    """

    def __init__(self, so_far: Sequence[float] = (0.0,)) -> None:
        self.so_far = tuple(so_far)

    def passed(self, path: str, layer: Layer, grid: tuple[int, int], log_left: float) -> None:
        """Take note of a layer that left exp(log_left) of the noise, of `grid` positions before it.

        Those that only a part of the signal passes do not count.
        """
        if not passed_by_all(path):
            return
        *before, here = self.so_far
        if isinstance(layer, Averaging):
            here += log_left - math.log(layer.white_share(grid))
        self.so_far = (*before, here, 0.0) if layer.overlaps else (*before, here)
