"""Sums over layers and curves over depth, evaluated at a few places and interpolated between them."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
from numpy.typing import ArrayLike
from scipy.interpolate import PchipInterpolator

#: Layers, towards either end of a sum, that are evaluated. With 12 the sums err by less than 1e-3.
EVALUATED = 12


#: Depths at which the backward pass is made.
NODES = 16


class LayerSum:
    """A sum over the layers up to a depth, evaluated at some of them and interpolated in between.

    Parameters
    ----------
    depth : int
        L.
    layers : iterable of int
        Of 1 to L, at which it is evaluated; both ends among them.
    """

    def __init__(self, depth: int, layers: Iterable[int]) -> None:
        self.depth, self.layers = depth, frozenset(layers)
        self._found: dict[int, np.ndarray] = {}

    def add(self, layer: int, values: ArrayLike) -> None:
        """What this layer contributes, shape (k,)."""
        self._found[layer] = np.asarray(values)

    def total(self) -> np.ndarray:
        """The sum, shape (k,)."""
        layers = sorted(self._found)
        values = np.array([self._found[layer] for layer in layers])
        if len(layers) < self.depth:
            values = PchipInterpolator(layers, values)(np.arange(1, self.depth + 1))
        return values.sum(0)


def layers_towards_both_ends(depth: int, most: int = EVALUATED) -> set[int]:
    """At most `most` layers from either end of 1 to `depth`, evenly in the logarithm of the distance."""
    steps = np.unique(np.round(np.geomspace(1, max((depth + 1) // 2, 1), most)).astype(int)).tolist()
    return {*steps, *(depth + 1 - step for step in steps)}


def backward_depths(depths: frozenset[int], most: int = NODES) -> list[int]:
    """Depths of the adjoint pass: about evenly spaced in the logarithm, 0 and both ends included."""
    wanted = sorted(depths)
    if len(wanted) > most:
        places = np.unique(np.round(np.geomspace(1, max(wanted), most)).astype(int)).tolist()
    else:
        places = sorted({*wanted, *(max(depth - 1, 0) for depth in wanted)})
        if len(places) > most:
            places = wanted
    return sorted({0, *places})


def interpolated_between(
    depths: list[int], found: list[dict[str, float]]
) -> Callable[[int], dict[str, float]]:
    """A function of depth that gives the numbers in `found`, between whose depths they are interpolated."""
    if len(depths) == 1:
        return lambda depth: found[0]
    curves = {name: PchipInterpolator(depths, [each[name] for each in found]) for name in found[0]}
    return lambda depth: {name: float(curve(depth)) for name, curve in curves.items()}
