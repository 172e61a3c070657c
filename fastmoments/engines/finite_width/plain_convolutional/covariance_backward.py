"""Variances of mu2 and r_eff of convolutional plain nets: covariance backward pass over positions.

As in `plain.covariance_backward`, with points (image, position), and between two ReLUs the transposed
convolution G <- mean_t S_t' G S_t, S_t the shift by tap t. A few images stand for the
batch. mu2 is a mean over pairs of images,

    mu2 = mean_a K_aa - mean over pairs of images of (mean over positions of K_ab),

in which pairs of one image have the share 1 / batch. A batch of few images would have more coincidences among
the four images that its variance is about: on average over choices 10% of the variance with 4 images for 16
of CIFAR-10 (8 x 8 positions, to depth 20), nothing to be seen with 8. A single choice of 8 scatters by 17%.

What a layer contributes changes slowly with the layer, so that it is evaluated at a few and interpolated,
which errs by less than 1% of a deviation. Covariances are followed forward twice rather than kept: memory
grows as the root of the depth.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator

import numpy as np

from ....covariances.storage import Covariance, NoiseCovariance
from ....maps.activation import activate
from ....maps.convolution import convolve
from ....nets.activations import ReLU
from ....nets.linear import Conv
from ..shared.depth_interpolation import LayerSum, layers_towards_both_ends
from ..shared.hermite_forms import (
    ContractedForm,
    GaussianField,
    linear_form,
    mask_form,
    pulled_back,
    rectified_form,
)
from ..shared.lognormal import Passing
from .functionals import gradients, sampled_variance, transposed
from .representation import Representation, walked_backwards

#: Layers towards either end at which the contribution to one deviation is evaluated. What the last ones
#: sample no convolution has averaged: most of the deviation of r_eff where borders hold it.
EVALUATED = 6


def deviations(
    standing: Representation,
    convs: list[Conv],
    masks: Callable[[int, int], np.ndarray],
    nodes: list[int],
) -> Generator[Passing, None, list[dict[str, float]]]:
    """Variances, times the width, at the activations of some depths.

    Parameters
    ----------
    standing : Representation
        Of the batch, behind the stem.
    convs : list of Conv
        All of stride 1; a ReLU follows each.
    masks : callable
        Of layer and depth: the shares of the points (points,) in mu2 of the noise at that depth, before
        the ReLU of that layer.
    nodes : list of int
        Depths; 0 is after the stem.

    Yields
    ------
    layer, None, None
        On its way.

    Returns
    -------
    list of dict
        For each depth the variances of "log_mu2_signal" and of "reff_signal" (of log (r_eff - 1)), the
        covariance "shared" of log mu2 of signal and noise, and "sampled", what the linear layer in front of
        the ReLU adds to the variance of log mu2 by its own sampling.
    """
    start, share = standing.signal, standing.of_images
    grid, found = standing.grid, {depth: {"shared": 0.0} for depth in nodes}
    sums = {depth: LayerSum(depth, layers_towards_both_ends(depth, EVALUATED)) for depth in nodes}
    forms: dict[int, np.ndarray] = {}
    begun = start.copy()
    begun.log_scale = 0.0
    for before, _, between in walked_backwards(begun, convs, _through):
        if between is None:
            continue
        layer, covariance = before + 1, between.dense()
        yield layer, None, None
        field = GaussianField.of(covariance)
        if layer in sums:
            found[layer]["sampled"] = sampled_variance(covariance, share)
            forms[layer] = gradients(field.rectified(), share)
        for depth, form in forms.items():
            if layer in sums[depth].layers:
                seen = ContractedForm.of(rectified_form(form, field), covariance)
                with_masks = mask_form(masks(layer, depth), field).covariance(seen[0])
                sums[depth].add(layer, [*seen.covariance(seen), with_masks])
            # The gradient by the covariance before the ReLU, then before the convolution in front of it.
            forms[depth] = transposed(pulled_back(form, field), grid, convs[layer - 1])
    behind = start.unscaled()
    if 0 in found:
        forms[0] = gradients(behind, share)
    for depth, form in forms.items():
        mu2, rank = linear_form(form).variance(behind)
        if depth:
            of_mu2, of_rank, found[depth]["shared"] = sums[depth].total()
            mu2, rank = mu2 + of_mu2, rank + of_rank
        else:
            found[0]["sampled"] = mu2
        found[depth] |= {"log_mu2_signal": float(mu2), "reff_signal": float(rank)}
    return [found[depth] for depth in nodes]


def _through(conv: Conv, signal: Covariance) -> tuple[Covariance, Covariance]:
    """Covariance in and after the ReLU of a layer of gain 1, twice the usual one after it."""
    signal = signal.copy()
    noise = NoiseCovariance.white(signal.grid[0], *signal.grid[1:])
    convolve(signal, noise, conv, None)
    signal.log_scale -= math.log(conv.weights.gain)
    before = signal.copy()
    activate(signal, noise, ReLU())
    signal.log_scale += math.log(2.0)
    return before, signal
