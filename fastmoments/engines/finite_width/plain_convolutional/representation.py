"""A few images that stand for the batch of a convolutional net, behind its stem."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache, reduce
from typing import TypeVar

import numpy as np

from ....covariances.storage import Covariance, NoiseCovariance
from ....maps.convolution import convolve_diagonal, first_convolution
from ....nets.linear import Conv
from ..shared.noise_draw import level_covariance
from ..shared.representatives import representatives

State = TypeVar("State")
Unit = TypeVar("Unit")
Between = TypeVar("Between")


def shares_of_pairs(images: int, batch: int) -> np.ndarray:
    """Shares of pairs of images in a mean over the pairs of a batch they stand for, of mean 1; (n, n)."""
    same, other = images / batch, (1.0 - 1.0 / batch) * images / (images - 1)
    return np.where(np.eye(images, dtype=bool), same, other)


@dataclass(frozen=True)
class Representation:
    """Signal and noise behind the stem, on a few images.

    Attributes
    ----------
    signal, noise : Covariance, NoiseCovariance
    of_images : shape (images, images)
        `shares_of_pairs`.
    chance : float
        Mean square of the correlation of the noises of two points, which one draw has by chance: 1 over the
        inputs of a channel of the stem.
    draw : shape (M, M)
        Covariance of the noise's variances at the points, as every net has a draw of the noise of its own.
    """

    signal: Covariance
    noise: NoiseCovariance
    of_images: np.ndarray
    chance: float
    draw: np.ndarray

    @classmethod
    def of(cls, stem: Conv, images: np.ndarray, most_points: int) -> Representation:
        """At most so many points, but two images at least."""
        positions = math.prod(stem.output_size(side) for side in images.shape[1:3])
        count = max(2, min(len(images), most_points // positions))
        noise = NoiseCovariance.white(count, *images.shape[1:3])
        signal = first_convolution(representatives(images, count), noise, stem)
        chance = 1.0 / (images.shape[-1] * stem.kernel_size**2)
        drawn = np.kron(np.eye(count), level_covariance(images.shape, stem))
        return cls(signal, noise, shares_of_pairs(count, len(images)), chance, drawn)

    @property
    def grid(self) -> tuple[int, int, int]:
        """(images, height, width)."""
        return self.signal.grid

    @property
    def points(self) -> int:
        """M."""
        return self.signal.points

    def relative_variance(self, covariance: np.ndarray, level: np.ndarray) -> float:
        """Of the mean over the points of the batch, from the covariance of points of these levels."""
        return self._over_pairs(covariance) / self._over_pairs(np.outer(level, level))

    def _over_pairs(self, matrix: np.ndarray) -> float:
        images = len(self.of_images)
        return float(
            np.sum(self.of_images * matrix.reshape(images, -1, images, self.points // images).sum((1, 3)))
        )

    def noise_overlap(self, chance: float) -> np.ndarray:
        """Mean square of the correlation of the noises of two points, shape (M, M): their own, and chance."""
        return chance + (1.0 - chance) * np.eye(self.points)

    def averaged(self, matrix: np.ndarray, convs: Sequence[Conv]) -> np.ndarray:
        """Means over the taps of convolutions along the first axis."""
        average = reduce(np.matmul, [self.average(conv) for conv in reversed(convs)])
        parts = np.ascontiguousarray(matrix).reshape(len(self.of_images), len(average), -1)
        return (average @ parts).reshape(matrix.shape)

    def averaged_back(self, weights: np.ndarray, conv: Conv) -> np.ndarray:
        """Weights of points behind a convolution, those before it; shape (M,)."""
        return np.ravel(weights.reshape(len(self.of_images), -1) @ self.average(conv))

    def average(self, conv: Conv) -> np.ndarray:
        """Means over taps of one image: what of point b is seen at point a; shape (positions, positions)."""
        return _average(conv, *self.grid[1:])


@lru_cache(maxsize=8)
def _average(conv: Conv, height: int, width: int) -> np.ndarray:
    points = np.eye(height * width)
    seen = convolve_diagonal(points.ravel(), (len(points), height, width), conv).reshape(points.shape)
    return np.ascontiguousarray(seen.T)


def walked_backwards(
    start: State, units: Sequence[Unit], through: Callable[[Unit, State], tuple[Between, State]]
) -> Iterator[tuple[int, State, Between | None]]:
    """Yield (number, state before the unit, what lies between), the last first, followed forward twice.

    The state behind the last comes first, with None between. Memory grows as the root of the depth.
    """
    step = max(1, math.isqrt(len(units)))
    marks, state = [], start
    for number, unit in enumerate(units):
        if number % step == 0:
            marks.append((number, state))
        state = through(unit, state)[1]
    yield len(units), state, None
    for first, state in reversed(marks):
        stretch = []
        for unit in units[first : first + step]:
            between, after = through(unit, state)
            stretch.append((state, between))
            state = after
        for number in range(first + len(stretch) - 1, first - 1, -1):
            yield number, *stretch.pop()
