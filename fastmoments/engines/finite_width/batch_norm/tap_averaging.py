"""Tap averaging: sampling errors of a covariance by displacement, and their average over taps.

A convolution averages a covariance over pairs of points that are shifted alike, so that the displacement
between two points of a pair is conserved, and sampling errors of shifted pairs average out as far as they are
independent. With e_ab the relative error of a covariance, stationary within images, its autocovariance

    E(d) = < e_ab e_(a+d, b+d) >    becomes    E'(d) = sum_(t, t') u_t u_t' E(d + t' - t),

u_t the weights of the taps (of sum 1). On a lattice of displacements that is a product in Fourier space:
every mode of the error passes by the factor û, its variance by û^2. An error that N channels make has
E(d) = r(d) r'(d) / N, the product of the correlations of the two points with their shifted selves.
"""

from __future__ import annotations

import numpy as np

from ....nets.linear import Conv


class TapAveraging:
    """The lattice of displacements between the positions of an image.

    Parameters
    ----------
    grid : (height, width)
    wrapped : bool
        Whether opposite sides are neighbours (periodic padding).
    """

    def __init__(self, grid: tuple[int, int], wrapped: bool):
        sides = grid if wrapped else tuple(2 * side - 1 for side in grid)
        self.shape = sides
        row, column = (place.ravel() for place in np.indices(grid))
        rows, columns = (row - row[:, None]) % sides[0], (column - column[:, None]) % sides[1]
        self._index = (rows * sides[1] + columns).ravel()
        #: Number of pairs of positions at each displacement.
        self.counts = np.bincount(self._index, minlength=sides[0] * sides[1]).reshape(sides)

    def correlations(self, covariance: np.ndarray) -> np.ndarray:
        """Correlation by displacement, of a covariance over positions; 1 at [0, 0]."""
        sums = np.bincount(self._index, covariance.ravel(), self.counts.size).reshape(self.shape)
        found = sums / self.counts
        return np.clip(found / max(found[0, 0], 1e-300), -1.0, 1.0)

    def mean(self, by_displacement: np.ndarray) -> float:
        """Mean over pairs of positions."""
        return float(np.sum(self.counts * by_displacement) / self.counts.sum())

    def modes(self, by_displacement: np.ndarray) -> np.ndarray:
        """Fourier transform over displacements, flat; its mean is the value at displacement 0."""
        return np.fft.fft2(by_displacement).real.ravel()

    def response(self, conv: Conv) -> np.ndarray:
        """û: the factor of every mode of an error in a covariance after a convolution."""
        taps = np.zeros(self.shape)
        centre = (conv.kernel_size - 1) // 2
        steps = conv.dilation * (np.arange(conv.kernel_size) - centre)
        places = np.ix_(steps % self.shape[0], steps % self.shape[1])
        np.add.at(taps, places, conv.tap_weights / conv.tap_weights.sum())
        modes = np.fft.fft2(taps).ravel()
        # A profile that is not symmetric also shifts, which no average over positions sees.
        return modes.real if np.abs(modes.imag).max() < 1e-12 else np.abs(modes)

    def shared_taps(self, conv: Conv) -> np.ndarray:
        """Share of the taps that two outputs have in common, by displacement: sum_t u_t u_(t + stride d).

        Correlations squared of a fixed draw of white noise after `conv`, times its channels.
        """
        weights = conv.tap_weights / conv.tap_weights.sum()
        reach = (conv.kernel_size - 1) * conv.dilation
        found = np.zeros(self.shape)
        for down in range(-(reach // conv.stride), reach // conv.stride + 1):
            for across in range(-(reach // conv.stride), reach // conv.stride + 1):
                steps = down * conv.stride, across * conv.stride
                if any(step % conv.dilation for step in steps):
                    continue
                i, j = (step // conv.dilation for step in steps)
                k = conv.kernel_size
                here = weights[max(i, 0) : k + min(i, 0), max(j, 0) : k + min(j, 0)]
                there = weights[max(-i, 0) : k + min(-i, 0), max(-j, 0) : k + min(-j, 0)]
                found[down % self.shape[0], across % self.shape[1]] += float(np.sum(here * there))
        return found
