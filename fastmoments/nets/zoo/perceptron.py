"""A perceptron: dense layers and ReLUs (He et al., 2015), a classifier as PyTorch's default."""

from __future__ import annotations

from ..dense import Dense
from ..fixed import Flatten
from ..linear import Gaussian
from ..network import Network
from .common import RELU, UNIFORM


def mlp(name: str, depth: int = 3, width: int = 512, classes: int = 10) -> Network:
    """Of `depth` hidden layers."""
    hidden = (Dense(width), RELU) * depth
    return Network((Flatten(), *hidden, Dense(classes, Gaussian(UNIFORM, UNIFORM / width))), name=name)
