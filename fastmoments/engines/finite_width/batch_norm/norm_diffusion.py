"""Law of the variances of single points after batch norm at finite width: norms diffuse in depth.

The map of batch norm leaves differences of log S_ii between points nearly as they are, while every layer
adds sampling noise to them: they diffuse, until one point dominates a channel and the symmetry between the
points breaks. Which point it is differs from net to net; the law does not. So the points of the mean
covariance are treated as the quantiles of this law, X = log S_ii, and every layer diffuses it: a diffusion
by the variance v carries the quantiles of a density p along

    dX = - v/2 (log p)'(X),

with p estimated by Gaussian kernels (Silverman's width). The step is stretched so that it adds the
variance v, which makes it exact for Gaussian laws.

With convolutions the norms of single positions are averaged over an image, and those of images diffuse.
"""

from __future__ import annotations

import numpy as np

from ....covariances.storage import Covariance, gather_row_sums, pairs
from ..closures import CLOSURES, Closures
from ..shared.lognormal import normal_quantiles
from ..shared.matrices import image_norms, with_diagonal


def diffused(variances: np.ndarray, fresh: float, closures: Closures = CLOSURES) -> np.ndarray:
    """Variances after a diffusion of the law of their logarithm.

    Parameters
    ----------
    variances : shape (M,)
        In any order.
    fresh : float
        v, the variance that is added to log S_ii.

    Returns
    -------
    ndarray, shape (M,)
        In the same order (the smallest stands where the smallest stood), with the same mean.
    """
    count, mean = variances.size, float(variances.mean())
    if fresh <= 0.0 or count < 2 or mean <= 0.0:
        return variances
    order = np.argsort(variances, kind="stable")
    x = np.log(np.maximum(variances[order], 1e-12 * mean))
    xi = normal_quantiles(count)
    # Points that are all alike, as those of equal images, still diffuse apart.
    width = closures.density_width(count, x.var()) + fresh
    near = np.exp(-0.5 * (x[:, None] - x) ** 2 / width)
    step = x - (near @ x) / near.sum(1) + np.sqrt(fresh) * 1e-3 * xi
    # M points being few, a Gaussian law of them has a little less variance.
    own, joint, wanted = step.var(), float(np.mean((step - step.mean()) * x)), fresh * xi.var()
    x = np.maximum.accumulate(x + step * (wanted / (joint + np.sqrt(joint**2 + own * wanted))))
    spread = np.empty(count)
    spread[order] = np.exp(x - x[-1])
    return spread * (mean / spread.mean())


def fed_back(covariance: np.ndarray, fresh: float, closures: Closures = CLOSURES) -> np.ndarray:
    """Mean covariance, centred, with a diffusion of its points' norms fed back at the same correlations."""
    return with_diagonal(covariance, diffused(np.diag(covariance), fresh, closures))


def feed_back(signal: Covariance, images: int, fresh: float, closures: Closures = CLOSURES) -> None:
    """The same in place for the norms of images, whose positions move together: S_pq f_i f_j.

    Row means stay what they were, but for the centring of what the factors f leave.
    """
    from ....kernels import blocks as kernels
    from ....kernels.threads import spread

    norms, means = image_norms(signal.centred_diagonal, images), signal.means
    factors = np.sqrt(diffused(norms, fresh, closures) / np.maximum(norms, 1e-300))
    sums = np.zeros((len(signal.blocks), 2, signal.points // images))
    spread(kernels.rescale, signal.blocks, *pairs(images), means, factors, sums)
    squares = np.repeat(factors, signal.points // images) ** 2
    signal.diagonal = squares * (signal.diagonal - 2.0 * means) + 2.0 * means
    signal.row_sums = gather_row_sums(sums, images)
