"""Diffusion of log nu2 and of the log noise variances of plain nets, exact to O(1/N) per layer.

Given a layer, K_ii and D_ii of the next are means over N channels: martingales, whose logarithms diffuse.
With p_i, pi_i the shares of point i in tr K and tr D and r_ij = E rho_ij^2, rho the correlation of the
noise of two points,

    Var[d log nu2]     = (1/N) sum_ij p_i p_j (4 J2(c_ij) - 1)
    Var[d log mu2(dx)] = (1/N) sum_ij pi_i pi_j (4 k0(c_ij) (1 + 2 r_ij) - 1).

The noises of two points are independent, rho_ij has mean 0 and r_ij is of order 1/N. It is made by sampling
and by what signal and noise share: dx_i = a_i x_i / |x_i| + rest, and the shares of two points are correlated
as their signals are. The law of a^2 = corr(x_i, dx_i)^2 is a Jacobi diffusion in l / N, of drift
2 (1 - a^2)(1 - 2 a^2) and variance 8 a^2 (1 - a^2)^2 after a ReLU and half of both after a linear
layer; it is closed by a Beta law for its third moment.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..closures import CLOSURES, Closures
from ..shared.matrices import between_pairs, mean_of_pairs
from ..shared.noise_draw import draw_variance
from ..shared.relu_moments import ReluMoments


@dataclass(frozen=True)
class SignalNoiseAlignment:
    """First two moments of a^2, the squared correlation of signal and noise at a point."""

    first: float
    second: float

    @classmethod
    def of_inputs(cls, inputs: int) -> SignalNoiseAlignment:
        """Of a signal with white noise in so many dimensions."""
        return cls(1.0 / inputs, 3.0 / (inputs * (inputs + 2.0)))

    def diffused(self, time: float, closures: Closures = CLOSURES) -> SignalNoiseAlignment:
        """Later by `time`, that is l / N after ReLU.

        With m_k = E a^(2k), m_1' = 2 (1 - 3 m_1 + 2 m_2) and m_2' = 12 m_1 - 28 m_2 + 16 m_3.
        """
        first, second = self.first, self.second
        steps = max(1, int(np.ceil(closures.steps_per_time * time)))
        for _ in range(steps):
            third = closures.third_moment(first, second)
            change = 2.0 * (1.0 - 3.0 * first + 2.0 * second)
            second += time / steps * (12.0 * first - 28.0 * second + 16.0 * third)
            first += time / steps * change
            first = min(max(first, 0.0), 1.0)
            second = min(max(second, first * first), first)
        return SignalNoiseAlignment(first, second)


@dataclass(frozen=True)
class NoiseDiffusion:
    """Lognormal moments of the noise variances D_ii over the points of a batch and over nets.

    Attributes
    ----------
    squared_correlation : shape (M, M)
        r_ij, zero on the diagonal.
    pair_covariance, point_variance : float
        Mean covariance of log D_ii and log D_jj over pairs, and variance of log D_ii.
    alignment : SignalNoiseAlignment
    """

    squared_correlation: np.ndarray
    pair_covariance: float
    point_variance: float
    alignment: SignalNoiseAlignment

    @classmethod
    def of_images(cls, points: int, inputs: int) -> NoiseDiffusion:
        """White noise on so many inputs per point, of which every net has a draw of its own."""
        squared_correlation = between_pairs(1.0 / inputs, points)
        return cls(squared_correlation, 0.0, draw_variance(inputs), SignalNoiseAlignment.of_inputs(inputs))

    def variance(self) -> float:
        """Variance of log mu2 of the noise: of the mean of M lognormal variables."""
        return _of_the_mean(self.pair_covariance, self.point_variance, len(self.squared_correlation))

    def sampled(self, width: float, closures: Closures = CLOSURES) -> NoiseDiffusion:
        """After a linear layer: of Gaussians, without masks."""
        r = self.squared_correlation
        # As after a ReLU, with N Var X = 1 + r, N Cov(X, A) = 2 rho, N Var A = 2 and N Cov(A, B) = 2 r: the
        # variance (1 - r)^2 / N and the bias - rho (1 - r) / 2N of the correlation of N pairs of Gaussians.
        fresh = (1.0 - r) * (1.0 - 2.0 * r) / width
        return self._step(
            r, fresh, 2.0 * r / width, 2.0 / width, self.alignment.diffused(0.5 / width, closures)
        )

    def rectified(
        self, width: float, before: ReluMoments, after: np.ndarray, closures: Closures = CLOSURES
    ) -> NoiseDiffusion:
        """After a ReLU and a He layer; `after` are the correlations of the signal after it."""
        r, p, f = self.squared_correlation, before.k0, 2.0 * before.k0
        both = 4.0 * p * (1.0 + 2.0 * r)
        # rho'^2 = X^2 / (A B), X, A and B means over channels of 2 m_i m_j nu_i nu_j, 2 m_i nu_i^2 and
        # 2 m_j nu_j^2, masks m of 0 or 1. To O(1/N), with f rho = E X and E A = E B = 1,
        #     E rho'^2 = f^2 r + Var X - 2 f rho Cov(X, A + B) + f^2 r (Var A + Var B + Cov(A, B)),
        # N Var X = 4 p (1 + 2 r) - f^2 r, N Cov(X, A) = (12 p - 2 p) rho, hence 2 f 2 (12 p - 2 p) = 40 f p,
        # N Var A = 5 and N Cov(A, B) = 4 p (1 + 2 r) - 1.
        fresh = both - f * f * r - 40.0 * f * r * p + f * f * r * (9.0 + both)
        shared = (after**2 - (f * before.c) ** 2) * self.alignment.first**2
        return self._step(
            f * f * r + shared,
            fresh / width,
            (both - 1.0) / width,
            5.0 / width,
            self.alignment.diffused(1.0 / width, closures),
        )

    def _step(
        self, kept: np.ndarray, fresh: np.ndarray, pair: np.ndarray, point: float,
        alignment: SignalNoiseAlignment,
    ) -> NoiseDiffusion:  # fmt: skip
        squared_correlation = np.clip(kept + fresh, 0.0, 1.0)
        np.fill_diagonal(squared_correlation, 0.0)
        return NoiseDiffusion(
            squared_correlation,
            self.pair_covariance + mean_of_pairs(pair),
            self.point_variance + point,
            alignment,
        )


def _of_the_mean(common: float, total: float, points: int) -> float:
    """Variance of the logarithm of the mean of `points` lognormal variables, from their covariances."""
    return common + float(np.log1p(np.expm1(max(total - common, 0.0)) / points))
