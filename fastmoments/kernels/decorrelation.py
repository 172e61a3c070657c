"""What a ReLU makes of lognormal distances 1 - c between points."""

from __future__ import annotations

import math

import numpy as np

from .jit import helper, jit
from .threads import spread as over_threads


@helper()
def _decorrelation(t):
    """1 - f(1 - t), f the map of correlations: t - (sin theta - theta cos theta) / pi, cos theta = 1 - t."""
    root = math.sqrt(0.5 * min(max(t, 0.0), 2.0))
    theta = 2.0 * math.asin(root)
    if theta < 1e-2:
        return t - theta**3 * (1.0 / 3.0 - theta * theta / 30.0) / math.pi
    # sin theta = 2 sin(theta / 2) cos(theta / 2)
    sine = 2.0 * root * math.sqrt(1.0 - root * root)
    return t - (sine - theta * (1.0 - t)) / math.pi


def mean_decorrelation(
    tau: np.ndarray, spread: np.ndarray, nodes: np.ndarray, weights: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """E[1 - f(1 - t)] of a lognormal t, and its value at the mean of t.

    Parameters
    ----------
    tau, spread : shape (M, M)
        Mean of t and variance of log t; both symmetric.
    nodes, weights : shape (k,)
        Gauss rule of a standard Gaussian; the weights add up to 1.

    Returns
    -------
    mean, here : shape (M, M)
    """
    mean, here = np.empty_like(tau), np.empty_like(tau)
    over_threads(_mean_decorrelation, tau, spread, nodes, weights, mean, here)
    return mean, here


@jit()
def _mean_decorrelation(worker, workers, tau, spread, nodes, weights, mean, here):
    points = len(tau)
    for n in range(worker, (points + 1) // 2, workers):
        for half in range(2):  # a long row and a short one, so that threads share alike
            i = n if half == 0 else points - 1 - n
            if half == 1 and i == n:
                continue
            for j in range(i + 1):
                t, variance = tau[i, j], spread[i, j]
                here[i, j] = here[j, i] = _decorrelation(t)
                total = here[i, j]
                if variance > 0.0:
                    total, deviation = 0.0, math.sqrt(variance)
                    for k in range(nodes.size):
                        at = t * math.exp(deviation * nodes[k] - 0.5 * variance)
                        total += weights[k] * _decorrelation(min(at, 2.0))
                mean[i, j] = mean[j, i] = total
