"""Deviations of functionals of a deep covariance: a backward pass of linear noise.

Every layer of N channels adds sampling noise to the covariance K of the next. To leading order a functional
F of K behind layer L varies by what each noise, carried through the later layers, does to it,

    Var F = (1/N) sum_l Var_y[phi(y)' G^l phi(y)],    y ~ N(0, K^(l-1)),

where G^L is the gradient of F, and G^(l-1) that of E[phi' G^l phi] by K^(l-1), all at infinite width.
Layers behind another have fresh channels, so that their noises are independent.

To carry a gradient back takes M^2 operations, a variance M^3. What a layer adds changes slowly with it,
so that it is evaluated at some of them (`LayerSum`). All depths go back together: a covariance is looked at
once, and nothing is kept of it.
"""

from __future__ import annotations

from collections.abc import Generator

import numpy as np
from scipy.interpolate import PchipInterpolator

from .chaos import Contracted, Field, linear_form, mask_form, pulled_back, rectified_form, square_form
from .places import FUNCTIONALS, functionals

#: Layers, towards either end of a sum, that are evaluated. With 12 the sums err by less than 1e-3.
EVALUATED = 12


class LayerSum:
    """A sum over the layers up to a depth, evaluated at some of them and interpolated in between.

    Parameters
    ----------
    depth : int
        L.
    layers : iterable of int
        Of 1 to L, at which it is evaluated; both ends among them.
    """

    def __init__(self, depth: int, layers):
        self.depth, self.layers = depth, frozenset(layers)
        self._found: dict[int, np.ndarray] = {}

    def add(self, layer: int, values) -> None:
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


def deviations(
    covariances: list[np.ndarray], overlaps: list[float], depths: list[int], width: int,
    first: np.ndarray | None = None,
) -> Generator[tuple, None, list[dict[str, float]]]:  # fmt: skip
    """Carry gradients back through rectified layers, and a linear one before them.

    Parameters
    ----------
    covariances : list of ndarray, shape (M, M)
        Of the Gaussian field in each rectified layer, in order, and behind the last of them.
    overlaps : list of float
        Squared correlation of signal and noise before each of them.
    depths : list of int
        Behind how many rectified layers deviations are wanted.
    width : int
    first : shape (M, M), optional
        Covariance in a linear layer before the first of them.

    Yields
    ------
    layer, None, None
        On its way.

    Returns
    -------
    list of dict
        For each depth the variances of the `functionals`, by name, and "shared", the covariance of log mu2 of
        the signal with that of the noise.
    """
    forms: dict[int, np.ndarray] = {}
    sums = {depth: LayerSum(depth, layers_towards_both_ends(depth)) for depth in depths}
    even = np.full(len(covariances[0]), 1.0 / len(covariances[0]))
    for layer in range(max(depths), 0, -1):
        yield layer, None, None
        if layer in sums:
            forms[layer] = functionals(covariances[layer])
        field = Field.of(covariances[layer - 1])
        # The noise is multiplied by the masks, and a share a^2 of it is the signal's own direction.
        own = overlaps[layer - 1]
        noise = (1.0 - own) * mask_form(even, field) + own * square_form(even / field.roots**2, field)
        for depth, form in forms.items():
            if layer in sums[depth].layers:
                chaos = rectified_form(form, field)
                seen = Contracted.of(chaos, field.covariance)
                sums[depth].add(layer, [*seen.covariance(seen), noise.covariance(seen[0])])
                forms[depth] = chaos.gradient
            else:
                forms[depth] = pulled_back(form, field)
    if 0 in sums:
        forms[0] = functionals(covariances[0])
    found = []
    for depth in depths:
        total = sums[depth].total() if depth else np.zeros(len(FUNCTIONALS) + 1)
        if first is not None:
            total[:-1] += linear_form(forms[depth]).variance(first)
        found.append(dict(zip((*FUNCTIONALS, "shared"), (total / width).tolist(), strict=True)))
    return found
