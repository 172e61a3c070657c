"""PyTorch's modules as layers: one registered function a kind.

Each is told what stands before the module and which sizes stand behind it, and says which layers it is, or
raises `Untranslated` with the reason.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, singledispatch
from typing import Any

import numpy as np
import torch
from torch import nn

from . import activations
from .dense import Dense
from .fixed import AvgPool, Dropout, Flatten, GlobalAvgPool, Scale
from .layer_norm import GroupNorm, LayerNorm
from .layers import Layer
from .linear import DEPTHWISE, Conv, Gaussian
from .max_pool import MaxPool
from .norms import BatchNorm

#: The initialisation that the parameters themselves show.
MEASURED = "measured"
#: Gain and bias variance of weights by the name of their initialisation, of (fan in, fan out).
INITS: dict[str, Callable[[int, int], tuple[float, float]]] = {
    "default": lambda before, behind: (1.0 / 3.0, 1.0 / (3.0 * before)),
    "kaiming_fan_in": lambda before, behind: (2.0, 0.0),
    "kaiming_fan_out": lambda before, behind: (2.0 * before / behind, 0.0),
    "lecun": lambda before, behind: (1.0, 0.0),
    "xavier": lambda before, behind: (2.0 * before / (before + behind), 0.0),
}
_PADDINGS = {"zeros": "zeros", "circular": "periodic"}


class Untranslated(ValueError):
    """Why an operation has no counterpart; the end of a sentence that begins with its name."""


@dataclass(frozen=True)
class Value:
    """What a tensor is: its sizes, and what its axes hold.

    Attributes
    ----------
    sizes : tuple of int
    axes : tuple of str
        "n" images, "c" channels, "p" positions, one each.
    """

    sizes: tuple[int, ...]
    axes: tuple[str, ...]

    def grid(self) -> tuple[int, ...]:
        """Sizes of the axes of positions."""
        return tuple(size for size, axis in zip(self.sizes, self.axes, strict=True) if axis == "p")


@dataclass(frozen=True)
class Place:
    """Where a module stands: the value before it, sizes behind it, the name of its initialisation."""

    before: Value
    behind: tuple[int, ...]
    init: str


@dataclass(frozen=True)
class Found:
    """What an operation is: its layers, whether 0 comes out of it, its axes where they change."""

    layers: tuple[Layer, ...] = ()
    zero: bool = False
    axes: tuple[str, ...] | None = None


def number(given: torch.Tensor | None, default: float, what: str) -> float:
    """The one number that all elements are.

    Raises
    ------
    Untranslated
        If they differ, as those of a trained module do.
    """
    if given is None:
        return default
    least, most = given.detach().min().item(), given.detach().max().item()
    if least != most:
        raise Untranslated(f"its {what} runs from {least:.4g} to {most:.4g}, and one number is taken.")
    return least


@singledispatch
def translated(module: nn.Module, place: Place) -> Found:
    """The layers that a module is.

    Raises
    ------
    Untranslated
        If there are none.
    """
    raise Untranslated(f"{type(module).__name__} has no formula here; fastmoments can measure it.")


@translated.register
def _(module: nn.Identity, place: Place) -> Found:
    return Found()


@translated.register(nn.Dropout)
@translated.register(nn.Dropout1d)
@translated.register(nn.Dropout2d)
def _(module: Any, place: Place) -> Found:
    return Found((Dropout(module.p),))


# Weights


def _drawn(
    weight: torch.Tensor, bias: torch.Tensor | None, place: Place, taps: Any = None
) -> tuple[Gaussian, bool]:
    """Where weights (out, in, taps...) come from, and whether they are all 0."""
    before, behind = weight[0].numel(), weight[:, 0].numel()
    if place.init != MEASURED:
        return Gaussian(*INITS[place.init](before, behind), taps), False
    weight = weight.detach().double()
    square, mean = weight.square().mean().item(), weight.mean().item()
    shift = 0.0 if bias is None else bias.detach().double().square().mean().item()
    if not math.isfinite(square + shift):
        raise Untranslated("it has weights that are not finite.")
    if square == 0.0 and shift > 0.0:
        raise Untranslated("its weights are 0 and its biases are not.")
    if mean * mean > square * (0.1 + 16.0 / weight.numel()):
        raise Untranslated("its weights have a mean, and are taken for random numbers around 0.")
    return Gaussian(square * before or 1.0, shift, taps), square == 0.0


@translated.register
def _(module: nn.Linear, place: Place) -> Found:
    if place.before.axes[-1] != "c":
        raise Untranslated("it mixes positions with weights of their own.")
    weights, zero = _drawn(module.weight, module.bias, place)
    return Found((Dense(module.out_features, weights),), zero)


@translated.register(nn.Conv1d)
@translated.register(nn.Conv2d)
def _(module: nn.Conv1d | nn.Conv2d, place: Place) -> Found:
    if module.padding_mode not in _PADDINGS:
        raise Untranslated(f"padding_mode={module.padding_mode!r} has no formula here.")
    if place.before.axes[1] != "c":
        raise Untranslated("the channels of what it sees are on another axis than its own.")
    size, pad, taps = _kernel(module)
    weights, zero = _drawn(module.weight, module.bias, place, taps)
    groups, channels = module.groups, module.out_channels
    given: dict[str, Any] = {"channels": channels, "groups": groups}
    if groups > 1 and groups == module.in_channels:
        if channels != groups:
            raise Untranslated("it makes several channels of each, which has no formula here.")
        given = {"groups": DEPTHWISE}
    conv = Conv(
        size, weights, _same(module.stride, "stride"), _PADDINGS[module.padding_mode],
        _same(module.dilation, "dilation"), pad=pad, **given,
    )  # fmt: skip
    return Found((conv,), zero)


def _same(given: Any, what: str) -> int:
    """The number that is given for every axis."""
    if len(set(given)) > 1:
        raise Untranslated(f"its {what} differs between height and width.")
    return given[0]


def _kernel(module: nn.Conv1d | nn.Conv2d) -> tuple[int, int | None, Any]:
    """Size, padding and profile of the square kernel that a rectangular one is, 0 where it has no taps."""
    sizes = _pair(module.kernel_size, 1)
    size, step = max(sizes), module.dilation[0]
    pad = None
    if module.padding != "same":
        pads = (0, 0) if module.padding == "valid" else _pair(module.padding, 0)
        pad = pads[sizes.index(size)]
        if any(2 * (pad - each) != step * (size - length) for each, length in zip(pads, sizes, strict=True)):
            raise Untranslated("its paddings do not make a square kernel of it, with taps left out.")
    if sizes[0] == sizes[1]:
        return size, pad, None
    if (sizes[0] - sizes[1]) % 2:
        raise Untranslated("of height and width of its kernel one is even and the other odd.")
    profile = np.zeros((size, size))
    first, second = ((size - length) // 2 for length in sizes)
    profile[first : first + sizes[0], second : second + sizes[1]] = 1.0
    return size, pad, tuple(map(tuple, profile.tolist()))


def _pair(given: Any, first: int) -> tuple[int, int]:
    """Numbers for height and width; `first` for the height of what is along one axis."""
    return (given[0], given[1]) if len(given) == 2 else (first, given[0])


# Norms


@translated.register(nn.BatchNorm1d)
@translated.register(nn.BatchNorm2d)
def _(module: nn.BatchNorm1d | nn.BatchNorm2d, place: Place) -> Found:
    gamma, beta = number(module.weight, 1.0, "weight"), number(module.bias, 0.0, "bias")
    if gamma == 0.0 and beta != 0.0:
        raise Untranslated("its weight is 0 and its bias is not.")
    return Found((BatchNorm(module.eps, gamma or 1.0, beta),), gamma == 0.0)


def _gamma(module: Any) -> tuple[float, bool]:
    """Factor of a norm without a shift, and whether it is 0."""
    if number(module.bias, 0.0, "bias") != 0.0:
        raise Untranslated("its bias is not 0.")
    gamma = number(module.weight, 1.0, "weight")
    return gamma or 1.0, gamma == 0.0


@translated.register
def _(module: nn.LayerNorm, place: Place) -> Found:
    gamma, zero = _gamma(module)
    over = sorted(place.before.axes[-len(module.normalized_shape) :])
    if over == ["c"]:
        return Found((LayerNorm(module.eps, "channels", gamma),), zero)
    if over == sorted(place.before.axes[1:]):
        return Found((LayerNorm(module.eps, "image", gamma),), zero)
    raise Untranslated("it is over some of the axes; over channels, or all but the images, it has a formula.")


@translated.register
def _(module: nn.GroupNorm, place: Place) -> Found:
    gamma, zero = _gamma(module)
    if module.num_groups == 1:
        return Found((LayerNorm(module.eps, "image", gamma),), zero)
    return Found((GroupNorm(module.num_groups, module.eps, gamma),), zero)


# Positions


@translated.register
def _(module: nn.MaxPool2d, place: Place) -> Found:
    if module.dilation not in (1, (1, 1)):
        raise Untranslated("its windows have gaps.")
    return Found((MaxPool(*_window(module, place)),))


@translated.register
def _(module: nn.AvgPool2d, place: Place) -> Found:
    size, stride, pad = _window(module, place)
    if pad and not module.count_include_pad:
        raise Untranslated("it does not count its padding; give count_include_pad=True.")
    if module.divisor_override not in (None, size * size):
        raise Untranslated("it divides by another number than its window has.")
    return Found((AvgPool(size, stride, pad),))


def _window(module: nn.MaxPool2d | nn.AvgPool2d, place: Place) -> tuple[int, int, int]:
    """Size, stride and padding of pooling."""
    size, stride, pad = (
        _same(given if isinstance(given, tuple) else (given,), what)
        for given, what in (
            (module.kernel_size, "window"), (module.stride, "stride"), (module.padding, "padding")
        )
    )  # fmt: skip
    down = [(side + 2 * pad - size) // stride + 1 for side in place.before.grid()]
    if list(place.behind[-2:]) != down:
        raise Untranslated("it has a window that stands beyond the border (ceil_mode).")
    return size, stride, pad


@translated.register
def _(module: nn.AdaptiveAvgPool2d, place: Place) -> Found:
    grid, behind = place.before.grid(), place.behind[-2:]
    if tuple(behind) == (1, 1):
        return Found((GlobalAvgPool(),))
    if tuple(behind) == grid:
        return Found()
    sizes = {side // after for side, after in zip(grid, behind, strict=True)}
    if len(sizes) > 1 or any(side % after for side, after in zip(grid, behind, strict=True)):
        raise Untranslated(f"{grid} positions are no multiple of the {tuple(behind)} that it makes.")
    return Found((AvgPool(sizes.pop()),))


@translated.register
def _(module: nn.Flatten, place: Place) -> Found:
    return flattened(place)


def flattened(place: Place) -> Found:
    """All axes of an image as its channels, or those of its positions as one.

    Raises
    ------
    Untranslated
        If sizes behind it are neither.
    """
    before, behind = place.before, place.behind
    images, *rest = before.sizes
    if behind == before.sizes:
        return Found()
    if behind == (images, math.prod(rest)):
        return Found((Flatten(),) if math.prod(before.grid()) > 1 else (), axes=("n", "c"))
    if before.axes == ("n", "c", "p", "p") and behind == (*before.sizes[:2], math.prod(before.grid())):
        return Found(axes=("n", "c", "p"))
    if before.axes == ("n", "p", "p", "c") and behind == (images, math.prod(before.grid()), before.sizes[3]):
        return Found(axes=("n", "p", "c"))
    raise Untranslated(f"it makes {behind} of {before.sizes}, which is no flattening.")


# Activations


@cache
def _elementwise(kind: type[nn.Module], arguments: tuple[float, ...], kinks: tuple[float, ...]) -> Layer:
    """An activation that PyTorch computes."""
    module = kind(*arguments)

    def value(x: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return module(torch.as_tensor(x, dtype=torch.float64)).numpy()

    def slope(x: np.ndarray) -> np.ndarray:
        point = torch.tensor(x, dtype=torch.float64, requires_grad=True)
        with torch.enable_grad():
            (found,) = torch.autograd.grad(module(point).sum(), point)
        return found.numpy()

    value.__name__ = kind.__name__
    return activations.Activation(value, slope, kinks)


_PLAIN: dict[type[nn.Module], Callable[[Any], Layer]] = {
    nn.ReLU: lambda module: activations.ReLU(),
    nn.LeakyReLU: lambda module: activations.LeakyReLU(module.negative_slope),
    nn.Tanh: lambda module: activations.Tanh(),
    nn.GELU: lambda module: activations.GELU(module.approximate),
    nn.SiLU: lambda module: activations.SiLU(),
    nn.ELU: lambda module: activations.ELU(module.alpha),
    nn.Hardswish: lambda module: activations.HardSwish(),
    nn.Mish: lambda module: activations.Mish(),
    nn.PReLU: lambda module: activations.LeakyReLU(number(module.weight, 0.25, "weight")),
    nn.Sigmoid: lambda module: _elementwise(nn.Sigmoid, (), ()),
    nn.LogSigmoid: lambda module: _elementwise(nn.LogSigmoid, (), ()),
    nn.Tanhshrink: lambda module: _elementwise(nn.Tanhshrink, (), ()),
    nn.Softsign: lambda module: _elementwise(nn.Softsign, (), (0.0,)),
    nn.SELU: lambda module: _elementwise(nn.SELU, (), (0.0,)),
    nn.CELU: lambda module: _elementwise(nn.CELU, (module.alpha,), (0.0,)),
    nn.ReLU6: lambda module: _elementwise(nn.ReLU6, (), (0.0, 6.0)),
    nn.Hardsigmoid: lambda module: _elementwise(nn.Hardsigmoid, (), (-3.0, 3.0)),
    nn.Hardtanh: lambda module: _elementwise(
        nn.Hardtanh, (module.min_val, module.max_val), (module.min_val, module.max_val)
    ),
    nn.Softplus: lambda module: (
        activations.Softplus()
        if (module.beta, module.threshold) == (1, 20)
        else _elementwise(nn.Softplus, (module.beta, module.threshold), ())
    ),
}


def _activation(module: nn.Module, place: Place) -> Found:
    return Found((_PLAIN[type(module)](module),))


for _kind in _PLAIN:
    translated.register(_kind, _activation)


# Factors


def scaled(factor: float) -> Found:
    """Multiplication by a number."""
    return Found((Scale(factor or 1.0),) if factor != 1.0 and factor != 0.0 else (), factor == 0.0)
