"""The full covariance between all units, channels at positions: any padding, pooling and head."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ...nets.fixed import Averaging
from ...nets.linear import Conv
from .field import Field, Stream


class Dense(Field):
    """Units in the order (height, width, channel); one displacement, which stands for none."""

    storage = "dense"

    @property
    def mirror(self) -> np.ndarray:
        """It is its own."""
        return np.zeros(1, np.int64)

    def turned(self, block: np.ndarray) -> np.ndarray:
        """The transpose, a view."""
        return block.swapaxes(1, 2)

    def per_unit(self, channels: np.ndarray) -> np.ndarray:
        """The same at all positions."""
        return np.tile(channels, self.here.grid[0] * self.here.grid[1])

    def per_channel(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean and variance over inputs and positions, whose means may differ."""
        mean = self.here.mean.reshape(-1, self.here.channels)
        variance = np.diagonal(self.own[0][0]).reshape(mean.shape)
        return mean.mean(0), variance.mean(0) + mean.var(0)

    def of_channels(self) -> tuple[np.ndarray, np.ndarray]:
        """Means over positions, and what the means at positions differ."""
        mean, channels = self.here.mean.reshape(-1, self.here.channels), self.here.channels
        signal, noise = (
            np.einsum("pcpd->cd", block[0].reshape(len(mean), channels, len(mean), channels)) / len(mean)
            for block in self.own
        )
        away = mean - mean.mean(0)
        return signal + away.T @ away / len(mean), noise

    def convolve(self, conv: Conv, weight: np.ndarray, bias: np.ndarray | None) -> None:
        """At every position behind the weights of the taps that are there."""
        (height, width), channels = self.here.grid, self.here.channels
        down, across = conv.taps(height), conv.taps(width)
        behind, taps = (len(down), len(across)), weight.transpose(0, 2, 3, 1)

        def rows(block: np.ndarray) -> np.ndarray:
            positions = block[0].reshape(height * width, channels, -1)
            found = np.empty((*behind, len(weight), positions.shape[2]))
            for p, lines in enumerate(down):
                for q, columns in enumerate(across):
                    there = (lines[:, None] >= 0) & (columns >= 0)
                    seen = positions[(lines[:, None] * width + columns)[there]]
                    matrix = taps[:, there].reshape(len(weight), -1)
                    np.matmul(matrix, seen.reshape(matrix.shape[1], -1), out=found[p, q])
            return found.reshape(1, -1, positions.shape[2])

        mean = rows(self.here.mean[None, :, None])[0, :, 0]
        if bias is not None:
            mean = mean + np.tile(bias, behind[0] * behind[1])
        self._linear(rows, Stream(mean, behind, len(weight)))

    def average(self, layer: Averaging) -> None:
        """Along the height and along the width."""
        (height, width), channels = self.here.grid, self.here.channels
        down, across = layer.averages(height), layer.averages(width)

        def rows(block: np.ndarray) -> np.ndarray:
            image = block[0].reshape(height, width, channels, -1)
            found = np.einsum("ph,qw,hwcv->pqcv", down, across, image, optimize=True)
            return found.reshape(1, -1, image.shape[3])

        mean = rows(self.here.mean[None, :, None])[0, :, 0]
        self._linear(rows, replace(self.here, mean=mean, grid=(len(down), len(across))))

    def flatten(self) -> None:
        """The order of the units stays."""
        self.streams[self.at] = replace(self.here, grid=(1, 1), channels=len(self.here.mean))
