"""Mean and covariance of the output of a given net: one call."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from ...nets.network import Network
from .costs import refuse_too_large
from .dense import Dense
from .field import Field, Stream
from .route import all_layers, passed, weights_of
from .stationary import Stationary

#: Of the largest entry, by which a covariance may differ from its transpose.
ROUNDING = 1e-9


class Propagated(NamedTuple):
    """Moments behind a net.

    Attributes
    ----------
    mean : ndarray, shape (h, w, c), or (c,) of one position
    covariance : ndarray, shape (h, w, c, h, w, c), or (c, c)
        Of the output over inputs.
    noise : ndarray of the same shape
        Covariance that noise on the input has at the output, relative to that of the input.
        Of a stationary field `mean` is (c,) and the covariances are (h, w, c, c), by displacement.
    """

    mean: np.ndarray
    covariance: np.ndarray
    noise: np.ndarray


def propagate(
    network: Network, mean: ArrayLike, covariance: ArrayLike, *, noise: ArrayLike | None = None
) -> Propagated:
    """Mean and covariance of what a given net makes of a Gaussian input, and the covariance of noise.

    Every linear layer is exact, and so is every activation of two slopes if its input is Gaussian; behind the
    first of them that is an assumption, which gets better with the number of summands. Noise is infinitely
    small: its covariance is that of the derivative, averaged over inputs.

    Parameters
    ----------
    network : Network
        With weights: see `sample_weights`.
    mean : array_like, shape (h, w, c), or (features,)
    covariance : array_like, shape (h, w, c, h, w, c), or (features, features)
        Of a field that is the same at all positions of an image without borders `mean` may be (c,) and this
        Cov(x_c(p + d), x_c'(p)) of shape (h, w, c, c), by the displacement d: convolutions are then done by
        FFT, with periodic padding.
    noise : array_like, of the shape of `covariance`, optional
        Covariance of the noise on the input; white of variance 1 if left out.

    Returns
    -------
    Propagated

    Raises
    ------
    ValueError
        In one sentence: if shapes do not fit, the net has no weights, or a layer is not covered; if it takes
        more memory than is free.
    """
    if not isinstance(network, Network):
        raise ValueError(f"network must be a fastmoments Network, not {type(network).__name__}.")
    weights = weights_of(network)
    field = field_of(*_checked(mean, covariance, noise), flat=network.fully_connected)
    refuse_too_large(network, (field.here.grid, field.here.channels), field.storage)
    for _ in passed(all_layers(network), field, weights):
        pass
    return outcome(field)


def field_of(
    mean: np.ndarray, covariance: np.ndarray, noise: np.ndarray | None = None, flat: bool = False
) -> Field:
    """The field of a mean and a covariance, whose shapes say how it is stored; arrays as of `propagate`.

    `flat` makes one position of all.
    """
    noise = _white(mean, covariance) if noise is None else noise
    if _is_stationary(mean, covariance):
        height, width, channels = covariance.shape[:3]
        stored = (
            np.array(block).reshape(height * width, channels, channels) for block in (covariance, noise)
        )
        return Stationary(Stream(mean, (height, width), channels), *stored)
    units = mean.size
    grid = (1, 1) if flat or mean.ndim == 1 else (mean.shape[0], mean.shape[1])
    stored = (np.array(block).reshape(1, units, units) for block in (covariance, noise))
    return Dense(Stream(mean.reshape(units), grid, units // math.prod(grid)), *stored)


def outcome(field: Field) -> Propagated:
    """Mean and covariances of a field in the shapes of `propagate`."""
    stream = field.here
    if isinstance(field, Stationary):
        matrices = (*stream.grid, stream.channels, stream.channels)
        return Propagated(stream.mean, *(block.reshape(matrices) for block in field.own))
    shape: tuple[int, ...] = (stream.channels,) if stream.grid == (1, 1) else (*stream.grid, stream.channels)
    return Propagated(stream.mean.reshape(shape), *(block.reshape(*shape, *shape) for block in field.own))


def _is_stationary(mean: np.ndarray, covariance: np.ndarray) -> bool:
    return mean.ndim == 1 and covariance.ndim == 4


def _white(mean: np.ndarray, covariance: np.ndarray) -> np.ndarray:
    """Noise of variance 1, uncorrelated."""
    if not _is_stationary(mean, covariance):
        return np.eye(mean.size).reshape(covariance.shape)
    found = np.zeros(covariance.shape)
    found[0, 0] = np.eye(mean.size)
    return found


def _checked(
    mean: ArrayLike, covariance: ArrayLike, noise: ArrayLike | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """The arguments as arrays whose shapes fit."""
    centre = _numbers("mean", mean)
    if centre.ndim not in (1, 3) or not centre.size:
        raise ValueError(f"mean must be of shape (h, w, c) or (features,), not {centre.shape}.")
    return centre, covariance_for(centre, "covariance", covariance), (
        None if noise is None else covariance_for(centre, "noise", noise, np.ndim(covariance))
    )  # fmt: skip


def covariance_for(mean: np.ndarray, name: str, given: ArrayLike, axes: int | None = None) -> np.ndarray:
    """A covariance that fits a mean.

    Raises
    ------
    ValueError
        If it does not, is not symmetric, or has a negative variance.
    """
    block = _numbers(name, given)
    full = (*mean.shape, *mean.shape)
    stationary = mean.ndim == 1 and block.ndim == 4 and block.shape[2:] == full
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
