"""Depthwise convolutions and layer norm: Liu et al., 2022.

All weights have the deviation 0.02, and a branch is multiplied by `scale`, which begins at 1e-6: at
initialisation nearly nothing comes through the branches.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..activations import GELU
from ..dense import Dense
from ..fixed import GlobalAvgPool
from ..layer_norm import LayerNorm
from ..layers import Layer
from ..linear import DEPTHWISE, Conv, Gaussian
from ..network import Network, Residual

DEVIATION = 0.02
NORM = LayerNorm(1e-6)


def _weights(fan_in: int) -> Gaussian:
    return Gaussian(DEVIATION**2 * fan_in)


def _shrinking(size: int, before: int, channels: int) -> Conv:
    """A convolution whose windows do not overlap."""
    return Conv(size, _weights(size**2 * before), size, "zeros", channels=channels, pad=0)


def _unit(width: int, scale: float) -> Residual:
    """A 7 x 7 convolution of every channel by itself, then a perceptron over channels."""
    depthwise = Conv(7, _weights(49), padding="zeros", pad=3, groups=DEPTHWISE)
    wide, narrow = Dense(4 * width, _weights(width)), Dense(width, _weights(4 * width))
    return Residual((depthwise, NORM, wide, GELU(), narrow), scale=scale)


def convnext(
    name: str, units: Sequence[int], width: int, classes: int = 1000, scale: float = 1e-6
) -> Network:
    """Stages of so many units, each twice as wide as the one before, of half its side."""
    stem, layers = (_shrinking(4, 3, width), NORM), list[Layer]()
    for stage, count in enumerate(units):
        if stage:
            layers += [NORM, _shrinking(2, width, 2 * width)]
            width *= 2
        layers += [_unit(width, scale)] * count
    return Network((*layers, GlobalAvgPool(), NORM, Dense(classes, _weights(width))), stem, name)
