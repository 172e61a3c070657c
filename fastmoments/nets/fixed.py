"""Linear layers without weights, the same for every channel: averages over positions, flattening, factors."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ..validation import finite
from .layers import Layer
from .linear import Conv
from .windows import Windowed


class Fixed(Layer, abstract=True):
    """A linear layer that has no weights and does the same to every channel."""


class Averaging(Fixed, abstract=True):
    """Weighted means over positions: a product of one along the height and one along the width."""

    @property
    def pointwise(self) -> bool:
        """It mixes positions."""
        return False

    def averages(self, size: int) -> np.ndarray:
        """Weights of the `size` positions along one side in each of those behind it, shape (behind, size)."""
        raise NotImplementedError

    def white_share(self, grid: tuple[int, int]) -> float:
        """Share of the variance of white noise that is left behind it, of `grid` positions before it."""
        return float(np.prod([np.mean(np.sum(self.averages(size) ** 2, axis=1)) for size in grid]))

    def output_grid(self, grid: tuple[int, int]) -> tuple[int, int]:
        """Positions (height, width) behind it, of `grid` before it."""
        return len(self.averages(grid[0])), len(self.averages(grid[1]))


@dataclass(frozen=True)
class AvgPool(Windowed, Averaging):
    """Means over windows of positions; parameters as of `Windowed`.

    With a `pad`, zeros stand beyond the border and count: a window's sum is always divided by size²
    (PyTorch's ``AvgPool2d`` with ``count_include_pad=True``, ``ceil_mode=False``, as by default). With None
    it is divided by the number of positions that are there.
    """

    @cached_property
    def window(self) -> Conv:
        """A convolution whose taps are the positions of a window."""
        return Conv(self.size, stride=self.step, padding="zeros", pad=self.pad)

    def averages(self, size: int) -> np.ndarray:
        """Weights of the `size` positions along one side in each of those behind it, shape (behind, size).

        Raises
        ------
        ValueError
            If the window is larger than the padded side.
        """
        if self.pad is not None and self.size > size + 2 * self.pad:
            raise ValueError(
                f"An AvgPool of size {self.size} does not fit on a side of {size} with pad={self.pad}; use a "
                "smaller one, or larger images."
            )
        taps = self.window.taps(size)
        inside = taps >= 0
        weights = np.zeros((len(taps), size))
        rows = np.repeat(np.arange(len(taps)), self.size).reshape(taps.shape)
        np.add.at(weights, (rows[inside], taps[inside]), 1.0)
        return weights / (self.size if self.pad is not None else inside.sum(1, keepdims=True))


@dataclass(frozen=True)
class GlobalAvgPool(Averaging):
    """The mean over all positions of an image."""

    def averages(self, size: int) -> np.ndarray:
        """Weights of the `size` positions along one side, shape (1, size)."""
        return np.full((1, size), 1.0 / size)


@dataclass(frozen=True)
class Flatten(Fixed):
    """All positions of all channels as the channels of one position."""

    @property
    def pointwise(self) -> bool:
        """It mixes positions."""
        return False

    def output_grid(self, grid: tuple[int, int]) -> tuple[int, int]:
        """One position."""
        return 1, 1

    def output_channels(self, channels: int, grid: tuple[int, int], width: int) -> int:
        """All channels of all positions."""
        return channels * grid[0] * grid[1]


@dataclass(frozen=True)
class Scale(Fixed):
    """Multiplication by a number.

    Parameters
    ----------
    factor : float
        Not 0.

    Raises
    ------
    ValueError
        If it is 0 or not finite.
    """

    factor: float = 1.0

    def __post_init__(self) -> None:
        if finite("Scale: factor", self.factor, positive=None) == 0.0:
            raise ValueError("Scale: factor must not be 0; a branch is shut off by Residual(scale=0).")


@dataclass(frozen=True)
class Dropout(Fixed):
    """Dropout as it is in evaluation: the identity. Here so that a net can be written as it is published.

    Parameters
    ----------
    p : float
        Probability that a value is dropped in training, from 0 to 1; without effect.

    Raises
    ------
    ValueError
        If it is outside that range.
    """

    p: float = 0.5

    def __post_init__(self) -> None:
        if finite("Dropout: p", self.p, positive=False) > 1.0:
            raise ValueError(f"Dropout: p must be a probability, from 0 to 1, not {self.p!r}.")
