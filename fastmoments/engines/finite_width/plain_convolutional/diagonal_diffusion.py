"""Diffusion of the second moments at the points of a residual net: of the signal, and of the noise.

A second moment K_pp of the channels of a shortcut is moved by the sampling noise n_p of the first ReLU of a
branch, by that of its later layers, and by the means that convolutions take, A of one of them:

    d' = ((1 - w) + w A^L) d + w A^L n + fresh.

The channels persist, x' = sqrt(1 - w) x + fresh, so that order k of the Hermite expansion of n is that of
the next unit but for a factor (1 - w)^(k / 2). So the covariance of d with n is followed order by order:

    Cov(d', n'_k) = (1 - w)^(k / 2) Cov(d', n_k).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

#: Shares of a covariance of sampling noise by Hermite order, shape (M, M) each, relative to the levels.
Orders = dict[float, np.ndarray]
#: Mean over the taps of convolutions of a field over points, along the first axis of (M, M).
Average = Callable[[np.ndarray], np.ndarray]


def both_sides(average: Average, matrix: np.ndarray) -> np.ndarray:
    """A X A' of a symmetric matrix."""
    return average(average(matrix).T)


@dataclass(frozen=True)
class DiagonalDiffusion:
    """State before a unit.

    Attributes
    ----------
    level : shape (M,)
        The second moments at infinite width, in units of the growth.
    variance : shape (M, M)
        Covariance of the second moments of two points.
    crosses : dict of float to ndarray, shape (M, M)
        By Hermite order k: covariance of that of one point (rows) with n_k of another, over its level.
    """

    level: np.ndarray
    variance: np.ndarray
    crosses: Orders

    @classmethod
    def start(cls, level: np.ndarray, variance: np.ndarray) -> DiagonalDiffusion:
        """Behind the stem."""
        return cls(level, variance, {})

    def rectified(self, source: Orders) -> np.ndarray:
        """Covariance after the first ReLU of the branch, a factor 2 taken out; shape (M, M)."""
        crossed = sum(self.crosses.values(), np.zeros_like(self.variance)) * self.level
        sampled = sum(source.values()) * np.outer(self.level, self.level)
        return self.variance + crossed + crossed.T + sampled

    def merged(
        self, share: float, source: Orders, fresh: np.ndarray | float, average: Average, level: np.ndarray,
        faded: np.ndarray,
    ) -> DiagonalDiffusion:  # fmt: skip
        """After a unit.

        Parameters
        ----------
        share : float
            w.
        source : dict
            Of the first ReLU.
        fresh : shape (M, M)
            Sampling noise of the later layers, where the branch ends.
        average : callable
            A^L.
        level : shape (M,)
            After the unit.
        faded : shape (M,)
            Squared correlation of a channel after the unit with the same before it.
        """

        def kept(matrix: np.ndarray) -> np.ndarray:
            return (1.0 - share) * matrix + share * average(matrix)

        sampled = {order: part * self.level[:, None] for order, part in source.items()}
        crosses = {order: share * average(part) for order, part in sampled.items()}
        for order, cross in self.crosses.items():
            crosses[order] = crosses[order] + kept(cross)
        carried = sum(self.crosses.values(), np.zeros_like(self.variance)) * self.level
        crossed = share * average(kept(carried).T)
        own = both_sides(average, sum(sampled.values()) * self.level)
        variance = both_sides(kept, self.variance) + crossed + crossed.T + share**2 * (own + fresh)
        later = {order: cross * faded ** (0.5 * order) for order, cross in crosses.items()}
        return DiagonalDiffusion(level, variance, later)
