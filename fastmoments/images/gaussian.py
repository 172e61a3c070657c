"""Images that are not given one by one but as a Gaussian law: a mean and a covariance."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from .sources import Images

#: Of the largest entry, by which a covariance may differ from its transpose.
ROUNDING = 1e-9
#: What `Images.source` says.
SOURCE = "gaussian"


def gaussian_images(mean: ArrayLike, covariance: ArrayLike) -> Images:
    """Gaussian images of a mean and covariance, for `GivenNetwork`; they are taken as they are.

    Parameters
    ----------
    mean : array_like, shape (h, w, c), or (features,)
    covariance : array_like, shape (h, w, c, h, w, c), or (features, features)
        Of a field that is the same at all positions of an image without borders `mean` may be (c,) and this
        Cov(x_c(p + d), x_c'(p)) of shape (h, w, c, c), by the displacement d.

    Returns
    -------
    Images
        Its `array` is the mean, as one image.

    Raises
    ------
    ValueError
        If they are not finite, do not fit, or the covariance is not symmetric or has negative variances.
    """
    centre, block = checked_law(mean, covariance)
    if is_stationary(centre, block):
        array = np.broadcast_to(centre, (1, *block.shape[:2], centre.size)).copy()
    else:
        array = centre.reshape(1, *(centre.shape if centre.ndim == 3 else (1, 1, centre.size)))
    return Images(array, SOURCE, None, covariance=block)


def is_stationary(mean: np.ndarray, covariance: np.ndarray) -> bool:
    """Whether a covariance is by displacement."""
    return mean.ndim == 1 and covariance.ndim == 4


def checked_law(mean: ArrayLike, covariance: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Mean and covariance as arrays that fit, in the shapes of `gaussian_images`.

    Raises
    ------
    ValueError
        As there.
    """
    centre = _numbers("mean", mean)
    if centre.ndim not in (1, 3) or not centre.size:
        raise ValueError(f"mean must be of shape (h, w, c) or (features,), not {centre.shape}.")
    return centre, checked_covariance(centre, "covariance", covariance)


def checked_covariance(mean: np.ndarray, name: str, given: ArrayLike, axes: int | None = None) -> np.ndarray:
    """A covariance that fits a mean, and has so many axes if that is said.

    Raises
    ------
    ValueError
        If it does not, is not symmetric, or has a negative variance.
    """
    block = _numbers(name, given)
    full = (*mean.shape, *mean.shape)
    stationary = is_stationary(mean, block) and block.shape[2:] == full
    if not (stationary or block.shape == full) or axes not in (None, block.ndim):
        also = f" or (h, w, {mean.size}, {mean.size})" if mean.ndim == 1 else ""
        raise ValueError(f"{name} must be of shape {full}{also}, not {block.shape}.")
    if stationary:
        height, width = block.shape[:2]
        there = block[-np.arange(height) % height][:, -np.arange(width) % width].swapaxes(2, 3)
        matrix = block[0, 0]
        defect = float(np.abs(block - there).max())
    else:
        matrix = block.reshape(mean.size, mean.size)
        defect = float(np.abs(matrix - matrix.T).max())
    if defect > ROUNDING * float(np.abs(block).max()):
        raise ValueError(f"{name} must be symmetric; it differs from its transpose by {defect:.3g}.")
    least = float(np.diagonal(matrix).min())
    if least < 0.0:
        raise ValueError(f"{name} must have no negative variances; it has {least:.3g}.")
    return block


def _numbers(name: str, given: ArrayLike) -> np.ndarray:
    try:
        array = np.array(given, np.float64)
    except (TypeError, ValueError):
        raise ValueError(f"{name} must be an array of numbers, not {type(given).__name__}.") from None
    if not np.isfinite(array).all():
        raise ValueError(f"{name} must be finite.")
    return array
