"""Blocks whose every layer sees all before it: Huang, Liu, van der Maaten and Weinberger, 2017.

Weights of convolutions have the variance 2 / fan in, those of the classifier 1 / (3 fan in), without a bias.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..concat import Concat
from ..dense import Dense
from ..fixed import AvgPool, GlobalAvgPool
from ..layers import Layer
from ..linear import Conv, Gaussian
from ..max_pool import MaxPool
from ..network import Network
from .common import NORM, RELU, UNIFORM


def _conv(size: int, channels: int, stride: int = 1) -> Conv:
    return Conv(size, stride=stride, padding="zeros", pad=size // 2, channels=channels)


def dense_layer(growth: int) -> Concat:
    """A layer of a block: what was there, and `growth` channels more, of a bottleneck of 4 times as many."""
    return Concat(((), (NORM, RELU, _conv(1, 4 * growth), NORM, RELU, _conv(3, growth))))


def densenet(name: str, blocks: Sequence[int], classes: int = 1000, growth: int = 32) -> Network:
    """Blocks of so many layers; between two of them channels and sides are halved."""
    layers, channels = list[Layer](), 2 * growth
    for index, count in enumerate(blocks):
        if index:
            channels //= 2
            layers += [NORM, RELU, _conv(1, channels), AvgPool(2)]
        layers += [dense_layer(growth)] * count
        channels += growth * count
    ends = (NORM, RELU, GlobalAvgPool(), Dense(classes, Gaussian(UNIFORM)))
    return Network((*layers, *ends), (_conv(7, 2 * growth, 2), NORM, RELU, MaxPool(3, 2, 1)), name)
