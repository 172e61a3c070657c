"""Effective rank of the noise of fully connected nets at finite width.

The noises of M points are nearly independent vectors of N channels: their Gram matrix is
D = Delta^(1/2) R Delta^(1/2), with lognormal variances Delta that diffuse without a restoring force, and R
the Gram matrix of directions. In its last layer R was sampled (a Marchenko-Pastur law of ratio M / N);
before, the correlations that were left, of mean square r, had spread it by the variance M r, which is taken
as a law of the same kind. The rank falls because a few Delta_ii become large, so that the largest of M
decides: the mean and deviation are over the law of the largest normal of M.
"""

from __future__ import annotations

import math

import numpy as np
from scipy.special import ndtri

from ..closures import CLOSURES, Closures
from ..shared.lognormal import normal_quantiles
from ..shared.marchenko_pastur import edge_deviation, sampled_spectrum


def noise_rank(
    points: int, width: int, variance: float, squared_correlation: float, closures: Closures = CLOSURES
) -> tuple[float, float]:
    """Mean and deviation over nets of trace over largest eigenvalue, centred.

    Parameters
    ----------
    points, width : int
        M and N.
    variance : float
        Of log Delta_ii between the points of a net.
    squared_correlation : float
        r: E rho^2 of two points before the last sampling.
    """
    if points < 3:
        return 1.0, 0.0
    deviation = math.sqrt(max(variance, 0.0))
    others = ndtri((np.arange(points - 1) + 0.5) / points)
    largest = ndtri(
        ((np.arange(closures.largest_quantiles) + 0.5) / closures.largest_quantiles) ** (1.0 / points)
    )
    found = []
    for top in largest:
        sizes = np.exp(deviation * (np.append(others, top) - top))
        values = sampled_spectrum(
            sampled_spectrum(sizes, points * max(squared_correlation, 0.0)), points / width
        )
        found.append((points - 1) / points * values.sum() / values[-1])
    mean = float(np.mean(found))
    return mean, math.hypot(float(np.std(found)), edge_deviation(points, width) * mean)


def participation_ratio(points: int, variance: float) -> float:
    """Sum of squares over square of the sum of M lognormal variables at their quantiles."""
    sizes = np.exp(math.sqrt(max(variance, 0.0)) * normal_quantiles(points))
    return float((sizes @ sizes) / sizes.sum() ** 2)
