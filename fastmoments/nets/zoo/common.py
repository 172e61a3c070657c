"""What published nets have in common: how their weights are drawn, and how they end."""

from __future__ import annotations

from collections.abc import Sequence

from ..activations import ReLU
from ..dense import Dense
from ..fixed import GlobalAvgPool
from ..layers import Layer
from ..linear import Conv, Gaussian
from ..norms import BatchNorm

#: Of all batch norms.
EPSILON = 1e-5
#: Gain of weights that have the variance 1 / (3 fan in), as PyTorch's linear layers.
UNIFORM = 1.0 / 3.0

NORM, RELU = BatchNorm(EPSILON), ReLU()


def conv(size: int, before: int, channels: int, stride: int = 1) -> Conv:
    """A convolution padded to its size whose weights have the variance 2 / fan out (He et al., 2015)."""
    gain = Gaussian(2.0 * before / channels)
    return Conv(size, gain, stride=stride, padding="zeros", pad=size // 2, channels=channels)


def head(before: int, classes: int) -> tuple[Layer, ...]:
    """The mean over positions and a classifier, drawn as PyTorch's default."""
    return GlobalAvgPool(), Dense(classes, Gaussian(UNIFORM, UNIFORM / before))


def separated(layers: Sequence[Layer], between: Sequence[Layer]) -> tuple[Layer, ...]:
    """Layers with some between each two."""
    first, *rest = layers
    return (first, *(each for layer in rest for each in (*between, layer)))
