"""A moment over random nets: the mean and variance of its logarithm, or of itself."""

from __future__ import annotations

import math
from typing import NamedTuple


class Law(NamedTuple):
    """Mean and variance over nets."""

    mean: float
    variance: float = 0.0

    @classmethod
    def logarithm(cls, mean: float, variance: float) -> Law:
        """Of the logarithm of a positive quantity of this mean, by its relative variance.

        A lognormal law is assumed; to first order in the variance every law agrees.
        """
        return cls.of_log_mean(math.log(mean), variance)

    @classmethod
    def of_log_mean(cls, log_mean: float, variance: float) -> Law:
        """The same, by the logarithm of the mean."""
        return cls(log_mean - 0.5 * variance, variance)


def station_values(laws: dict[str, Law]) -> tuple[dict[str, float], dict[str, float]]:
    """Means and deviations, as `moments.Station` holds them."""
    return (
        {name: float(law.mean) for name, law in laws.items()},
        {name: math.sqrt(max(float(law.variance), 0.0)) for name, law in laws.items()},
    )
