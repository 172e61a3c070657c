"""Variances of functionals of the covariance in plain nets with skips: backward pass through the units.

The first ReLU of a branch samples the very channels of the shortcut. From those of a unit to those of the one
before, order n of a Hermite expansion fades by (1 - w)^(n / 2), w the share of the branch in the sum, so that
the sum of what all later units made of these channels is carried along as one expansion: exact.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from ..shared.depth_interpolation import EVALUATED, LayerSum, layers_towards_both_ends
from ..shared.hermite_forms import (
    ContractedForm,
    GaussianField,
    HermiteForm,
    PointwiseForm,
    linear_form,
    mask_form,
    rectified_form,
)
from ..shared.lognormal import Passing
from .functionals import FUNCTIONALS, functionals


def _unchanged(values: np.ndarray) -> np.ndarray:
    return values


@dataclass(frozen=True)
class BranchLayer:
    """A ReLU of a branch and the linear layer behind it.

    Attributes
    ----------
    field : GaussianField
        In the ReLU.
    level : shape (M,)
        Variances of the noise there.
    transposed : callable
        Of gradients (k, M, M) behind the linear layer: those before it.
    shared_back : callable
        Likewise of weights (M,) of the noise's variances.
    """

    field: GaussianField
    level: np.ndarray
    transposed: Callable[[np.ndarray], np.ndarray] = _unchanged
    shared_back: Callable[[np.ndarray], np.ndarray] = _unchanged


@dataclass(frozen=True)
class Place:
    """Where channels persist: before a unit, or behind the last.

    Attributes
    ----------
    kernel : shape (M, M)
        Of the channels.
    level : shape (M,)
        Variances of the noise on them.
    share : float
        Of the branch in the sum that the unit makes; all in units of the growth.
    layers : list of BranchLayer
        Of the branch; empty behind the last unit.
    """

    kernel: np.ndarray
    level: np.ndarray
    share: float = 0.0
    layers: list[BranchLayer] = field(default_factory=list)

    @classmethod
    def fully_connected(cls, kernel: np.ndarray, beta: float = 0.0, layers: int = 0) -> Place:
        """Before a unit of so many layers, whose branch has the gain beta."""
        even, fields, inner = np.ones(len(kernel)), [], kernel
        for _ in range(layers):
            fields.append(GaussianField.of(inner))
            inner = fields[-1].rectified()
        return cls(kernel, even, beta / (1.0 + beta), [BranchLayer(each, even) for each in fields])


def deviations(
    places: Iterator[tuple[int, Place]], merges: list[int], acts: list[int], width: int,
    functionals: Callable[[np.ndarray], np.ndarray] = functionals, names: Sequence[str] = FUNCTIONALS,
    evaluated: int = EVALUATED,
) -> Generator[Passing, None, tuple[list[dict[str, float]], list[dict[str, float]]]]:  # fmt: skip
    """Carry gradients back through residual units.

    Parameters
    ----------
    places : iterator of (int, Place)
        Units before each, from the last that is wanted to 0.
    merges, acts : list of int
        After how many units, and after the first ReLU of which units, deviations are wanted.
    width : int
    functionals : callable
        Of a covariance: the gradients (k, M, M) of what deviates.
    names : sequence of str
        Theirs.
    evaluated : int
        Units towards either end of which the contribution is evaluated.

    Yields
    ------
    unit, None, None
        On its way.

    Returns
    -------
    merges, acts : list of dict
        As of `covariance_backward.deviations`.
    """
    walks: dict[tuple[str, int], _Walk] = {}
    for unit, place in places:
        yield unit, None, None
        for walk in walks.values():
            walk.through(unit + 1, place)
        if unit + 1 in acts:
            first = place.layers[0]
            sums = LayerSum(unit, layers_towards_both_ends(unit, evaluated))
            walks["act", unit + 1] = _Walk.from_relu(functionals(first.field.rectified()), first, sums)
        if unit in merges:
            sums = LayerSum(unit, layers_towards_both_ends(unit, evaluated))
            walks["merge", unit] = _Walk.from_merge(functionals(place.kernel), place, sums)
    return (
        [walks["merge", depth].found(names, width) for depth in merges],
        [walks["act", depth].found(names, width) for depth in acts],
    )


@dataclass
class _Walk:
    """Functionals on their way back from one place.

    Attributes
    ----------
    forms : shape (k, M, M)
        Their gradients by the covariance of the channels.
    weights : shape (M,)
        Of the noise's variances in its mu2 where they start; of sum 1 with these variances.
    later, masks : HermiteForm, PointwiseForm
        What later units made of these channels, and of the noise on them.
    own : shape (k + 1,)
        Variances, and the covariance with the noise, that arose where they start.
    sums : LayerSum
        Of the units before.
    """

    forms: np.ndarray
    weights: np.ndarray
    later: HermiteForm
    masks: PointwiseForm
    own: np.ndarray
    sums: LayerSum

    @classmethod
    def from_merge(cls, forms: np.ndarray, place: Place, sums: LayerSum) -> _Walk:
        """After a unit, where channels are Gaussian."""
        later, nothing = linear_form(forms), np.zeros(len(place.kernel))
        own = np.append(later.variance(place.kernel), 0.0)
        masks = PointwiseForm(nothing, nothing, nothing)
        return cls(forms, nothing + 1.0 / place.level.sum(), later, masks, own, sums)

    @classmethod
    def from_relu(cls, forms: np.ndarray, layer: BranchLayer, sums: LayerSum) -> _Walk:
        """After the first ReLU of a unit."""
        field, weights = layer.field, np.full(len(layer.level), 1.0 / layer.level.sum())
        later, masks = rectified_form(forms, field), mask_form(weights * layer.level, field)
        seen = ContractedForm.of(later, field.covariance)
        own = np.append(seen.covariance(seen), masks.covariance(seen[0]))
        return cls(later.gradient, weights, later, masks, own, sums)

    def through(self, unit: int, place: Place) -> None:
        """Back through a unit."""
        evaluated, share = unit in self.sums.layers, place.share
        fade = math.sqrt(1.0 - share)
        later, masks = self.later, self.masks.faded(fade)
        later.fade(fade)
        last = place.layers[-1]
        branch, weights = last.transposed(share * self.forms), last.shared_back(share * self.weights)
        added = np.zeros(len(self.forms) + 1)
        for layer, before in zip(place.layers[:0:-1], place.layers[-2::-1], strict=True):
            field = layer.field
            expansion = rectified_form(branch, field)
            if evaluated:
                seen = ContractedForm.of(expansion, field.covariance)
                added[:-1] += seen.covariance(seen)
                added[-1] += mask_form(weights * layer.level, field).covariance(seen[0])
            branch, weights = before.transposed(expansion.gradient), before.shared_back(weights)
        field = place.layers[0].field
        expansion, mask = rectified_form(branch, field), mask_form(weights * place.level, field)
        if evaluated:
            # Var(expansion) + 2 Cov(expansion, later), and all covariances of these two with mask and masks,
            # but that of later with masks.
            seen = ContractedForm.of(expansion, field.covariance)
            with_later = ContractedForm.of(expansion + later + later, field.covariance)
            added[:-1] += seen.covariance(with_later)
            added[-1] += 0.5 * (mask.covariance(with_later[0]) + mask.covariance(seen[0]))
            added[-1] += masks.covariance(seen[0])
            self.sums.add(unit, added)
        later.add(expansion)
        self.masks = masks + mask
        self.forms = (1.0 - share) * self.forms + expansion.gradient
        self.weights = (1.0 - share) * self.weights + weights

    def found(self, names: Sequence[str], width: int) -> dict[str, float]:
        """Variances at the beginning of the net, by name, and "shared"."""
        total = self.own + (self.sums.total() if self.sums.depth else 0.0)
        return dict(zip((*names, "shared"), (total / width).tolist(), strict=True))
