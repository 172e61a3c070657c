"""What all pooling over windows of positions has in common."""

from __future__ import annotations

from dataclasses import dataclass

from ..validation import whole
from .layers import Layer
from .linear import MOST_TAPS


@dataclass(frozen=True)
class Windowed(Layer, abstract=True):
    """One value of every window of positions, channel by channel.

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

    def __post_init__(self) -> None:
        name = type(self).__name__
        object.__setattr__(self, "size", whole(f"{name}: size", self.size, 1, MOST_TAPS))
        if self.stride is not None:
            object.__setattr__(self, "stride", whole(f"{name}: stride", self.stride, 1, MOST_TAPS))
        if self.pad is not None:
            said = f", at most half of the size {self.size}"
            object.__setattr__(self, "pad", whole(f"{name}: pad", self.pad, 0, self.size // 2, said))

    @property
    def step(self) -> int:
        """Positions between windows."""
        return self.size if self.stride is None else self.stride

    @property
    def overlaps(self) -> bool:
        """Whether windows share positions."""
        return self.size > self.step

    @property
    def pointwise(self) -> bool:
        """Whether every window is its own input position."""
        return self.size == 1 and self.step == 1
