"""What a layer is: frozen descriptions.

A description says nothing about how a layer acts on a covariance or on a sampled signal; each
engine holds that in one place of its own. What several engines need to agree on stands here: the
validation of the parameters and the geometry of a convolution (:meth:`Conv.padded_index`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from .geometry import PADDINGS


def _positive_int(layer: str, name: str, value) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
        raise ValueError(f"{layer}: {name} must be a positive whole number, not {value!r}.")


def _finite(layer: str, name: str, value, *, positive: bool) -> None:
    number = isinstance(value, (int, float, np.number)) and not isinstance(value, bool)
    if not number or not math.isfinite(value) or value < 0 or (positive and value == 0):
        kind = "positive" if positive else "non-negative"
        raise ValueError(f"{layer}: {name} must be a finite {kind} number, not {value!r}.")


@dataclass(frozen=True)
class Conv:
    """A convolution with fresh Gaussian weights; ``kernel_size=1`` is a fully connected layer.

    Parameters
    ----------
    kernel_size : int
        Side k of the square k x k kernel.
    gain : float
        The weights have variance ``gain / (k^2 * channels in)``; 2 is He's initialisation.
    bias_variance : float
        Variance of the bias, one per output channel; 0 means no bias.
    stride, dilation : int
        Step between outputs and between taps, in positions.
    padding : {"periodic", "zeros", "symmetric"}
        What stands beyond the border: the opposite side, nothing, or the mirror image with the edge
        repeated (numpy's "symmetric"). The output has ceil(size / stride) positions; of an odd
        amount of padding the extra position stands behind (TensorFlow's rule).
    tap_variances : sequence of k sequences of k numbers, optional
        Profile of the kernel: the variance of its weights by tap (row, column), up to a common factor, so
        that `gain` keeps its meaning. Left out, all taps are alike.

    Raises
    ------
    ValueError
        If a parameter is outside its range.
    """

    kernel_size: int = 3
    gain: float = 2.0
    bias_variance: float = 0.0
    stride: int = 1
    padding: str = "periodic"
    dilation: int = 1
    tap_variances: tuple | None = None

    def __post_init__(self):
        for name in ("kernel_size", "stride", "dilation"):
            _positive_int("Conv", name, getattr(self, name))
        _finite("Conv", "gain", self.gain, positive=True)
        _finite("Conv", "bias_variance", self.bias_variance, positive=False)
        if self.padding not in PADDINGS:
            raise ValueError(f"Conv: padding must be one of {', '.join(PADDINGS)}, not {self.padding!r}.")
        if self.tap_variances is not None:
            object.__setattr__(self, "tap_variances", _profile(self.tap_variances, self.kernel_size))

    @cached_property
    def tap_weights(self) -> np.ndarray:
        """Variance of each tap's weights relative to their mean, shape (kernel_size, kernel_size)."""
        if self.tap_variances is None:
            return np.ones((self.kernel_size, self.kernel_size))
        profile = np.array(self.tap_variances)
        return profile / profile.mean()

    @cached_property
    def tap_factors(self) -> tuple[np.ndarray, np.ndarray]:
        """`tap_weights` as a sum of products of (down, across) the image, each of shape (terms, k)."""
        if self.tap_variances is None:
            return np.ones((1, self.kernel_size)), np.ones((1, self.kernel_size))
        left, values, right = np.linalg.svd(self.tap_weights)
        terms = np.count_nonzero(values > 1e-15 * values[0])
        roots = np.sqrt(values[:terms])[:, None]
        return roots * left.T[:terms], roots * right[:terms]

    @property
    def pointwise(self) -> bool:
        """Whether every output position sees exactly its own input position."""
        return self.kernel_size == 1 and self.stride == 1

    def output_size(self, size: int) -> int:
        """Positions along one side after the convolution, of `size` before it."""
        return -(-size // self.stride)

    def padded_index(self, size: int) -> np.ndarray:
        """Input position at each position of the padded side; -1 where zero padding stands.

        Output ``o`` and tap ``t`` meet at padded position ``o * stride + t * dilation``.

        Returns
        -------
        ndarray of int64, shape ((output_size - 1) * stride + (kernel_size - 1) * dilation + 1,)
        """
        reach = (self.kernel_size - 1) * self.dilation + 1
        length = (self.output_size(size) - 1) * self.stride + reach
        before = max(length - size, 0) // 2
        position = np.arange(length, dtype=np.int64) - before
        if self.padding == "periodic":
            return position % size
        if self.padding == "symmetric":
            folded = position % (2 * size)
            return np.minimum(folded, 2 * size - 1 - folded)
        return np.where((position >= 0) & (position < size), position, -1)


@dataclass(frozen=True)
class ReLU:
    """The rectifier max(x, 0)."""


@dataclass(frozen=True)
class BatchNorm:
    """Batch normalisation over all images and positions of a channel, without learnt parameters.

    Parameters
    ----------
    epsilon : float
        Added to the batch variance.
    """

    epsilon: float = 1e-3

    def __post_init__(self):
        _finite("BatchNorm", "epsilon", self.epsilon, positive=False)


def _profile(given, size: int) -> tuple:
    """A kernel's profile as a tuple of tuples."""
    wrong = f"Conv: tap_variances must be {size} rows of {size} non-negative numbers, not all of them 0"
    try:
        profile = np.array(given, dtype=np.float64)
    except (TypeError, ValueError):
        raise ValueError(f"{wrong}, not {given!r}.") from None
    if profile.shape != (size, size):
        raise ValueError(f"{wrong}; it got an array of shape {profile.shape}.")
    if not np.isfinite(profile).all() or profile.min() < 0 or profile.max() == 0:
        raise ValueError(f"{wrong}, not {profile.tolist()}.")
    return tuple(map(tuple, profile.tolist()))
