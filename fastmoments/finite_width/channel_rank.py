"""Effective rank of the noise of convolutional nets with batch norm, whose points outnumber the channels.

Rank and spectrum of the noise over points are those of its covariance over channels, which batch norm and
ReLU give the form Lambda^(1/2) W Lambda^(1/2): W with the spectrum of N samples of relative variance c / N
per entry (a Marchenko-Pastur law), Lambda_c the variance of channel c, which is large where the deviation
sigma_c that divides the channel was small by chance and where the ReLU let more than half of the points pass.
Both hang on the leading mode g of the channel's signal,

    sigma^2 = share g^2 + 1 - share,    Lambda = (1 +- e(g)) / sigma^2,    e = 2 Phi(k |g|) - 1,

k such that the mean of e^2 is that of the masks. The variance of Lambda, which is known exactly, sets a power
that stands for all other modes. The largest eigenvalue is the edge

    min_(y > max Lambda) y (1 + c <Lambda / (y - Lambda)>).

Heuristic: the law of Lambda beyond its variance; a second cumulant c for what were many layers.
"""

from __future__ import annotations

import math

import numpy as np
from scipy.optimize import brentq, minimize_scalar
from scipy.special import ndtr, ndtri

from .noise_rank import edge_deviation

#: Quantiles of the leading mode.
QUANTILES = 512


def channel_rank(width: int, correlation: float, sizes: float, share: float, masks: float):
    """Mean and deviation over nets of trace over largest eigenvalue of the noise.

    Parameters
    ----------
    width : int
        N.
    correlation : float
        c / N: mean square of the correlation of the noises of two points, the same point included.
    sizes : float
        Relative variance of Lambda.
    share : float
        Of the leading mode in the variance of the signal before batch norm.
    masks : float
        Mean over pairs of points of k0 behind it.
    """
    ratio = width * correlation
    variances = channel_variances(sizes, share, masks)
    mean = width / edge(variances, ratio)
    return mean, edge_deviation(width / ratio, width) * mean


def channel_variances(sizes: float, share: float, masks: float) -> np.ndarray:
    """Quantiles of Lambda, of mean 1 and variance `sizes`, in no order."""
    g = np.abs(ndtri((np.arange(QUANTILES) + 0.5) / QUANTILES))
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
    most = 16.0
    if raised(most).var() <= sizes:
        return raised(most)
    return raised(brentq(lambda power: raised(power).var() - sizes, 0.0, most))


def edge(variances: np.ndarray, ratio: float) -> float:
    """Largest eigenvalue of Lambda^(1/2) W Lambda^(1/2), W of the given ratio."""
    largest = float(variances.max())

    def height(log_gap: float) -> float:
        y = largest * (1.0 + math.exp(log_gap))
        return y * (1.0 + ratio * float(np.mean(variances / (y - variances))))

    return float(minimize_scalar(height, bounds=(-30.0, 30.0), method="bounded").fun)
