"""Covariances of a field that is the same everywhere, on an image without borders, by displacement.

A convolution is a product for every spatial frequency f: S'(f) = W(f) S(f) W(f)^H.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from ...nets.fixed import Averaging
from ...nets.linear import Conv
from .field import Field


class Stationary(Field):
    """Units are channels; displacement d, ordered (height, width), stands for Cov(x_c(p + d), x_c'(p))."""

    storage = "stationary"

    @property
    def mirror(self) -> np.ndarray:
        """The displacement in the opposite direction."""
        height, width = self.here.grid
        down, across = -np.arange(height) % height, -np.arange(width) % width
        return (down[:, None] * width + across).ravel()

    def turned(self, block: np.ndarray) -> np.ndarray:
        """Rows and columns exchanged, and the displacement turned round."""
        return np.ascontiguousarray(block[self.mirror].swapaxes(1, 2))

    def per_unit(self, channels: np.ndarray) -> np.ndarray:
        """Channels are units."""
        return channels

    def per_channel(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean and variance, the same everywhere."""
        return self.here.mean, np.diagonal(self.own[0][0])

    def of_channels(self) -> tuple[np.ndarray, np.ndarray]:
        """Without displacement."""
        signal, noise = self.own
        return signal[0], noise[0]

    def convolve(self, conv: Conv, weight: np.ndarray, bias: np.ndarray | None) -> None:
        """By the fast Fourier transform."""
        (height, width), kernel = self.here.grid, np.zeros((*self.here.grid, *weight.shape[:2]))
        down, across = cyclic_taps(conv.taps(height), height), cyclic_taps(conv.taps(width), width)
        if down is None or across is None:
            raise ValueError(
                f"Conv on {height} x {width} positions is not the same at all of them, as stationary storage "
                'needs: it takes padding="periodic" and strides that divide the sides; use storage="dense".'
            )
        for a, line in enumerate(down):
            for b, column in enumerate(across):
                kernel[line, column] += weight[:, :, a, b]
        self._apply(kernel, conv.output_grid(self.here.grid))
        gaussian = replace(self.here, gaussian=True)
        self.streams[self.at] = gaussian if bias is None else replace(gaussian, mean=gaussian.mean + bias)

    def average(self, layer: Averaging) -> None:
        """Of windows that do not overlap and need no padding, or of all positions."""
        (height, width), channels = self.here.grid, self.here.channels
        down, across = cyclic_weights(layer.averages(height)), cyclic_weights(layer.averages(width))
        if down is None or across is None:
            raise ValueError(
                f"{type(layer).__name__} on {height} x {width} positions is not the same at all of them, as "
                'stationary storage needs: its windows must divide the sides; use storage="dense".'
            )
        kernel = np.multiply.outer(np.multiply.outer(down, across), np.eye(channels))
        self._apply(kernel, layer.output_grid(self.here.grid))

    def flatten(self) -> None:
        """Of one position only."""
        if self.here.grid != (1, 1):
            raise ValueError(
                'Flatten ends what is the same everywhere; use storage="dense", or a global mean.'
            )

    def _apply(self, kernel: np.ndarray, behind: tuple[int, int]) -> None:
        """Sum what positions see through a kernel, shape (height, width, channels behind, before)."""
        height, width = self.here.grid
        strides = height // behind[0], width // behind[1]
        if strides != (1, 1) and len(self.streams) > 1:
            raise ValueError(
                "A stride inside a residual unit leaves shortcut and branch without a common grid, which "
                'stationary storage needs; use storage="dense".'
            )
        weights = np.fft.rfft2(kernel, axes=(0, 1)).conj()

        def rows(block: np.ndarray) -> np.ndarray:
            spectrum = np.fft.rfft2(block.reshape(height, width, *block.shape[1:]), axes=(0, 1))
            found = np.fft.irfft2(weights @ spectrum, s=(height, width), axes=(0, 1))
            return found.reshape(height * width, *found.shape[2:])

        mean = kernel.sum(axis=(0, 1)) @ self.here.mean
        self._linear(rows, replace(self.here, mean=mean, channels=len(mean)))
        if strides != (1, 1):
            kept = np.arange(height * width).reshape(height, width)[:: strides[0], :: strides[1]].ravel()
            self.blocks[self.at, self.at] = [np.ascontiguousarray(block[kept]) for block in self.own]
            self.streams[self.at] = replace(self.here, grid=behind)


def cyclic_taps(taps: np.ndarray, size: int) -> np.ndarray | None:
    """What the first output sees along one side, if all others see it shifted; else None.

    Parameters
    ----------
    taps : ndarray of int, shape (outputs, kernel)
    size : int
        Positions on a circle.
    """
    stride, rest = divmod(size, len(taps))
    if rest or taps.min() < 0:
        return None
    shifted = (taps[0] + stride * np.arange(len(taps))[:, None]) % size
    return taps[0] if np.array_equal(shifted, taps) else None


def cyclic_weights(weights: np.ndarray) -> np.ndarray | None:
    """Weights of the first output along one side, if those of all others are shifted; else None."""
    outputs, size = weights.shape
    stride, rest = divmod(size, outputs)
    if rest:
        return None
    same = all(np.array_equal(np.roll(weights[0], stride * k), row) for k, row in enumerate(weights))
    return weights[0] if same else None


def stationary_part(covariance: np.ndarray) -> np.ndarray:
    """Mean over positions of a covariance (h, w, c, h, w, c): (h w, c, c) by displacement."""
    height, width, channels = covariance.shape[:3]
    found = np.zeros((height * width, channels, channels))
    for row in range(height):
        for column in range(width):
            at = covariance[:, :, :, row, column]
            found += np.roll(at, (-row, -column), axis=(0, 1)).reshape(found.shape)
    return found / math.prod((height, width))
