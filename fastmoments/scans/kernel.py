"""The kernel of a net at infinite width: covariance of its outputs, or neural tangent kernel."""

from __future__ import annotations

import math
from typing import Literal, NamedTuple, overload

import numpy as np
from numpy.typing import ArrayLike

from ..covariances.scales import log
from ..images.batches import Batch
from ..images.sources import Images, as_images
from ..nets.network import Network
from ..validation import one_of, truth
from .scanning import checked_network, checked_threads, limited_threads

#: What `kernel` computes: the covariance of the signal, as of a Gaussian process, or the tangent kernel.
KINDS = ("nngp", "ntk")

#: Logarithms of the smallest number of full precision, and of the largest but for what rounding may add.
_SMALLEST, _LARGEST = math.log(np.finfo(np.float64).tiny), math.log(np.finfo(np.float64).max) - 1e-9


class ScaledKernel(NamedTuple):
    """A kernel that no depth makes overflow: ``exp(log_scale)`` times `covariance`.

    Attributes
    ----------
    covariance : ndarray of float64, shape (n, h, w, n, h, w)
        With a diagonal of mean 1.
    log_scale : float
        Natural logarithm of the mean of the kernel's diagonal; -inf if all of the kernel is 0.
    """

    covariance: np.ndarray
    log_scale: float


@overload
def kernel(
    network: Network, images: Images | ArrayLike, *, kind: str = KINDS[0], normalise: bool = True,
    threads: int | None = None, log_scale: Literal[False] = False,
) -> np.ndarray: ...  # fmt: skip
@overload
def kernel(
    network: Network, images: Images | ArrayLike, *, kind: str = KINDS[0], normalise: bool = True,
    threads: int | None = None, log_scale: Literal[True],
) -> ScaledKernel: ...  # fmt: skip
def kernel(
    network: Network, images: Images | ArrayLike, *, kind: str = KINDS[0], normalise: bool = True,
    threads: int | None = None, log_scale: bool = False,
) -> np.ndarray | ScaledKernel:  # fmt: skip
    """Kernel of the signal behind the last layer, at infinite width: its covariance, or its tangent kernel.

    Parameters
    ----------
    network, images, normalise, threads
        As for `scan`.
    kind : {"nngp", "ntk"}
        "nngp": K_pq, second moments over channels. "ntk": the neural tangent kernel
        Theta_pq = sum over w of df_p/dw df_q/dw, f one channel and w all standard Gaussians: weights are
        sqrt(gain / fan in) w, biases sqrt(bias_variance) w (the "ntk" parametrisation of neural-tangents).
        Factors, and the gamma and beta of norms, do not learn. The mean that a BatchNorm takes off
        moves with the weights.
    log_scale : bool
        Give the scale apart, as a logarithm: a net that is deep enough leaves the range of float64.

    Returns
    -------
    ndarray of float64, shape (n, h, w, n, h, w)
        Between all pairs of points; h = w = 1 of a fully connected net, and behind Flatten or GlobalAvgPool.
        With `log_scale` the pair (covariance, log_scale) of a `ScaledKernel`, whose diagonal has the mean 1.

    Raises
    ------
    ValueError
        As `scan`; if `kind` is unknown; or, of "ntk", if a layer has no formula: BatchNorm by the statistics
        of a finite batch, an activation behind a merge, what is drawn.
    OverflowError
        If the kernel is larger, or all of it smaller, than float64 holds, and `log_scale` is False.
    """
    from ..engines.infinite_width.walk import InfiniteWidthWalk

    checked_network(network)
    truth("log_scale", log_scale)
    tangent = one_of("kind", kind, KINDS) == "ntk"
    batch = Batch(as_images(images).array, truth("normalise", normalise), network.fully_connected)
    with limited_threads(checked_threads(threads)):
        state = InfiniteWidthWalk(network, batch.values, tangent=tangent).final_state()
    if tangent:
        state.noise.join()
        full, scale = state.noise.blocks[0], state.noise.log_scale
        if scale == -math.inf:
            full = np.zeros_like(full)
    else:
        full, scale = state.covariance.unscaled(), state.covariance.log_scale
    diagonal = np.diagonal(full)
    shape = (batch.shape[0], *state.noise.grid)
    full, mean = full.reshape(*shape, *shape), float(np.mean(diagonal))
    log_mean = log(mean) + scale
    if log_scale:
        return ScaledKernel(full / (mean or 1.0), log_mean)
    largest = log(float(np.max(diagonal))) + scale  # of the diagonal, and so of all
    if not _SMALLEST <= largest <= _LARGEST and mean:
        said = "larger" if largest > _LARGEST else "smaller"
        raise OverflowError(
            f"The kernel is {said} than float64 holds: its diagonal has a mean of exp({log_mean:.6g}); call "
            "kernel(..., log_scale=True), which gives the scale apart as a logarithm."
        )
    root = math.exp(0.5 * scale)  # of the scale, which may be too large where the kernel is not
    return full * root * root
