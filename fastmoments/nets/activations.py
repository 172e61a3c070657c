"""Activations: a function of every value of a channel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ..validation import finite
from .layers import Layer

#: Bound of a slope, whose square single precision holds, in which simulations run.
MOST_SLOPE = 1e6


class Activation(Layer, abstract=True):
    """A function phi of every value of a channel.

    Attributes
    ----------
    degree : float or None
        phi(s x) = s^degree phi(x) for s > 0, where there is such a degree.
    """

    loc = "act"
    channelwise = True
    degree: ClassVar[float | None] = None


class PiecewiseLinear(Activation, abstract=True):
    """phi(x) = a x for x > 0 and b x below; its moments over a standard Gaussian z.

    With a = 1, b = 0 it is the rectifier, to which all cases come down:
    phi(x) = (a - b) relu(x) + b x, so that E phi phi' = (a - b)^2 E relu relu' + a b E x x', and
    E phi' phi'' = (a - b)^2 k0 + a b of the derivatives.
    """

    degree = 1.0

    @property
    def slopes(self) -> tuple[float, float]:
        """A above 0, b below."""
        raise NotImplementedError

    @property
    def bend(self) -> float:
        """(a - b)^2, the share of the rectifier's covariance."""
        above, below = self.slopes
        return (above - below) ** 2

    @property
    def passed(self) -> float:
        """A b, the share of the covariance that passes as it is."""
        above, below = self.slopes
        return above * below

    @property
    def mean_slope(self) -> float:
        """E phi'(z) = (a + b) / 2."""
        return 0.5 * sum(self.slopes)

    @property
    def second_moment(self) -> float:
        """E phi(z)^2 = E phi'(z)^2 = (a^2 + b^2) / 2."""
        above, below = self.slopes
        return 0.5 * (above * above + below * below)

    @property
    def absolute_moment(self) -> float:
        """E |phi(z)| relative to E |z|: (abs(a) + abs(b)) / 2."""
        above, below = self.slopes
        return 0.5 * (abs(above) + abs(below))


@dataclass(frozen=True)
class ReLU(PiecewiseLinear):
    """The rectifier max(x, 0)."""

    @property
    def slopes(self) -> tuple[float, float]:
        """1 above 0, 0 below."""
        return 1.0, 0.0


@dataclass(frozen=True)
class LeakyReLU(PiecewiseLinear):
    """x above 0, ``negative_slope * x`` below.

    Parameters
    ----------
    negative_slope : float
        From 0 to `MOST_SLOPE`; `Abs` has -1.
    """

    negative_slope: float = 0.01

    def __post_init__(self) -> None:
        if finite("LeakyReLU: negative_slope", self.negative_slope, positive=False) > MOST_SLOPE:
            raise ValueError(
                f"LeakyReLU: negative_slope must be at most {MOST_SLOPE:g}, not {self.negative_slope:g}."
            )

    @property
    def slopes(self) -> tuple[float, float]:
        """1 above 0, the negative slope below."""
        return 1.0, self.negative_slope


@dataclass(frozen=True)
class Abs(PiecewiseLinear):
    """The absolute value."""

    @property
    def slopes(self) -> tuple[float, float]:
        """1 above 0, -1 below."""
        return 1.0, -1.0
