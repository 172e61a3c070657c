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
    count, height, width, channels = images
    pixels = np.eye(height * width)
    share = np.stack([convolve_diagonal(pixel, (1, height, width), conv) for pixel in pixels])
    weights = share.sum(1) if later is None else later @ share.T
    return count * channels * weights.sum(-1) ** 2 / np.sum(weights**2, -1)
