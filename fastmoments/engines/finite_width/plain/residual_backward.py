"""Variances of functionals of the covariance in plain nets with skips: backward pass through the units.

The first ReLU of a branch samples the very channels of the shortcut. From those of a unit to those of the one
before, order n of a Hermite expansion fades by (1 - w)^(n / 2), w the share of the branch in the sum, so that
the sum of what all later units made of these channels is carried along as one expansion: exact.
"""

from __future__ import annotations

import math
from collections.abc import Generator
from dataclasses import dataclass

import numpy as np

from ..shared.depth_interpolation import LayerSum, layers_towards_both_ends
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


def deviations(
    kernels: list[np.ndarray], betas: list[float], layers: list[int], merges: list[int], acts: list[int],
    width: int,
) -> Generator[Passing, None, tuple[list[dict[str, float]], list[dict[str, float]]]]:  # fmt: skip
    """Carry gradients back through residual units.

    Parameters
    ----------
    kernels : list of ndarray, shape (M, M)
        Of the channels before each unit and after the last.
    betas, layers : list
        Of each unit, the gain of its branch and the number of ReLUs in it.
    merges, acts : list of int
        After how many units, and after the first ReLU of which units, deviations are wanted.
    width : int

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
    for unit in range(max(merges), -1, -1):
        yield unit, None, None
        kernel = kernels[unit]
        if unit < max(merges):
            share = betas[unit] / (1.0 + betas[unit])
            fields = [GaussianField.of(kernel)]
            for _ in range(layers[unit] - 1):
                fields.append(GaussianField.of(fields[-1].rectified()))
            for walk in walks.values():
                walk.through(unit + 1, share, fields)
            if unit + 1 in acts:
                walks["act", unit + 1] = _Walk.from_relu(unit + 1, fields[0])
        if unit in merges:
            walks["merge", unit] = _Walk.from_merge(unit, kernel)
    return (
        [walks["merge", depth].found(width) for depth in merges],
        [walks["act", depth].found(width) for depth in acts],
    )


@dataclass
class _Walk:
    """Functionals on their way back from one place.

    Attributes
    ----------
    forms : shape (k, M, M)
        Their gradients by the covariance of the channels.
    later, masks : HermiteForm, PointwiseForm
        What later units made of these channels, and of the noise on them.
    own : shape (k + 1,)
        Variances, and the covariance with the noise, that arose where they start.
    sums : LayerSum
        Of the units before.
    """

    forms: np.ndarray
    later: HermiteForm
    masks: PointwiseForm
    own: np.ndarray
    sums: LayerSum

    @classmethod
    def from_merge(cls, unit: int, kernel: np.ndarray) -> _Walk:
        """After a unit, where channels are Gaussian."""
        forms = functionals(kernel)
        later, nothing = linear_form(forms), np.zeros(len(kernel))
        own = np.append(later.variance(kernel), 0.0)
        masks = PointwiseForm(nothing, nothing, nothing)
        return cls(forms, later, masks, own, LayerSum(unit, layers_towards_both_ends(unit)))

    @classmethod
    def from_relu(cls, unit: int, field: GaussianField) -> _Walk:
        """After the first ReLU of a unit."""
        forms = functionals(field.rectified())
        later, masks = rectified_form(forms, field), mask_form(_even(forms), field)
        seen = ContractedForm.of(later, field.covariance)
        own = np.append(seen.covariance(seen), masks.covariance(seen[0]))
        sums = LayerSum(unit - 1, layers_towards_both_ends(unit - 1))
        return cls(later.gradient, later, masks, own, sums)

    def through(self, unit: int, share: float, fields: list[GaussianField]) -> None:
        """Back through a unit, whose branch has this share of the sum and these fields in its ReLUs."""
        evaluated, even = unit in self.sums.layers, _even(self.forms)
        fade = math.sqrt(1.0 - share)
        later, masks = self.later, self.masks.faded(fade)
        later.fade(fade)
        branch, forms = share * self.forms, (1.0 - share) * self.forms
        added = np.zeros(len(forms) + 1)
        for field in fields[:0:-1]:
            expansion = rectified_form(branch, field)
            if evaluated:
                seen = ContractedForm.of(expansion, field.covariance)
                added[:-1] += seen.covariance(seen)
                added[-1] += share * mask_form(even, field).covariance(seen[0])
            branch = expansion.gradient
        field = fields[0]
        expansion, mask = rectified_form(branch, field), share * mask_form(even, field)
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
        self.forms = forms + expansion.gradient

    def found(self, width: int) -> dict[str, float]:
        """Variances at the beginning of the net, by name, and "shared"."""
        total = self.own + (self.sums.total() if self.sums.depth else 0.0)
        return dict(zip((*FUNCTIONALS, "shared"), (total / width).tolist(), strict=True))


def _even(forms: np.ndarray) -> np.ndarray:
    return np.full(forms.shape[-1], 1.0 / forms.shape[-1])
