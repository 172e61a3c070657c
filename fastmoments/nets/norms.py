"""Normalisations of a signal."""

from __future__ import annotations

from dataclasses import dataclass

from ..validation import finite, one_of
from .layers import Layer

#: What the noise sees of the batch's statistics (`BatchNorm`).
NOISES = ("frozen", "through")
#: Which deviation it divides by.
STATISTICS = ("batch", "population")


@dataclass(frozen=True)
class BatchNorm(Layer):
    """Batch norm over images and positions of a channel: gamma (y - mean) / sqrt(q + epsilon) + beta.

    Parameters
    ----------
    epsilon : float
        Added to the batch variance q.
    gamma, beta : float
        Scale and shift of all channels, as they are set at initialisation.
    noise : {"frozen", "through"}
        Whether mean and variance of the batch are constants for the noise, or move with it.
    statistics : {"batch", "population"}
        Whether every channel is divided by its own deviation over the batch, or all by the same: the root of
        the mean variance of infinitely many channels, to which those of a large and varied batch tend. A
        simulated net takes the mean over its channels. The mean over the batch is taken off in either case.

    Raises
    ------
    ValueError
        If a parameter is outside its range.
    """

    epsilon: float = 1e-3
    gamma: float = 1.0
    beta: float = 0.0
    noise: str = NOISES[0]
    statistics: str = STATISTICS[0]

    loc = "norm"

    @property
    def joins(self) -> bool:
        """Whether the noise moves the statistics, which all images share."""
        return self.noise == "through"

    def __post_init__(self) -> None:
        finite("BatchNorm: epsilon", self.epsilon, positive=False)
        finite("BatchNorm: gamma", self.gamma, positive=True)
        finite("BatchNorm: beta", self.beta, positive=None)
        one_of("BatchNorm: noise", self.noise, NOISES)
        one_of("BatchNorm: statistics", self.statistics, STATISTICS)
        if (self.noise, self.statistics) == ("through", "population"):
            raise ValueError('BatchNorm: noise="through" moves statistics="batch", and no others.')

    @property
    def channelwise(self) -> bool:
        """Whether every channel is divided by its own deviation."""
        return self.statistics == "batch"
