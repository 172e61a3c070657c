"""The noise on the images: white, of mean square 1, and of every net a draw of its own."""

from __future__ import annotations

from typing import TypeVar

import numpy as np

from ....maps.convolution import convolve_diagonal
from ....nets.linear import Conv

Inputs = TypeVar("Inputs", float, np.ndarray)


def draw_variance(inputs: Inputs) -> Inputs:
    """Variance over draws of the logarithm of the mean square of the noise on so many inputs."""
    return 2.0 / inputs


def inputs_seen(images: tuple[int, ...], conv: Conv, later: np.ndarray | None = None) -> np.ndarray:
    """Number of inputs whose plain mean square varies as much as one that the layers weigh.

    Strides and borders let a layer see some pixels more often than others: (sum w)^2 / sum w^2 of the weights
    w of all inputs, at most their number.

    Parameters
    ----------
    images : (n, h, w, c)
    conv : Conv
        Of the images.
    later : shape (..., positions), optional
        Weights of its positions in what is seen of them later; alike if left out.

    Returns
    -------
    ndarray, shape (...)
    """
    count, _, _, channels = images
    seen = _seen(images, conv)
    weights = seen.sum(0) if later is None else later @ seen
    return count * channels * weights.sum(-1) ** 2 / np.sum(weights**2, -1)


def level_covariance(images: tuple[int, ...], conv: Conv) -> np.ndarray:
    """Covariance over draws of the variances of the noise behind a convolution, (positions, positions)."""
    seen = conv.weights.gain * _seen(images, conv)
    return draw_variance(float(images[3])) * seen @ seen.T


def _seen(images: tuple[int, ...], conv: Conv) -> np.ndarray:
    """Share of every pixel in the variance at every position, shape (positions, pixels)."""
    _, height, width, _ = images
    pixels = np.eye(height * width)
    return np.stack([convolve_diagonal(pixel, (1, height, width), conv) for pixel in pixels], axis=1)
