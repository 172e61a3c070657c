"""Merge of a unit with batch norm: fluctuations after it from those before, on points or on images.

The branch has the shares w of the signal and w_n of the noise of the sum; without a skip w = w_n = 1.
"""

from __future__ import annotations

import math

import numpy as np

from ..closures import Closures
from ..shared.fluctuations import FluctuationMatrices, FluctuationState, NoiseGain, merged_matrices
from .noise_sampling import HermiteOrders, NoiseFluctuationState


def merged_norms(
    norms: FluctuationMatrices, gain: NoiseGain, shares: tuple[float, float], pulls: list[np.ndarray],
    responses: list[np.ndarray], fresh: list[np.ndarray],
) -> tuple[FluctuationMatrices, NoiseGain]:  # fmt: skip
    """Covariance V of log norms and the noise's gain by it, after a unit.

    Parameters
    ----------
    norms : FluctuationMatrices
        V before it.
    gain : NoiseGain
    shares : (float, float)
        w, w_n.
    pulls, responses, fresh : list of ndarray, shape (M,), (M, M), (M, M)
        Of each batch norm of the branch: derivative of log E 1 / q, response and sampling of log norms.
    """
    share, noise_share = shares
    gain = gain.merged(share, noise_share, pulls, responses, norms.variance)
    return merged_matrices(norms, share, responses, fresh), gain


def held_norms(
    norms: FluctuationMatrices, gain: NoiseGain, bound: float, closures: Closures
) -> tuple[FluctuationMatrices, NoiseGain]:
    """The same, with V held at the variance `bound` of the norms' law (`Closures.bound`)."""
    factors = closures.bound(norms.variance, bound)
    return (
        FluctuationMatrices(norms.variance * np.outer(factors, factors), norms.cross),
        gain.scaled(factors),
    )


def merged_noise(
    noise: NoiseFluctuationState,
    shares: tuple[float, float],
    orders: list[HermiteOrders],
    memories: list[float],
) -> NoiseFluctuationState:
    """Fluctuation of the noise after a unit, each Hermite order of its sampling persisting in its own way."""
    share, noise_share = shares
    persist = orders[0].persist(1.0 - share, 1.0 - noise_share)
    return noise.merged(noise_share, orders, persist, memories)


def merged_with_signal(
    with_signal: FluctuationState[float], shares: tuple[float, float], sources: list[float]
) -> FluctuationState[float]:
    """Covariance of log mu2 of signal and noise after a unit; sources Cov(1 / (q + eps), q) / N, relative."""
    share, noise_share = shares
    return with_signal.merged(noise_share, [1.0] * len(sources), sources, persists=1.0 - share)


def signal_noise_shares(shares: tuple[float, float]) -> tuple[float, float]:
    """Shares of branch and shortcut in the covariance of signal and noise: geometric means."""
    share, noise_share = shares
    return math.sqrt(share * noise_share), math.sqrt((1.0 - share) * (1.0 - noise_share))
