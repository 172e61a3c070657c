"""Functionals of the covariance of a convolutional plain net: gradients, and their way back through a layer.

Points are (image, position), and a few images stand for the batch: pairs of images have shares.
"""

from __future__ import annotations

import numpy as np
from scipy.linalg import eigh

from ....nets.linear import Conv
from ..plain.functionals import rank_gradient
from ..shared.matrices import centred


def gradients(covariance: np.ndarray, share: np.ndarray) -> np.ndarray:
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


def sampled_variance(covariance: np.ndarray, share: np.ndarray) -> float:
    """Variance of log mu2, times the width, of Gaussian channels of this covariance."""
    points, images = len(covariance), len(share)
    sums = share @ covariance.reshape(images, -1, points).sum(1)
    product = covariance / points - np.repeat(sums, points // images, 0) / points**2
    return 2.0 * float(np.sum(product * product.T)) / float(np.trace(product)) ** 2


def transposed(forms: np.ndarray, grid: tuple[int, int, int], conv: Conv) -> np.ndarray:
    """G <- mean_t S_t' G S_t, S_t the shift by tap t: gradients (k, M, M) before a convolution of gain 1."""
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
