"""Residual nets with batch norm: He et al., 2015 (v1) and 2016 (v2); Zagoruyko and Komodakis, 2016 (wide).

Weights have the variance 2 / fan out, gamma is 1 and beta 0. `last_gamma` is the gamma of the last batch norm
of every branch, 0 in later recipes (Goyal et al., 2017): a unit begins as its shortcut then. It is written as
the factor on the branch, which is the same at initialisation, and of which 0 leaves something to look at
before it. In v2, whose branches end in a convolution, the factor is on that.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..layers import Layer
from ..linear import Conv
from ..max_pool import MaxPool
from ..network import Network, Residual
from .common import NORM, RELU, conv, head, separated

#: Stages: units, width, stride of the first unit.
Stages = Sequence[tuple[int, int, int]]


def imagenet_stages(units: Sequence[int]) -> Stages:
    """Four stages, each twice as wide as the one before, of half its side."""
    return [(count, 64 * 2**stage, 1 + (stage > 0)) for stage, count in enumerate(units)]


def cifar_stages(units: int, widen: int = 1) -> Stages:
    """Three stages."""
    return [(units, 16 * widen * 2**stage, 1 + (stage > 0)) for stage in range(3)]


def branch_convolutions(before: int, width: int, stride: int, bottleneck: bool) -> list[Conv]:
    """The convolutions of a branch: two of 3 x 3, or 1 x 1, 3 x 3 and 1 x 1."""
    if not bottleneck:
        return [conv(3, before, width, stride), conv(3, width, width)]
    return [conv(1, before, width), conv(3, width, width, stride), conv(1, width, 4 * width)]


def unit_v1(
    before: int, width: int, stride: int, bottleneck: bool, last_gamma: float = 1.0
) -> tuple[Layer, ...]:
    """A unit that activates behind the merge."""
    convs = branch_convolutions(before, width, stride, bottleneck)
    after = convs[-1].channels or width
    projection = (conv(1, before, after, stride), NORM) if stride > 1 or before != after else ()
    return Residual((*separated(convs, (NORM, RELU)), NORM), projection, last_gamma), RELU


def unit_v2(
    before: int, width: int, stride: int, bottleneck: bool, last_gamma: float = 1.0
) -> tuple[Layer, ...]:
    """A unit that activates before its convolutions, those of the projection included."""
    convs = branch_convolutions(before, width, stride, bottleneck)
    after = convs[-1].channels or width
    branch = separated(convs, (NORM, RELU))
    if stride == 1 and before == after:
        return (Residual((NORM, RELU, *branch), scale=last_gamma),)
    return NORM, RELU, Residual(branch, (conv(1, before, after, stride),), last_gamma)


def imagenet_resnet(
    name: str, units: Sequence[int], bottleneck: bool, ahead: bool, classes: int = 1000,
    last_gamma: float = 1.0,
) -> Network:  # fmt: skip
    """Of images of some 224 x 224; activating before the convolutions if `ahead` (v2)."""
    stem = (conv(7, 3, 64, 2), NORM, RELU, MaxPool(3, 2, 1))
    return _resnet(name, stem, 64, imagenet_stages(units), classes, bottleneck, ahead, last_gamma)


def cifar_resnet(
    name: str, units: int, widen: int, ahead: bool, classes: int = 10, last_gamma: float = 1.0
) -> Network:
    """Of images of some 32 x 32."""
    stem = (conv(3, 3, 16),) if ahead else (conv(3, 3, 16), NORM, RELU)
    return _resnet(name, stem, 16, cifar_stages(units, widen), classes, False, ahead, last_gamma)


def _resnet(
    name: str, stem: tuple[Layer, ...], before: int, stages: Stages, classes: int, bottleneck: bool,
    ahead: bool, last_gamma: float,
) -> Network:  # fmt: skip
    unit, layers = (unit_v2 if ahead else unit_v1), list[Layer]()
    for units, width, stride in stages:
        for index in range(units):
            layers += unit(before, width, stride if index == 0 else 1, bottleneck, last_gamma)
            before = 4 * width if bottleneck else width
    layers += [NORM, RELU] if ahead else []
    return Network((*layers, *head(before, classes)), stem, name)
