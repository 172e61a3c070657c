"""A batch of images as engines take it: normalised if asked, flattened for a fully connected net."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from .sources import Images, normalise

#: Bounds of the largest value of images that are taken as they are: every engine computes within them.
LEAST, MOST = 1e-20, 1e20


@dataclass(frozen=True, eq=False)
class Batch:
    """Images, and how they are prepared for a net.

    Attributes
    ----------
    array : ndarray of float64, shape (n, h, w, c)
        As in their source.
    normalised : bool
        Whether every batch of them is brought to mean 0 and variance 1 (`sources.normalise`).
    flattened : bool
        Whether all pixels of an image become features of one position.
    covariance : ndarray, optional
        Of Gaussian images, whose mean the one in `array` is; they are taken as they are.

    Raises
    ------
    ValueError
        If the images are not to be normalised, and their largest value is not from `LEAST` to `MOST`.
    """

    array: np.ndarray
    normalised: bool
    flattened: bool
    covariance: np.ndarray | None = None

    def __post_init__(self) -> None:
        largest = float(np.abs(self.array).max())
        if not self.normalised and largest and not LEAST <= largest <= MOST:
            raise ValueError(
                f"normalise=False takes images whose largest value is from {LEAST:g} to {MOST:g}, "
                f"not {largest:.3g}."
            )

    @cached_property
    def values(self) -> np.ndarray:
        """All images, prepared: shape (n, h, w, c), or (n, 1, 1, h w c)."""
        return self._prepared(self.array)

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Of `values`."""
        n, h, w, c = self.array.shape
        return (n, 1, 1, h * w * c) if self.flattened else (n, h, w, c)

    @property
    def stationary(self) -> bool:
        """Whether they are Gaussian images whose covariance is by displacement."""
        return self.covariance is not None and self.covariance.ndim == 4 and not self.flattened

    def chosen(self, indices: np.ndarray) -> np.ndarray:
        """Some of the images, prepared as a batch of their own."""
        return self._prepared(self.array[indices])

    def _prepared(self, array: np.ndarray) -> np.ndarray:
        if self.normalised and self.covariance is None:
            return normalise(Images(array, "array", None), fully_connected=self.flattened)
        return array.reshape(array.shape[0], 1, 1, -1) if self.flattened else array
