"""Effective rank of the noise of fully connected nets at finite width.

The noises of M points are nearly independent vectors of N channels: their Gram matrix is
D = Delta^(1/2) R Delta^(1/2), with lognormal variances Delta that diffuse without a restoring force, and R
the Gram matrix of directions. The spectrum of R is that of a chain of samplings: a layer leaves a share k of
it, (1 - k) + k R, and samples that, which is a law of Marchenko and Pastur of ratio c = M Var rho, rho the
correlation of two noises: M / N, times what unequal variances of channels and masks that points share add.
What was before the last sampling enters as the law of Marchenko and Pastur that leaves the same largest
eigenvalue (`channel_noise_rank.edge`). The rank falls because a few Delta_ii become large, so that the
largest of M decides: the mean and deviation are over the law of the largest normal of M.
"""

from __future__ import annotations

import math

import numpy as np
from scipy.optimize import brentq
from scipy.special import ndtri

from ..closures import CLOSURES, Closures
from ..shared.lognormal import normal_quantiles
from ..shared.marchenko_pastur import edge_deviation, sampled_spectrum
from .channel_noise_rank import edge


def noise_rank(
    variance: float, earlier: np.ndarray, ratio: float, closures: Closures = CLOSURES
) -> tuple[float, float]:
    """Mean and deviation over nets of trace over largest eigenvalue, centred.

    Parameters
    ----------
    variance : float
        Of log Delta_ii between the points of a net.
    earlier : shape (M,)
        Spectrum of R before its last sampling, of mean 1.
    ratio : float
        c of the last sampling.
    """
    points = earlier.size
    if points < 3:
        return 1.0, 0.0
    deviation = math.sqrt(max(variance, 0.0))
    others = ndtri((np.arange(points - 1) + 0.5) / points)
    largest = ndtri(
        ((np.arange(closures.largest_quantiles) + 0.5) / closures.largest_quantiles) ** (1.0 / points)
    )
    found, spread = [], equivalent_ratio(earlier, ratio, np.exp(deviation * normal_quantiles(points)))
    for top in largest:
        sizes = np.exp(deviation * (np.append(others, top) - top))
        values = sampled_spectrum(sampled_spectrum(sizes, spread), ratio)
        found.append((points - 1) / points * values.sum() / values[-1])
    mean = float(np.mean(found))
    return mean, math.hypot(float(np.std(found)), edge_deviation(points, points / ratio) * mean)


def equivalent_ratio(earlier: np.ndarray, ratio: float, sizes: np.ndarray) -> float:
    """Ratio of the law of Marchenko and Pastur in whose place a spectrum leaves the same largest eigenvalue.

    Parameters
    ----------
    earlier, ratio
        As of `noise_rank`.
    sizes : shape (M,)
        Delta.
    """
    if np.ptp(earlier) < 1e-12:
        return 0.0
    sizes, one = sizes / sizes.mean(), np.ones(1)
    wanted = edge(sizes, [ratio], earlier)

    def excess(found: float) -> float:
        return edge(sizes, [found, ratio], one) - wanted

    most = float(earlier.max())  # of a spectrum of mean 1 up to there, edges of ratio c reach (1 + sqrt c)^2
    return 0.0 if excess(0.0) >= 0.0 else float(brentq(excess, 0.0, most))


def participation_ratio(points: int, variance: float) -> float:
    """Sum of squares over square of the sum of M lognormal variables at their quantiles."""
    sizes = np.exp(math.sqrt(max(variance, 0.0)) * normal_quantiles(points))
    return float((sizes @ sizes) / sizes.sum() ** 2)
