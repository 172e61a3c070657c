"""Dense layers: linear in the channels of every position."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType

from .layers import Layer
from .linear import Conv, Gaussian


@dataclass(frozen=True)
class Dense(Layer):
    """Fresh Gaussian weights between the channels of every position, such as the one behind a `Flatten`.

    Where there are more positions than one, all have the same weights, as those of a 1 x 1 convolution.

    Parameters
    ----------
    channels : int, optional
        Channels behind it, where an engine has a finite number; that engine's width if left out.
    weights : Gaussian
        Of variance ``gain / channels in``; without a profile of taps.

    Raises
    ------
    ValueError
        If a parameter is outside its range.
    """

    channels: int | None = None
    weights: Gaussian = Gaussian()  # noqa: RUF009  # which is frozen

    loc = "conv"
    weighted = True
    flat = MappingProxyType({"weights": Gaussian})

    def __post_init__(self) -> None:
        try:
            object.__setattr__(self, "channels", self.convolution.channels)
        except ValueError as problem:
            raise ValueError(str(problem).replace("Conv:", "Dense:", 1)) from None
        if self.weights.tap_variances is not None:
            raise ValueError("Dense: tap_variances are of a Conv; leave them out.")

    @cached_property
    def convolution(self) -> Conv:
        """The 1 x 1 convolution that it is."""
        return Conv(1, self.weights, channels=self.channels)

    def output_channels(self, channels: int, grid: tuple[int, int], width: int) -> int:
        """Its own number of channels, or `width`."""
        return self.channels or width
