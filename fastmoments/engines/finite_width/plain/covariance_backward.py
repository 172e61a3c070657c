"""Variances of functionals of a deep covariance: backward pass of its gradient through the layers.

Every layer of N channels adds sampling noise to the covariance K of the next. To leading order a functional
F of K after layer L varies by what each noise, carried through the later layers, does to it,

    Var F = (1/N) sum_l Var_y[phi(y)' G^l phi(y)],    y ~ N(0, K^(l-1)),

where G^L is the gradient of F, and G^(l-1) that of E[phi' G^l phi] by K^(l-1), all at infinite width.
Layers after another have fresh channels, so that their noises are independent.

To carry a gradient back takes M^2 operations, a variance M^3. What a layer adds changes slowly with it,
so that it is evaluated at some of them (`LayerSum`). All depths go back together: a covariance is looked at
once, and nothing is kept of it.
"""

from __future__ import annotations

from collections.abc import Generator

import numpy as np

from ..shared.depth_interpolation import LayerSum, layers_towards_both_ends
from ..shared.hermite_forms import (
    ContractedForm,
    GaussianField,
    linear_form,
    mask_form,
    pulled_back,
    rectified_form,
    square_form,
)
from ..shared.lognormal import Passing
from .functionals import FUNCTIONALS, functionals


def deviations(
    covariances: list[np.ndarray], alignments: list[float], depths: list[int], width: int,
    first: np.ndarray | None = None,
) -> Generator[Passing, None, list[dict[str, float]]]:  # fmt: skip
    """Carry gradients back through rectified layers, and a linear one before them.

    Parameters
    ----------
    covariances : list of ndarray, shape (M, M)
        Of the Gaussian field in each rectified layer, in order, and after the last of them.
    alignments : list of float
        Squared correlation of signal and noise before each of them.
    depths : list of int
        After how many rectified layers deviations are wanted.
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
        field = GaussianField.of(covariances[layer - 1])
        # The noise is multiplied by the masks, and a share a^2 of it is the signal's own direction.
        own = alignments[layer - 1]
        noise = (1.0 - own) * mask_form(even, field) + own * square_form(even / field.roots**2, field)
        for depth, form in forms.items():
            if layer in sums[depth].layers:
                expansion = rectified_form(form, field)
                seen = ContractedForm.of(expansion, field.covariance)
                sums[depth].add(layer, [*seen.covariance(seen), noise.covariance(seen[0])])
                forms[depth] = expansion.gradient
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
