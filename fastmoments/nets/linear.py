"""Linear layers: convolutions and where their weights come from."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType

import numpy as np

from ..validation import MOST as MOST_CHANNELS
from ..validation import finite, one_of, whole
from . import geometry
from .layers import Layer

#: Bounds of variances, whose products would leave the range of numbers far beyond; of sides of a kernel.
LEAST, MOST, MOST_TAPS = 1e-100, 1e100, 1_000
#: Groups of a `Conv` of one channel each.
DEPTHWISE = "depthwise"


@dataclass(frozen=True)
class Gaussian:
    """Fresh Gaussian weights: where the weights of a `Conv` come from.

    Parameters
    ----------
    gain : float
        They have variance ``gain / (k^2 * channels in)``; 2 is He's initialisation.
    bias_variance : float
        Variance of the bias, one per output channel; 0 means no bias.
    tap_variances : sequence of k sequences of k numbers, optional
        Profile of a k x k kernel: the variance of its weights by tap (row, column), up to a common factor,
        so that `gain` keeps its meaning. Left out, all taps are alike.

    Raises
    ------
    ValueError
        If a parameter is outside its range.
    """

    gain: float = 2.0
    bias_variance: float = 0.0
    tap_variances: tuple[tuple[float, ...], ...] | None = None

    def __post_init__(self) -> None:
        finite("Gaussian: gain", self.gain, positive=True)
        finite("Gaussian: bias_variance", self.bias_variance, positive=False)
        if not LEAST <= self.gain <= MOST:
            raise ValueError(f"Gaussian: gain must be from {LEAST:g} to {MOST:g}, not {self.gain!r}.")
        if self.bias_variance > MOST**2:
            raise ValueError(f"Gaussian: bias_variance is {self.bias_variance!r}; use at most {MOST**2:g}.")
        if self.tap_variances is not None:
            object.__setattr__(self, "tap_variances", _profile(self.tap_variances))


@dataclass(frozen=True)
class Conv(Layer):
    """A convolution with fresh Gaussian weights; ``kernel_size=1`` is a fully connected layer.

    Parameters
    ----------
    kernel_size : int
        Side k of the square k x k kernel.
    weights : Gaussian
    stride, dilation : int
        Step between outputs and between taps, in positions.
    padding : {"periodic", "zeros", "symmetric"}
        What stands beyond the border: the opposite side, nothing, or the mirror image with the edge
        repeated (numpy's "symmetric").
    channels : int, optional
        Channels behind it, where an engine has a finite number; that engine's width if left out.
    pad : int, optional
        So many positions of padding on both sides; the output has
        floor((size + 2 pad - dilation (k - 1) - 1) / stride) + 1 positions (PyTorch's rule; 0 is "valid").
        Left out, it has ceil(size / stride), and of an odd amount of padding the extra position stands
        behind (TensorFlow's "SAME").
    groups : int or "depthwise"
        Of channels, each seen by its own share of the channels behind it, with weights of variance
        ``gain / (k^2 * channels in / groups)``. "depthwise": every channel sees itself alone.

    Raises
    ------
    ValueError
        If a parameter is outside its range.
    """

    kernel_size: int = 3
    weights: Gaussian = Gaussian()
    stride: int = 1
    padding: str = "periodic"
    dilation: int = 1
    channels: int | None = None
    pad: int | None = None
    groups: int | str = 1

    loc = "conv"
    weighted = True
    flat = MappingProxyType({"weights": Gaussian})

    def __post_init__(self) -> None:
        for name in ("kernel_size", "stride", "dilation"):
            object.__setattr__(self, name, whole(f"Conv: {name}", getattr(self, name), 1, MOST_TAPS))
        if self.channels is not None:
            object.__setattr__(self, "channels", whole("Conv: channels", self.channels, 1, MOST_CHANNELS))
        if self.pad is not None:
            object.__setattr__(self, "pad", whole("Conv: pad", self.pad, 0, MOST_TAPS))
        if self.groups != DEPTHWISE:
            if isinstance(self.groups, str):
                raise ValueError(f'Conv: groups must be a whole number or "depthwise", not {self.groups!r}.')
            object.__setattr__(self, "groups", whole("Conv: groups", self.groups, 1, MOST_CHANNELS))
        elif self.channels is not None:
            raise ValueError('Conv: groups="depthwise" keeps the channels before it; leave out channels.')
        if not isinstance(self.weights, Gaussian):
            raise ValueError(f"Conv: weights must be Gaussian(...), not {self.weights!r}.")
        one_of("Conv: padding", self.padding, geometry.PADDINGS)
        size = len(self.weights.tap_variances or ()) or self.kernel_size
        if size != self.kernel_size:
            raise ValueError(
                f"Conv: tap_variances must be {self.kernel_size} rows, as the kernel has, not {size}."
            )

    @property
    def channelwise(self) -> bool:
        """Whether every channel sees itself alone."""
        return self.groups == DEPTHWISE

    @property
    def convolution(self) -> Conv:
        """What it is as a convolution: itself."""
        return self

    @cached_property
    def tap_weights(self) -> np.ndarray:
        """Variance of each tap's weights relative to their mean, shape (kernel_size, kernel_size)."""
        if self.weights.tap_variances is None:
            return np.ones((self.kernel_size, self.kernel_size))
        profile = np.array(self.weights.tap_variances)
        return profile / profile.mean()

    @cached_property
    def tap_factors(self) -> tuple[np.ndarray, np.ndarray]:
        """`tap_weights` as a sum of products of (down, across) the image, each of shape (terms, k)."""
        if self.weights.tap_variances is None:
            return np.ones((1, self.kernel_size)), np.ones((1, self.kernel_size))
        left, values, right = np.linalg.svd(self.tap_weights)
        terms = np.count_nonzero(values > 1e-15 * values[0])
        roots = np.sqrt(values[:terms])[:, None]
        return roots * left.T[:terms], roots * right[:terms]

    @property
    def pointwise(self) -> bool:
        """Whether every output position sees exactly its own input position."""
        return self.kernel_size == 1 and self.keeps_size

    @property
    def keeps_size(self) -> bool:
        """Whether images of every size have as many positions behind it as before."""
        return self.stride == 1 and self.pad in (None, (self.kernel_size - 1) * self.dilation / 2)

    def output_grid(self, grid: tuple[int, int]) -> tuple[int, int]:
        """Positions (height, width) behind it, of `grid` before it."""
        return self.output_size(grid[0]), self.output_size(grid[1])

    def output_channels(self, channels: int, grid: tuple[int, int], width: int) -> int:
        """Its own number of channels, or `width`; as many as before a depthwise one."""
        return channels if self.channelwise else self.channels or width

    def output_size(self, size: int) -> int:
        """Positions along one side after the convolution, of `size` before it."""
        return geometry.output_size(size, self.kernel_size, self.stride, self.dilation, self.pad)

    def pad_before(self, size: int) -> int:
        """Positions of padding along one side, in front of the first of `size`."""
        return geometry.pad_before(size, self.kernel_size, self.stride, self.dilation, self.pad)

    def padded_index(self, size: int) -> np.ndarray:
        """Input position at each position of the padded side; -1 where zero padding stands."""
        return geometry.padded_index(
            size, self.kernel_size, self.stride, self.dilation, self.padding, self.pad
        )

    def taps(self, size: int) -> np.ndarray:
        """Input position that each output position sees through each tap along one side; -1 for none.

        Returns
        -------
        ndarray of int64, shape (output_size, kernel_size)
        """
        outputs = np.arange(self.output_size(size))[:, None] * self.stride
        return self.padded_index(size)[outputs + np.arange(self.kernel_size) * self.dilation]


def _profile(given: object) -> tuple[tuple[float, ...], ...]:
    """A kernel's profile as a tuple of tuples."""
    wrong = "Gaussian: tap_variances must be k rows of k non-negative numbers, not all of them 0"
    try:
        profile = np.array(given, dtype=np.float64)
    except (TypeError, ValueError):
        raise ValueError(f"{wrong}, not {given!r}.") from None
    if profile.ndim != 2 or profile.shape[0] != profile.shape[1] or not profile.size:
        raise ValueError(f"{wrong}; it got an array of shape {profile.shape}.")
    if not np.isfinite(profile).all() or profile.min() < 0 or not LEAST <= profile.max() <= MOST:
        raise ValueError(f"{wrong}, not {profile.tolist()}.")
    return tuple(map(tuple, profile.tolist()))
