"""What the theories are asked, and what they read off a net that they cover (`run.kind`)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from ....nets.layers import Layer
from ....nets.linear import Conv
from ....nets.network import Network, Residual
from ..closures import CLOSURES, Closures


class Task(NamedTuple):
    """One batch of images through one net.

    Attributes
    ----------
    network : Network
        Units of one kind (`run.kind`).
    images : ndarray, shape (n, features) or (n, h, w, c)
        The latter of nets with convolutions.
    width : int
    depths : frozenset of int
        Where stations are wanted.
    log_input : float
        Logarithm of mu2 of the images, which normalises chi.
    closures : Closures
        What the theory assumes where it derives nothing.
    """

    network: Network
    images: np.ndarray
    width: int
    depths: frozenset[int]
    log_input: float
    closures: Closures = CLOSURES


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
