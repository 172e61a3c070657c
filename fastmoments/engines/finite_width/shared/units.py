"""What the theories read off a net that they cover (`run.kind`): its stem, its residual units, its layers."""

from __future__ import annotations

from collections.abc import Iterable

from ....nets.layers import Layer
from ....nets.linear import Conv
from ....nets.network import Network, Residual


def convolutions(layers: Iterable[Layer]) -> list[Conv]:
    """Those of a stack that are a Conv, in order."""
    return [layer for layer in layers if isinstance(layer, Conv)]


def stem_of(network: Network) -> Conv | None:
    """The Conv before the units, if there is one."""
    return next(iter(convolutions(network.stem)), None)


def residual_of(unit: tuple[Layer, ...]) -> Residual | None:
    """The skip of a unit, if it has one."""
    return unit[0] if isinstance(unit[0], Residual) else None


def layers_of(unit: tuple[Layer, ...]) -> tuple[Layer, ...]:
    """The layers of a unit, of a residual one those of its branch."""
    residual = residual_of(unit)
    return unit if residual is None else residual.branch
