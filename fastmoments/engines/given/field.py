"""Mean and covariance of a signal over random inputs, and those of noise, on their way through a given net.

Where a net parts, both ways go on together: their cross-covariances are what a merge needs.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from ...maps.bent import bend
from ...nets.activations import Nonlinearity
from ...nets.fixed import Averaging
from ...nets.linear import Conv

#: Maps the first axis behind that of displacements, from units before a layer to units behind it.
Rows = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Stream:
    """One of the ways on which signal and noise are.

    Attributes
    ----------
    mean : ndarray, shape (units,)
        Of the signal; that of the noise is 0.
    grid : (height, width)
    channels : int
    gaussian : bool
        Whether fresh sums have made it nearly Gaussian, other than behind an activation.
    """

    mean: np.ndarray
    grid: tuple[int, int]
    channels: int
    gaussian: bool = True


class Field(ABC):
    """All streams, and the covariances between them, of signal and noise.

    Attributes
    ----------
    streams : list of Stream
    at : int
        Which of them layers act on.
    blocks : dict of (int, int) to list of two ndarray of shape (displacements, units, units)
        Covariances of signal and noise between streams i <= j: rows are units of i, columns of j.
    """

    storage: str

    def __init__(self, stream: Stream, signal: np.ndarray, noise: np.ndarray) -> None:
        self.streams, self.at = [stream], 0
        self.blocks = {(0, 0): [signal, noise]}

    @property
    def here(self) -> Stream:
        """The stream that layers act on."""
        return self.streams[self.at]

    @property
    def own(self) -> list[np.ndarray]:
        """Covariances of signal and noise of this stream."""
        return self.blocks[self.at, self.at]

    @abstractmethod
    def turned(self, block: np.ndarray) -> np.ndarray:
        """The block with rows and columns exchanged."""

    @abstractmethod
    def per_unit(self, channels: np.ndarray) -> np.ndarray:
        """Numbers of channels as numbers of units."""

    @abstractmethod
    def per_channel(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean and variance of every channel over inputs and positions."""

    @abstractmethod
    def of_channels(self) -> tuple[np.ndarray, np.ndarray]:
        """Covariances of the channels of signal and noise over inputs and positions."""

    @abstractmethod
    def convolve(self, conv: Conv, weight: np.ndarray, bias: np.ndarray | None) -> None:
        """Apply weights of shape (channels behind, channels before, kernel, kernel)."""

    @abstractmethod
    def average(self, layer: Averaging) -> None:
        """Apply means over positions."""

    @abstractmethod
    def flatten(self) -> None:
        """Make channels of all positions."""

    @property
    @abstractmethod
    def mirror(self) -> np.ndarray:
        """Of which displacement the covariance of a stream with itself is the transpose."""

    def _sides(self) -> Iterator[tuple[tuple[int, int], bool, bool]]:
        """The blocks of this stream, and whether it stands at their rows and at their columns."""
        for i, j in list(self.blocks):
            if self.at in (i, j):
                yield (i, j), i == self.at, j == self.at

    def _linear(self, rows: Rows, stream: Stream) -> None:
        """Apply a linear map to this stream, wherever it stands."""
        for key, first, second in self._sides():
            pair = self.blocks[key]
            for part, block in enumerate(pair):
                behind = rows(block) if first else block
                pair[part] = self.turned(rows(self.turned(behind))) if second else behind
        self.streams[self.at] = stream

    def scale(self, factor: np.ndarray, shift: np.ndarray | None = None) -> None:
        """Multiply channels by factors and add shifts."""
        units = self.per_unit(factor)
        self._scale_units(units)
        mean = self.here.mean * units
        mean = mean if shift is None else mean + self.per_unit(shift)
        self.streams[self.at] = replace(self.here, mean=mean)

    def _scale_units(self, factor: np.ndarray, itself: bool = True) -> None:
        """Multiply units; without the covariance of the stream with itself if not asked."""
        for key, first, second in self._sides():
            if first and second and not itself:
                continue
            for block in self.blocks[key]:
                if first:
                    block *= factor[:, None]
                if second:
                    block *= factor

    def activate(self, activation: Nonlinearity) -> None:
        """Apply an activation: exact where the signal is Gaussian."""
        signal, noise = map(np.ascontiguousarray, self.own)
        mean, slope = bend(activation, self.here.mean, signal, noise, self.mirror)
        self.blocks[self.at, self.at] = [signal, noise]
        self._scale_units(slope, itself=False)
        self.streams[self.at] = replace(self.here, mean=mean, gaussian=False)

    def split(self) -> int:
        """Go on with a copy of this stream; which one it was."""
        before, new = self.at, len(self.streams)
        for other in range(new):
            self.blocks[other, new] = [block.copy() for block in self._between(other, before)]
        self.blocks[new, new] = [block.copy() for block in self.own]
        self.streams.append(self.here)
        self.at = new
        return before

    def merge(self, skip: int, factor: float) -> None:
        """Add the last stream, times a factor, to another, and go on with that.

        Raises
        ------
        ValueError
            If their shapes differ.
        """
        last = len(self.streams) - 1
        branch, kept = self.streams[last], self.streams[skip]
        if (branch.grid, branch.channels) != (kept.grid, kept.channels):
            raise ValueError(
                f"Residual: the branch ends in (height, width, channels) {(*branch.grid, branch.channels)}, "
                f"the shortcut in {(*kept.grid, kept.channels)}; put a Conv with the same strides into the "
                "shortcut or the stem."
            )
        for other in range(last):
            if other != skip:
                first, second = sorted((other, skip))
                for part, added in enumerate(self._between(other, last)):
                    turned = added if first == other else self.turned(added)
                    self.blocks[first, second][part] = self.blocks[first, second][part] + factor * turned
        across = self.blocks[skip, last]
        for target, cross, added in zip(
            self.blocks[skip, skip], across, self.blocks[last, last], strict=True
        ):
            target += factor * cross + factor * self.turned(cross) + factor * factor * added
        mean = kept.mean + factor * branch.mean
        self.streams[skip] = replace(kept, mean=mean, gaussian=kept.gaussian and branch.gaussian)
        del self.streams[last]
        self.blocks = {key: pair for key, pair in self.blocks.items() if last not in key}
        self.at = skip

    def _between(self, i: int, j: int) -> list[np.ndarray]:
        """The blocks between two streams, rows being units of i; views where storage allows."""
        if i <= j:
            return self.blocks[i, j]
        return [self.turned(block) for block in self.blocks[j, i]]
