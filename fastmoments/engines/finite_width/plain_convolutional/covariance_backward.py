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
from collections.abc import Callable, Generator, Iterator

import numpy as np
from scipy.linalg import eigh

from ....covariances.storage import Covariance, NoiseCovariance
from ....maps.activation import activate
from ....maps.convolution import convolve
from ....nets.activations import ReLU
from ....nets.linear import Conv
from ..plain.functionals import rank_gradient
from ..shared.depth_interpolation import LayerSum
from ..shared.hermite_forms import (
    ContractedForm,
    GaussianField,
    linear_form,
    mask_form,
    pulled_back,
    rectified_form,
)
from ..shared.lognormal import Passing
from ..shared.matrices import centred

#: Layers at which the contribution to one deviation is evaluated.
EVALUATED = 6


def deviations(
    start: Covariance,
    convs: list[Conv],
    share: np.ndarray,
    masks: Callable[[int, int], np.ndarray],
    nodes: list[int],
) -> Generator[Passing, None, list[dict[str, float]]]:
    """Variances, times the width, at the activations of some depths.

    Parameters
    ----------
    start : Covariance
        After the stem.
    convs : list of Conv
        All of stride 1; a ReLU follows each.
    share : shape (images, images)
        Of pairs of images in a mean over pairs, of mean 1.
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
    grid, found = start.grid, {depth: {"shared": 0.0} for depth in nodes}
    sums = {depth: LayerSum(depth, _evaluated(depth)) for depth in nodes}
    forms: dict[int, np.ndarray] = {}
    for layer, covariance in _fields_backwards(start, convs):
        yield layer, None, None
        field = GaussianField.of(covariance)
        if layer in sums:
            found[layer]["sampled"] = _sampled(covariance, share)
            forms[layer] = _gradients(field.rectified(), share)
        for depth, form in forms.items():
            if layer in sums[depth].layers:
                seen = ContractedForm.of(rectified_form(form, field), covariance)
                with_masks = mask_form(masks(layer, depth), field).covariance(seen[0])
                sums[depth].add(layer, [*seen.covariance(seen), with_masks])
            # The gradient by the covariance before the ReLU, then before the convolution in front of it.
            forms[depth] = _transposed(pulled_back(form, field), grid, convs[layer - 1])
    behind = start.unscaled()
    if 0 in found:
        forms[0] = _gradients(behind, share)
    for depth, form in forms.items():
        mu2, rank = linear_form(form).variance(behind)
        if depth:
            of_mu2, of_rank, found[depth]["shared"] = sums[depth].total()
            mu2, rank = mu2 + of_mu2, rank + of_rank
        else:
            found[0]["sampled"] = mu2
        found[depth] |= {"log_mu2_signal": float(mu2), "reff_signal": float(rank)}
    return [found[depth] for depth in nodes]


def _evaluated(depth: int) -> set[int]:
    """Layers of which the contribution to a deviation at this depth is evaluated; the first and last are."""
    return set(np.unique(np.round(np.geomspace(1, max(depth, 1), EVALUATED)).astype(int)).tolist())


def _gradients(covariance: np.ndarray, share: np.ndarray) -> np.ndarray:
    """Of log mu2 and log (r_eff - 1) by the covariance, shape (2, M, M)."""
    points, images = len(covariance), len(share)
    positions = points // images
    form = np.repeat(np.repeat(-share / points**2, positions, 0), positions, 1)
    np.einsum("aa->a", form)[...] += 1.0 / points
    inner = centred(covariance)
    value, vector = eigh(inner, subset_by_index=[points - 1, points - 1])
    return np.array(
        [
            form / np.sum(form * covariance),
            rank_gradient(float(np.trace(inner)), float(value[0]), vector[:, 0]),
        ]
    )


def _sampled(covariance: np.ndarray, share: np.ndarray) -> float:
    """Variance of log mu2, times the width, of Gaussian channels of this covariance."""
    points, images = len(covariance), len(share)
    sums = share @ covariance.reshape(images, -1, points).sum(1)
    product = covariance / points - np.repeat(sums, points // images, 0) / points**2
    return 2.0 * float(np.sum(product * product.T)) / float(np.trace(product)) ** 2


def _transposed(forms: np.ndarray, grid: tuple[int, int, int], conv: Conv) -> np.ndarray:
    from ....kernels.adjoint import convolve_transposed

    pad_h, pad_w = (conv.padded_index(side) for side in grid[1:])
    scale = 1.0 / conv.kernel_size**2
    return np.array(
        [
            convolve_transposed(
                form.reshape(*grid, *grid), pad_h, pad_w, conv.dilation, *conv.tap_factors, scale
            ).reshape(form.shape)
            for form in forms
        ]
    )


def _fields_backwards(start: Covariance, convs: list[Conv]) -> Iterator[tuple[int, np.ndarray]]:
    """Yield (layer, covariance in its ReLU), the last first, as if every convolution had the gain 1."""
    step = max(1, math.isqrt(len(convs)))
    marks, signal = [], _unscaled(start)
    for layer, conv in enumerate(convs):
        if layer % step == 0:
            marks.append((layer, signal.copy()))
        signal = _next(signal, conv)[1]
    for first, signal in reversed(marks):
        between = []
        for conv in convs[first : first + step]:
            before, signal = _next(signal, conv)
            between.append(before)
        for layer in range(first + len(between), first, -1):
            yield layer, between.pop().dense()


def _unscaled(signal: Covariance) -> Covariance:
    fresh = signal.copy()
    fresh.log_scale = 0.0
    return fresh


def _next(signal: Covariance, conv: Conv) -> tuple[Covariance, Covariance]:
    """Covariance in and after the ReLU of a layer of gain 1, twice the usual one after it."""
    signal = signal.copy()
    noise = NoiseCovariance.white(signal.grid[0], *signal.grid[1:])
    convolve(signal, noise, conv, None)
    signal.log_scale -= math.log(conv.weights.gain)
    before = signal.copy()
    activate(signal, noise, ReLU())
    signal.log_scale += math.log(2.0)
    return before, signal
