"""Finite-channel variance: N times the relative variance of moments that are means over N channels."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from ....kernels.mixtures import mean_of_products
from ....maps.quadrature import BatchNormWeight
from .response import GaussianMixture


class FiniteChannelVariance(NamedTuple):
    """N times relative variances over channels, given the covariance before batch norm.

    nu1 and mu4 after batch norm; nu2 and mu2 after the ReLU.
    """

    nu1: float
    mu4: float
    nu2: float
    mu2: float


def finite_channel_variance(values: np.ndarray, vectors: np.ndarray, epsilon: float) -> FiniteChannelVariance:
    """Relative variances of a channel's moments, after batch norm of a Gaussian of this covariance.

    A channel z is a Gaussian over its own norm, so that the second moments of f(z) = mean |z|, mean z^4 and
    mean z |z| follow from those of Gaussians of covariance S_s as all else does (`quadrature`): f^2 is of
    degree 2, 8 and 4, which brings 1, s^3 / 6 and s into the weight. With a, b the diagonal of S_s and c its
    correlations,

        E |y_p y_q| = sqrt(a b) (2 / pi) (s + c asin c),     E y_p^4 y_q^4 = (a b)^2 (9 + 72 c^2 + 24 c^4),
        E y_p |y_p| y_q |y_q| = a b (2 / pi) (3 s c + (1 + 2 c^2) asin c),      s = sqrt(1 - c^2).

    As z has mean 0, the ReLU has nu2 = (mean z^2 + mean z |z|) / 2 and mu2 = nu2 - (mean |z|)^2 / 4. Being
    odd in z, mean z |z| is uncorrelated with the rest; mean z^2 is constant but for epsilon. Exact but for
    that, and for mu2 at its linear order in the deviation of mean |z|.

    Parameters
    ----------
    values, vectors : shape (M,), (M, M)
        Eigenvalues, not negative, and eigenvectors of the centred covariance.
    epsilon : float
        In its units.
    """
    weight = BatchNormWeight(values, np.ones(len(values)), len(values), epsilon)

    def gaussians(power: float, decay: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        mix = GaussianMixture.of(weight, vectors, power, decay)
        return mix.weights, mix.variances, mix.covariances(vectors)

    def excess(square: float, first: float) -> float:
        return max(square / first**2 - 1.0, 0.0)

    weights, variances, pairs = gaussians(0.0, 1.0)
    square, level = float(weights @ mean_of_products(pairs, False)), float(weights @ variances.mean(1))
    of_absolute = GaussianMixture.of(weight, vectors, -0.5, 0.5)
    absolute = math.sqrt(2.0) / math.pi * float(of_absolute.weights @ np.sqrt(of_absolute.variances).mean(1))
    nu1 = excess(square, absolute)

    weights, variances, pairs = gaussians(1.0, 2.0)
    odd = max(float(weights @ mean_of_products(pairs, True)), 0.0)
    fourth = 3.0 * float(weights @ (variances**2).mean(1))
    mu2 = 0.5 * level - 0.25 * absolute**2

    weights, variances, pairs = gaussians(3.0, 4.0)
    pairs **= 2
    mixed = np.einsum("np,npq,nq->n", variances, pairs, variances) / variances.shape[1] ** 2
    square = 9.0 * (variances**2).mean(1) ** 2 + 72.0 * mixed + 24.0 * (pairs**2).mean((1, 2))
    return FiniteChannelVariance(
        nu1,
        excess(float(weights @ square) / 6.0, fourth),
        odd / level**2,
        0.25 * (odd + absolute**4 * nu1) / mu2**2,
    )
