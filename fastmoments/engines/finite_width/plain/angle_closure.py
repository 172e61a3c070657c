"""Angle closure: mean covariance of a plain net, the angle of every pair of points taken as lognormal.

Write K_ij = sqrt(K_ii K_jj) (1 - t). The diagonal is a martingale, E K_ii its value at infinite width; its
logarithms diffuse, and so does t. Of all pairs of coordinates, log K_ii and log t are the only ones in
which the fluctuations stay small: in those of K itself the variance grows like exp(5 l / N). With
X = sqrt(K_ii K_jj) relative to its value at infinite width, and tau, v the mean of t and the variance of
log t under the law tilted by X,

    E X'    = E X exp(-d / 8N),               d = N Var[d(log K_ii - log K_jj)]
    1 - tau' = exp(d / 8N) E f(1 - t)          f the map of correlations
    v'      = J^2 v + V_c / (N tau'^2),        J = d log t' / d log t,   V_c = N Var c' given K.

The order of the error is l / N^2 as long as v is small; l / N up to about 0.4 was tried.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ....kernels.decorrelation import mean_decorrelation
from ..closures import CLOSURES, Closures, gauss_hermite
from ..shared.relu_moments import ReluMoments


@dataclass(frozen=True)
class AngleMoments:
    """Lognormal moments of 1 - cos of the angle between two points, of all pairs; arrays of shape (M, M).

    Attributes
    ----------
    tau, log_variance : ndarray
        Mean of t and variance of log t, tilted.
    log_shrink : ndarray
        Logarithm of E X.
    """

    tau: np.ndarray
    log_variance: np.ndarray
    log_shrink: np.ndarray

    @classmethod
    def exact(cls, correlation: np.ndarray) -> AngleMoments:
        """Angles without fluctuations, whose t is 1 - `correlation`."""
        nothing = np.zeros_like(correlation)
        return cls(1.0 - correlation, nothing, nothing)

    def mean_correlation(self) -> np.ndarray:
        """E K_ij / sqrt(E K_ii E K_jj)."""
        mean = np.exp(self.log_shrink) * (1.0 - self.tau)
        np.fill_diagonal(mean, 1.0)
        return mean

    def sampled(self, width: float) -> AngleMoments:
        """After a linear layer of so many channels: c stays, and is sampled."""
        c = 1.0 - self.tau
        return self._step(width, self.tau, np.ones_like(c), 4.0 * (1.0 - c * c), (1.0 - c * c) ** 2)

    def rectified(self, width: float, closures: Closures = CLOSURES) -> AngleMoments:
        """After a ReLU and a He layer of so many channels."""
        falls, here = mean_decorrelation(self.tau, self.log_variance, *gauss_hermite(closures.angle_order))
        relu = ReluMoments.of(1.0 - self.tau)
        f, alone, across = 2.0 * relu.k1, 5.0, 4.0 * relu.j2 - 1.0
        noise = 4.0 * relu.j2 - f * f - 2.0 * f * (4.0 * relu.m31 - f) + 0.5 * f * f * (alone + across)
        with np.errstate(divide="ignore", invalid="ignore"):
            slope = np.where(here > 0.0, 2.0 * relu.k0 * self.tau / here, 1.0)
        return self._step(width, falls, slope, 2.0 * (alone - across), noise)

    def mixed(self, branch: AngleMoments, share: float, diagonal: np.ndarray) -> AngleMoments:
        """After a residual unit, whose branch has the share w of the sum.

        The mean covariances add up; what E X is follows from `diagonal`, the covariance of log K_ii and
        log K_jj over nets, and log t moves by the shares of shortcut and branch in t.
        """
        own = np.diag(diagonal)
        log_shrink = -(own[:, None] + own - 2.0 * diagonal) / 8.0
        mean = (1.0 - share) * self.mean_correlation() + share * branch.mean_correlation()
        tau = np.maximum(1.0 - mean * np.exp(-log_shrink), 0.0)
        np.fill_diagonal(tau, 0.0)
        with np.errstate(divide="ignore", invalid="ignore"):
            part = np.where(tau > 0.0, np.clip(share * branch.tau / tau, 0.0, 1.0), 0.0)
        root = (1.0 - part) * np.sqrt(self.log_variance) + part * np.sqrt(branch.log_variance)
        return AngleMoments(tau, root**2, log_shrink)

    def _step(
        self, width: float, falls: np.ndarray, slope: np.ndarray, between: np.ndarray, noise: np.ndarray
    ) -> AngleMoments:
        shrink = np.maximum(between, 0.0) / (8.0 * width)
        tau = 1.0 - np.exp(shrink) * (1.0 - falls)
        tau = np.maximum(tau, 0.0)
        with np.errstate(divide="ignore", invalid="ignore"):
            fresh = np.where(tau > 0.0, np.maximum(noise, 0.0) / (width * tau * tau), 0.0)
        np.fill_diagonal(tau, 0.0)
        np.fill_diagonal(fresh, 0.0)
        return AngleMoments(tau, slope**2 * self.log_variance + fresh, self.log_shrink - shrink)
