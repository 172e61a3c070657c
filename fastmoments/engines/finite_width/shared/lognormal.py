"""Lognormal moments: mean and variance over random nets of a logarithm, or of a moment itself."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from scipy.special import ndtri


class Lognormal(NamedTuple):
    """Mean and variance over nets."""

    mean: float
    variance: float = 0.0

    @classmethod
    def of_mean(cls, mean: float, variance: float) -> Lognormal:
        """Of the logarithm of a positive quantity of this mean, by its relative variance.

        A lognormal law is assumed; to first order in the variance every law agrees.
        """
        return cls.of_log_mean(math.log(mean), variance)

    @classmethod
    def of_log_mean(cls, log_mean: float, variance: float) -> Lognormal:
        """The same, by the logarithm of the mean."""
        return cls(log_mean - 0.5 * variance, variance)


#: The moments of a station, by name.
Laws = dict[str, Lognormal]
#: Depth of a walk that goes on without a station.
Passing = tuple[int, None, None]
#: What a theory's walk yields: depth, name and laws of a station, or where it is.
Step = tuple[int, str, Laws] | Passing


def chi_moment(noise: Lognormal, signal: Lognormal, log_input: float, shared: float = 0.0) -> Lognormal:
    """Moments of log chi = (log mu2 of the noise - log mu2 of the signal + log mu2 of the images) / 2.

    Parameters
    ----------
    noise, signal : Lognormal
        Of log mu2 of the noise and of the signal.
    log_input : float
        Logarithm of mu2 of the images, where chi is 1.
    shared : float
        Covariance of the two logarithms over nets.
    """
    mean = 0.5 * (noise.mean - signal.mean + log_input)
    return Lognormal(mean, 0.25 * (noise.variance + signal.variance - 2.0 * shared))


def normal_quantiles(count: int) -> np.ndarray:
    """Medians of `count` cells of equal mass of the standard Gaussian, rising."""
    return ndtri((np.arange(count) + 0.5) / count)


def station_values(laws: dict[str, Lognormal]) -> tuple[dict[str, float], dict[str, float]]:
    """Means and deviations, as `protocol.Station` holds them."""
    return (
        {name: float(law.mean) for name, law in laws.items()},
        {name: math.sqrt(max(float(law.variance), 0.0)) for name, law in laws.items()},
    )
