"""Functionals of the covariance whose variance the backward pass takes: their gradients.

With S = HKH, its variances s_p, its leading eigenpair (lambda, v) and its trace,

    log mu2          H / tr S
    log mean S_pp^2  H diag(2 s_p / sum s^2) H
    log (r_eff - 1)  (H - v v') / (tr S - lambda) - v v' / lambda,     r_eff = tr S / lambda.
"""

from __future__ import annotations

import numpy as np

from ..shared.matrices import centred

#: Of what `functionals` are the gradients.
FUNCTIONALS = ("log_mu2_signal", "log_mu4_signal", "reff_signal")


def functionals(kernel: np.ndarray) -> np.ndarray:
    """Gradients by the covariance of log mu2, log mean S_pp^2 and log (r_eff - 1), shape (3, M, M)."""
    covariance = centred(kernel)
    points, trace = len(covariance), float(np.trace(covariance))
    values, vectors = np.linalg.eigh(covariance)
    centre = np.eye(points) - 1.0 / points
    variances = np.diag(covariance)
    rank = rank_gradient(trace, float(values[-1]), vectors[:, -1])
    return np.array([centre / trace, centred(np.diag(2.0 * variances / np.sum(variances**2))), rank])


def rank_gradient(trace: float, value: float, vector: np.ndarray) -> np.ndarray:
    """Gradient of log (r_eff - 1) by the covariance, shape (M, M), from trace and leading eigenpair."""
    points, leading, rest = len(vector), np.outer(vector, vector), trace - value
    if rest <= 1e-12 * trace:
        return np.zeros((points, points))
    return (np.eye(points) - 1.0 / points - leading) / rest - leading / value
