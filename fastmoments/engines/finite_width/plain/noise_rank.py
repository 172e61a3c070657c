"""Effective rank of the noise of fully connected plain nets at finite width, with and without skips.

The noises of M points start as nearly independent vectors. Every layer multiplies all of them by one random
matrix and by masks, most of which they share, so that they turn towards each other. Their Gram matrix, of
trace M, has two parts (M - 1 once it is centred):

* what is orthogonal to the signals: Delta^(1/2) R Delta^(1/2), Delta the variances of the points, lognormal,
  and R the Gram matrix of directions, whose entries have the variance r. K layers, as many as its memory is
  long, made it: it has the law of the product of K Marchenko-Pastur laws of ratio M r / K, whose edge is
  heavier than that of one such law of the same variance;
* what lies along the signals, which by then share a direction: a share a^2 of the noise's variance
  (`noise_diffusion.SignalNoiseAlignment`), and a matrix of rank one.

Together, with v the spectrum of the first, the largest eigenvalue x solves

    1 = M a^2 mean_k 1 / (x - (1 - a^2) v_k).

Heuristic: Delta and R are free of each other, the signals have one direction, and the deviation.
"""

from __future__ import annotations

import math

import numpy as np
from scipy.optimize import brentq

from ..closures import CLOSURES, Closures
from ..shared.lognormal import normal_quantiles
from ..shared.marchenko_pastur import sampled_spectrum


def noise_rank(
    points: int,
    variance: float,
    squared_correlation: float,
    fresh: float,
    alignment: float,
    closures: Closures = CLOSURES,
) -> tuple[float, float]:
    """Mean and deviation over nets of trace over largest eigenvalue, centred.

    The square of the relative deviation is the variance of one direction, 2 r (1 - 1 / rank)^2, as far as
    the largest eigenvalue stands apart, and that of the edge of a bulk of so many eigenvalues as far as it
    does not.

    Parameters
    ----------
    points : int
        M.
    variance : float
        Of log Delta_ii between the points of a net.
    squared_correlation, fresh : float
        r, and what the last layer added to it.
    alignment : float
        a^2, in [0, 1].
    """
    if points < 3:
        return 1.0, 0.0
    count = points - 1
    values = np.exp(math.sqrt(max(variance, 0.0)) * normal_quantiles(count))
    values /= values.mean()
    factors = min(max(round(squared_correlation / max(fresh, 1e-300)), 1), closures.most_factors)
    for _ in range(factors):
        values = sampled_spectrum(values, count * squared_correlation / factors)
    bulk, spike = (1.0 - alignment) * values, count * alignment
    edge = float(bulk[-1])

    def excess(top: float) -> float:
        return spike * float(np.mean(1.0 / (top - bulk))) - 1.0

    low = max(edge * (1.0 + 1e-9), 1e-9 * spike)
    # How the largest eigenvalue follows the spike: 1 where it stands apart, 0 at the edge of the bulk.
    top, apart = low, 0.0
    if excess(low) > 0.0:
        top = brentq(excess, low, edge + 1.01 * spike)
        apart = 1.0 / (spike**2 * float(np.mean((top - bulk) ** -2.0)))
    rank = max(count / top, 1.0)
    part = apart + (1.0 - apart) * min(closures.tracy_widom_share * rank ** (-1.0 / 3.0), 1.0)
    return rank, (rank - 1.0) * math.sqrt(2.0 * squared_correlation * part)
