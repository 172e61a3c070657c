"""Deviations of functionals of a deep covariance: a backward pass of linear noise.

Every layer of N channels adds sampling noise to the covariance K of the next. To leading order a functional
F of K behind layer L varies by what each noise, carried through the later layers, does to it,

    Var F = (1/N) sum_l Var_y[phi(y)' G^l phi(y)],    y ~ N(0, K^(l-1)),

where G^L is the gradient of F, and G^(l-1) that of E[phi' G^l phi] by K^(l-1), all at infinite width.
Layers behind another have fresh channels, so that their noises are independent.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .chaos import Chaos, Field, linear_form, mask_form, rectified_form
from .log_diffusion import NoiseDiffusion


@dataclass(frozen=True)
class Deviations:
    """What a backward pass finds for a stack of functionals.

    Attributes
    ----------
    variances : shape (k,)
    with_noise : shape (k,)
        Covariance of each with the logarithm of mu2 of the noise.
    """

    variances: np.ndarray
    with_noise: np.ndarray


def deviations(
    forms: np.ndarray, fields: list[Field], noises: list[NoiseDiffusion], width: int, first: np.ndarray | None
) -> Deviations:
    """Carry gradients back through rectified layers, and a linear one before them.

    Parameters
    ----------
    forms : shape (k, M, M)
        Symmetric gradients of the functionals by the covariance behind the last layer.
    fields : list of Field
        The Gaussian field in each rectified layer, in order.
    noises : list of NoiseDiffusion
        Before each of them.
    width : int
    first : shape (M, M) or None
        Covariance in a linear layer before the first of them, if there is one.
    """
    variances, shared = np.zeros(len(forms)), np.zeros(len(forms))
    for field, noise in zip(fields[::-1], noises[::-1], strict=True):
        chaos, covariance = rectified_form(forms, field), field.covariance
        points = len(covariance)
        variances += chaos.covariance(chaos, covariance)
        # The noise is multiplied by the masks, and a share a^2 of it is the signal's own direction.
        share = noise.overlap.first
        masks = mask_form(np.full(points, 1.0 / points), field)
        squares = rectified_form(np.diag(1.0 / (points * np.diag(covariance))), field)
        with_masks = _each(masks, chaos, covariance)
        shared += (1.0 - share) * with_masks + share * _each(squares, chaos, covariance)
        forms = 0.5 * chaos.second
    if first is not None:
        linear = linear_form(forms)
        variances += linear.covariance(linear, first)
    return Deviations(variances / width, shared / width)


def _each(one: Chaos, many: Chaos, covariance: np.ndarray) -> np.ndarray:
    """Covariances of one functional with a stack of them: the stack does the work once."""
    first = many.first @ (covariance @ one.first)
    left = covariance @ one.second @ covariance
    second = np.einsum("kab,ba->k", many.second, left)
    square, crossed = covariance * covariance, covariance * (one.third @ covariance)
    straight = np.einsum("kab,ab->k", many.third, square @ one.third @ covariance)
    # sum_ac K_ac (t K)_ac (t' K)_ca, with t' K expanded.
    turned = np.einsum("kab,ab->k", many.third, crossed.T @ covariance)
    return first + second / 2.0 + (straight / 3.0 + 2.0 * turned / 3.0) / 6.0
