"""Mean and covariance of the output of a given net: one call."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from ...images.gaussian import checked_covariance, checked_law, is_stationary
from ...nets.network import Network
from .costs import refuse_too_large
from .dense import Dense
from .field import Field, Stream
from .route import all_layers, passed, weights_of
from .stationary import Stationary


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
    from threadpoolctl import threadpool_limits

    if not isinstance(network, Network):
        raise ValueError(f"network must be a fastmoments Network, not {type(network).__name__}.")
    weights = weights_of(network)
    centre, block = checked_law(mean, covariance)
    around = None if noise is None else checked_covariance(centre, "noise", noise, block.ndim)
    field = field_of(centre, block, around, flat=network.fully_connected)
    refuse_too_large(network, (field.here.grid, field.here.channels), field.storage)
    # Its products are many and small, to which a second thread of BLAS adds only waiting, as in a scan.
    with threadpool_limits(1, user_api="blas"):
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
    if is_stationary(mean, covariance):
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


def _white(mean: np.ndarray, covariance: np.ndarray) -> np.ndarray:
    """Noise of variance 1, uncorrelated."""
    if not is_stationary(mean, covariance):
        return np.eye(mean.size).reshape(covariance.shape)
    found = np.zeros(covariance.shape)
    found[0, 0] = np.eye(mean.size)
    return found
