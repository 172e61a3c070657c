"""Stages of convolutions that end in a max pooling: Simonyan and Zisserman, 2014; batch norm was added later.

Weights of convolutions have the variance 2 / fan out, those of the three dense layers 1e-4.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..dense import Dense
from ..fixed import Dropout, Flatten
from ..layers import Layer
from ..linear import Gaussian
from ..max_pool import MaxPool
from ..network import Network
from .common import NORM, RELU, conv


def vgg(name: str, stages: Sequence[int], norm: bool, classes: int = 1000) -> Network:
    """Stages of so many 3 x 3 convolutions; three dense layers."""
    layers: list[Layer] = []
    before = 3
    for stage, count in enumerate(stages):
        width = min(64 * 2**stage, 512)
        for _ in range(count):
            layers += [conv(3, before, width), *((NORM,) if norm else ()), RELU]
            before = width
        layers.append(MaxPool(2))
    layers.append(Flatten())
    for fan_in, channels in ((49 * 512, 4096), (4096, 4096)):
        layers += [Dense(channels, Gaussian(1e-4 * fan_in)), RELU, Dropout(0.5)]
    return Network((*layers, Dense(classes, Gaussian(1e-4 * 4096))), name=name)
