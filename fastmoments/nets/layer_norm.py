"""Norms of every image by itself, by statistics over its channels."""

from __future__ import annotations

from dataclasses import dataclass

from ..validation import finite, one_of, whole
from .layers import Layer

#: What a `LayerNorm` takes its mean and variance over.
OVER = ("channels", "image")


class ChannelNorm(Layer, abstract=True):
    """gamma (y - mean) / sqrt(variance + epsilon), mean and variance over channels of an image.

    The noise moves both, as in the derivative of the layer. At initialisation its shift is 0.

    Attributes
    ----------
    epsilon, gamma : float
    image : bool
        Whether they are over the positions of the image as well.
    parts : int
        Groups of channels with statistics of their own, all of one size.
    """

    loc = "norm"
    epsilon: float
    gamma: float

    @property
    def image(self) -> bool:
        """Whether the statistics are over the positions of an image as well."""
        return True

    @property
    def parts(self) -> int:
        """Groups of channels."""
        return 1

    def _check(self) -> None:
        finite(f"{type(self).__name__}: epsilon", self.epsilon, positive=False)
        finite(f"{type(self).__name__}: gamma", self.gamma, positive=True)


@dataclass(frozen=True)
class LayerNorm(ChannelNorm):
    """Layer norm: gamma (y - mean) / sqrt(variance + epsilon) at every position, or of a whole image.

    Parameters
    ----------
    epsilon : float
    over : {"channels", "image"}
        Whether mean and variance are those of the channels at each position (transformers, ConvNeXt), or of
        all channels and positions of an image.
    gamma : float

    Raises
    ------
    ValueError
        If a parameter is outside its range.
    """

    epsilon: float = 1e-5
    over: str = OVER[0]
    gamma: float = 1.0

    def __post_init__(self) -> None:
        self._check()
        one_of("LayerNorm: over", self.over, OVER)

    @property
    def image(self) -> bool:
        """Whether the statistics are over the positions of an image as well."""
        return self.over == "image"


@dataclass(frozen=True)
class GroupNorm(ChannelNorm):
    """Group norm: mean and variance of each of some groups of channels, over all positions of an image.

    Parameters
    ----------
    groups : int
        A divisor of the number of channels. At infinite width each has infinitely many.
    epsilon, gamma : float

    Raises
    ------
    ValueError
        If a parameter is outside its range.
    """

    groups: int = 32
    epsilon: float = 1e-5
    gamma: float = 1.0

    def __post_init__(self) -> None:
        self._check()
        object.__setattr__(self, "groups", whole("GroupNorm: groups", self.groups))

    @property
    def parts(self) -> int:
        """Groups of channels."""
        return self.groups
