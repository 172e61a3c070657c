"""Effective rank of the noise of convolutional nets with batch norm, whose points outnumber the channels.

Rank and spectrum of the noise over points are those of its covariance over channels, which batch norm and
ReLU give the form Lambda^(1/2) W Lambda^(1/2), with Lambda_c the variance of channel c, which is large
where the deviation sigma_c that divides the channel was small by chance and where the ReLU let more than
half of the points pass. Both hang on the leading mode g of the channel's signal,

    sigma^2 = share g^2 + 1 - share,    Lambda = (1 +- e(g)) / sigma^2,    e = 2 Phi(k |g|) - 1,

k such that the mean of e^2 is that of the masks. The variance of Lambda, which is known exactly, sets a power
that stands for all other modes.

W is a product of independent samplings, each a Marchenko-Pastur law whose ratio c is N times what it adds to
the mean square of the correlation of two noises: the weights of the last convolution (c = sum_t u_t^2, as
every tap draws its own), the M points, and all layers before. The first layer is apart, as its noise has no
more dimensions than a patch. A ReLU keeps a share of the covariance of two channels and all of a
channel's variance, so that after a few of them W has the factor (1 - kept) + kept P, P the law of
Marchenko and Pastur for the dimensions of the patches that taps have joined. With z the mean of
Lambda / (y - Lambda) and S the S-transform of that factor, the largest eigenvalue is the edge

    min_(y > max Lambda) y prod (1 + c z) / S(z).

Heuristic: the law of Lambda beyond its variance; one factor for all layers between the first and the last;
the edge for the mean of the largest eigenvalue, which is 0.95 of its deviations lower.
"""

from __future__ import annotations

import math

import numpy as np
from scipy.optimize import brentq, minimize_scalar
from scipy.special import ndtr

from ..closures import CLOSURES, Closures
from ..shared.lognormal import normal_quantiles
from ..shared.marchenko_pastur import edge_deviation, sampled_spectrum

#: Quantiles of the leading mode.
QUANTILES = 512


def channel_noise_rank(
    width: int,
    factors: list[float],
    first: tuple[float, float],
    sizes: float,
    share: float,
    masks: float,
    closures: Closures = CLOSURES,
) -> tuple[float, float]:
    """Mean and deviation over nets of trace over largest eigenvalue of the noise.

    Parameters
    ----------
    width : int
        N.
    factors : list of float
        c of every Marchenko-Pastur factor of W.
    first : (float, float)
        Of the first layer: the share that is kept of a covariance of channels, and c of what is left.
    sizes : float
        Relative variance of Lambda.
    share : float
        Of the leading mode in the variance of the signal before batch norm.
    masks : float
        Mean over pairs of points of k0 after it.
    """
    variances = channel_variances(sizes, share, masks, closures)
    kept, ratio = first
    few = np.ones(1)
    if kept > closures.least_kept and ratio > 0.0:
        few = 1.0 - kept + kept * sampled_spectrum(np.ones(QUANTILES), ratio / kept**2)
    else:
        factors = [*factors, ratio]
    mean = width / edge(variances, factors, few)
    relative = edge_deviation(width / (sum(factors) + few.var()), width)
    if few.size > 1:
        top = kept * (1.0 + math.sqrt(ratio) / kept) ** 2
        own = top / (1.0 - kept + top) * edge_deviation(width * kept**2 / ratio, width)
        relative = math.hypot(relative, own)
    return mean, relative * mean


def channel_variances(sizes: float, share: float, masks: float, closures: Closures = CLOSURES) -> np.ndarray:
    """Quantiles of Lambda, of mean 1 and variance `sizes`, in no order."""
    g = np.abs(normal_quantiles(QUANTILES))
    inverse = 1.0 / (share * g * g + 1.0 - share)

    def surplus(k: float) -> float:
        kept = 2.0 * ndtr(k * g) - 1.0
        return float(np.mean(kept * kept * inverse) / np.mean(inverse)) - (4.0 * masks - 1.0)

    k = 0.0 if surplus(0.0) >= 0.0 else 1e3 if surplus(1e3) <= 0.0 else brentq(surplus, 0.0, 1e3)
    kept = 2.0 * ndtr(k * g) - 1.0
    log_sizes = np.log(np.maximum(np.concatenate([(1.0 + kept) * inverse, (1.0 - kept) * inverse]), 1e-300))

    def raised(power: float) -> np.ndarray:
        found = np.exp(power * (log_sizes - log_sizes.max()))
        return found / found.mean()

    if sizes < 1e-12 or np.ptp(log_sizes) < 1e-12:
        return np.ones_like(log_sizes)
    most = closures.most_power
    if raised(most).var() <= sizes:
        return raised(most)
    return raised(brentq(lambda power: raised(power).var() - sizes, 0.0, most))


def edge(variances: np.ndarray, factors: list[float], few: np.ndarray) -> float:
    """Largest eigenvalue of Lambda^(1/2) W Lambda^(1/2).

    Every law enters by its S-transform, which is 1 / (1 + c z) of a Marchenko-Pastur law.

    Parameters
    ----------
    variances : ndarray
        Quantiles of Lambda, of mean 1.
    factors : list of float
        c of the Marchenko-Pastur laws in W.
    few : ndarray
        Quantiles of one more law in W, of mean 1.
    """
    largest, ratios, most = float(variances.max()), np.array(factors), float(few.max())

    def inverse_transform(z: float) -> float:
        """1 / S(z) of `few`: z / ((1 + z) u), u such that mean u few / (1 - u few) = z."""
        if np.ptp(few) < 1e-12:
            return 1.0

        def excess(v: float) -> float:  # by the reciprocal of u
            return float(np.mean(few / (v - few))) - z

        low = most * (1.0 + 1e-12)
        v = brentq(excess, low, most * (1.0 + 1.0 / z)) if excess(low) > 0.0 else low
        return z / (1.0 + z) * v

    def height(log_gap: float) -> float:
        y = largest * (1.0 + math.exp(log_gap))
        z = float(np.mean(variances / (y - variances)))
        return y * float(np.prod(1.0 + ratios * z)) * inverse_transform(z)

    return float(minimize_scalar(height, bounds=(-30.0, 30.0), method="bounded").fun)
