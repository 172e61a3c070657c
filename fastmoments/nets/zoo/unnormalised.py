"""Residual nets without batch norm, which begin as their shortcuts: Fixup, SkipInit, ReZero.

Fixup (Zhang, Dauphin and Ma, 2019) is ResNet v1 without norms. Of L branches of m convolutions all but the
last of each have the deviation of He et al. times L^(-1 / (2m - 2)), and the last is 0. SkipInit (De and
Smith, 2020) and ReZero (Bachlechner et al., 2020) multiply each branch by a number that is trained and begins
at 0; here they are ResNet v2 without norms. A branch that is 0 makes a unit its shortcut, so signal and noise
go through the projections only; another `last` or `alpha` shows what becomes of a net whose branches training
has opened. The scalar biases and multipliers of Fixup begin at 0 and 1, and do nothing until then. Its
classifier begins at 0 as well, behind which nothing is left to look at: it is drawn as that of the others.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from ..layers import Layer
from ..linear import Conv
from ..max_pool import MaxPool
from ..network import Network, Residual
from .common import RELU, conv, head, separated
from .resnet import Stages, branch_convolutions, cifar_stages, imagenet_stages


def fixup_unit(
    before: int, width: int, stride: int, bottleneck: bool, branches: int, last: float
) -> tuple[Layer, ...]:
    """A unit that activates behind the merge; `last` is the factor on its last convolution."""
    convs = branch_convolutions(before, width, stride, bottleneck)
    after = convs[-1].channels or width
    shrunk = [_times(each, branches ** (-1.0 / (len(convs) - 1))) for each in convs[:-1]]
    projection = (conv(1, before, after, stride),) if stride > 1 or before != after else ()
    return Residual(separated((*shrunk, convs[-1]), (RELU,)), projection, last), RELU


def skipinit_unit(
    before: int, width: int, stride: int, bottleneck: bool, branches: int, alpha: float
) -> tuple[Layer, ...]:
    """A unit that activates before its convolutions; `alpha` is the factor on its branch."""
    convs = branch_convolutions(before, width, stride, bottleneck)
    after = convs[-1].channels or width
    branch = separated(convs, (RELU,))
    if stride == 1 and before == after:
        return (Residual((RELU, *branch), scale=alpha),)
    return RELU, Residual(branch, (conv(1, before, after, stride),), alpha)


def _times(each: Conv, variance: float) -> Conv:
    """A convolution whose weights have so many times the variance."""
    return replace(each, weights=replace(each.weights, gain=variance * each.weights.gain))


def imagenet_fixup(name: str, units: Sequence[int], classes: int = 1000, last: float = 0.0) -> Network:
    """Of bottlenecks."""
    layers, before = _stacked(fixup_unit, imagenet_stages(units), 64, True, last)
    return Network((*layers, *head(before, classes)), (conv(7, 3, 64, 2), RELU, MaxPool(3, 2, 1)), name)


def cifar_fixup(name: str, units: int, classes: int = 10, last: float = 0.0) -> Network:
    """Of two convolutions a branch."""
    layers, before = _stacked(fixup_unit, cifar_stages(units), 16, False, last)
    return Network((*layers, *head(before, classes)), (conv(3, 3, 16), RELU), name)


def imagenet_skipinit(name: str, units: Sequence[int], classes: int = 1000, alpha: float = 0.0) -> Network:
    """Of bottlenecks."""
    layers, before = _stacked(skipinit_unit, imagenet_stages(units), 64, True, alpha)
    return Network((*layers, RELU, *head(before, classes)), (conv(7, 3, 64, 2), MaxPool(3, 2, 1)), name)


def cifar_skipinit(name: str, units: int, classes: int = 10, alpha: float = 0.0) -> Network:
    """Of two convolutions a branch."""
    layers, before = _stacked(skipinit_unit, cifar_stages(units), 16, False, alpha)
    return Network((*layers, RELU, *head(before, classes)), (conv(3, 3, 16),), name)


def _stacked(
    unit: Callable[[int, int, int, bool, int, float], tuple[Layer, ...]], stages: Stages, before: int,
    bottleneck: bool, factor: float,
) -> tuple[list[Layer], int]:  # fmt: skip
    """The units of all stages, and the channels behind them."""
    layers, branches = list[Layer](), sum(units for units, _, _ in stages)
    for units, width, stride in stages:
        for index in range(units):
            layers += unit(before, width, stride if index == 0 else 1, bottleneck, branches, factor)
            before = 4 * width if bottleneck else width
    return layers, before
