"""Activations: a function phi of every value of a channel, with its derivative."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike

from ..validation import finite, one_of
from .layers import Layer

#: Bound of a slope, whose square single precision holds, in which simulations run.
MOST_SLOPE = 1e6


def expit(x: np.ndarray) -> np.ndarray:
    """The logistic function 1 / (1 + exp(-x)), to full relative precision on both sides."""
    small = np.exp(-np.abs(x))
    return np.where(x >= 0.0, 1.0, small) / (1.0 + small)


class Nonlinearity(Layer, abstract=True):
    """A function phi of every value of a channel.

    Attributes
    ----------
    kinks : tuple of float
        Where phi or one of its derivatives jumps.
    """

    loc = "act"
    channelwise = True
    kinks: ClassVar[tuple[float, ...]] = ()

    def value(self, x: np.ndarray) -> np.ndarray:
        """phi(x), element by element, in double precision."""
        raise NotImplementedError

    def slope(self, x: np.ndarray) -> np.ndarray:
        """phi'(x), element by element, in double precision; 0 at a kink of phi itself, or either side."""
        raise NotImplementedError


class PiecewiseLinear(Nonlinearity, abstract=True):
    """phi(x) = a x for x > 0 and b x below; its moments over a standard Gaussian z.

    With a = 1, b = 0 it is the rectifier, to which all cases come down:
    phi(x) = (a - b) relu(x) + b x, so that E phi phi' = (a - b)^2 E relu relu' + a b E x x', and
    E phi' phi'' = (a - b)^2 k0 + a b of the derivatives.
    """

    kinks = (0.0,)

    def value(self, x: np.ndarray) -> np.ndarray:
        """A x above 0, b x below."""
        return x * self.slope(x)

    def slope(self, x: np.ndarray) -> np.ndarray:
        """A above 0, b at 0 and below."""
        return np.where(x > 0.0, *self.slopes)

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
    def mean_share(self) -> float:
        """E phi(z) relative to the root of E phi(z)^2."""
        above, below = self.slopes
        return (above - below) / math.sqrt(2.0 * math.pi * self.second_moment) if above or below else 0.0

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


@dataclass(frozen=True)
class Erf(Nonlinearity):
    """The error function erf(x)."""

    def value(self, x: np.ndarray) -> np.ndarray:
        """erf(x)."""
        from scipy.special import erf

        return erf(x)

    def slope(self, x: np.ndarray) -> np.ndarray:
        """2 exp(-x^2) / sqrt(pi)."""
        return 2.0 / math.sqrt(math.pi) * np.exp(-x * x)


@dataclass(frozen=True)
class Sin(Nonlinearity):
    """The sine."""

    def value(self, x: np.ndarray) -> np.ndarray:
        """sin(x)."""
        return np.sin(x)

    def slope(self, x: np.ndarray) -> np.ndarray:
        """cos(x)."""
        return np.cos(x)


@dataclass(frozen=True)
class Tanh(Nonlinearity):
    """The hyperbolic tangent."""

    def value(self, x: np.ndarray) -> np.ndarray:
        """tanh(x)."""
        return np.tanh(x)

    def slope(self, x: np.ndarray) -> np.ndarray:
        """1 - tanh(x)^2."""
        return 4.0 * expit(2.0 * x) * expit(-2.0 * x)


#: How `GELU` is computed, as PyTorch names it: x Phi(x), or with a tanh in place of the normal integral.
APPROXIMATIONS = ("none", "tanh")


@dataclass(frozen=True)
class GELU(Nonlinearity):
    """x Phi(x), Phi the normal distribution function (Hendrycks and Gimpel, 2016).

    Parameters
    ----------
    approximate : {"none", "tanh"}
        "tanh" takes (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2 for Phi.

    Raises
    ------
    ValueError
        If it is neither.
    """

    approximate: str = APPROXIMATIONS[0]

    def __post_init__(self) -> None:
        one_of("GELU: approximate", self.approximate, APPROXIMATIONS)

    @property
    def exact(self) -> bool:
        """Whether it is x Phi(x)."""
        return self.approximate == APPROXIMATIONS[0]

    def value(self, x: np.ndarray) -> np.ndarray:
        """X Phi(x)."""
        return x * self._gate(x)

    def slope(self, x: np.ndarray) -> np.ndarray:
        """Phi(x) + x Phi'(x)."""
        if self.exact:
            return self._gate(x) + x * np.exp(-0.5 * x * x) / math.sqrt(2.0 * math.pi)
        bend = math.sqrt(8.0 / math.pi) * (1.0 + 3.0 * 0.044715 * x * x)
        return self._gate(x) * (1.0 + x * bend * self._gate(-x))

    def _gate(self, x: np.ndarray) -> np.ndarray:
        """Phi(x), or what stands for it."""
        if not self.exact:
            return expit(math.sqrt(8.0 / math.pi) * x * (1.0 + 0.044715 * x * x))
        from scipy.special import ndtr

        return ndtr(x)


@dataclass(frozen=True)
class SiLU(Nonlinearity):
    """x / (1 + exp(-x)), also called swish."""

    def value(self, x: np.ndarray) -> np.ndarray:
        """X sigmoid(x)."""
        return x * expit(x)

    def slope(self, x: np.ndarray) -> np.ndarray:
        """The sigmoid and x times its derivative."""
        return expit(x) * (1.0 + x * expit(-x))


@dataclass(frozen=True)
class ELU(Nonlinearity):
    """x above 0, alpha (exp(x) - 1) below.

    Parameters
    ----------
    alpha : float
        Not below 0; at most `MOST_SLOPE`.

    Raises
    ------
    ValueError
        If alpha is out of range.
    """

    alpha: float = 1.0

    kinks = (0.0,)

    def __post_init__(self) -> None:
        if finite("ELU: alpha", self.alpha, positive=False) > MOST_SLOPE:
            raise ValueError(f"ELU: alpha must be at most {MOST_SLOPE:g}, not {self.alpha:g}.")

    def value(self, x: np.ndarray) -> np.ndarray:
        """x, or alpha (exp(x) - 1)."""
        return np.where(x > 0.0, x, self.alpha * np.expm1(np.minimum(x, 0.0)))

    def slope(self, x: np.ndarray) -> np.ndarray:
        """1, or alpha exp(x)."""
        return np.where(x > 0.0, 1.0, self.alpha * np.exp(np.minimum(x, 0.0)))


@dataclass(frozen=True)
class Softplus(Nonlinearity):
    """log(1 + exp(x))."""

    def value(self, x: np.ndarray) -> np.ndarray:
        """log(1 + exp(x))."""
        return np.logaddexp(0.0, x)

    def slope(self, x: np.ndarray) -> np.ndarray:
        """The sigmoid."""
        return expit(x)


@dataclass(frozen=True)
class HardSwish(Nonlinearity):
    """x min(max(x + 3, 0), 6) / 6 (Howard et al., 2019)."""

    kinks = (-3.0, 3.0)

    def value(self, x: np.ndarray) -> np.ndarray:
        """0 below -3, x above 3, x (x + 3) / 6 between."""
        return x * np.clip(x + 3.0, 0.0, 6.0) / 6.0

    def slope(self, x: np.ndarray) -> np.ndarray:
        """0 below -3, 1 above 3, x / 3 + 1/2 between."""
        return np.where(x <= -3.0, 0.0, np.where(x >= 3.0, 1.0, x / 3.0 + 0.5))


@dataclass(frozen=True)
class Mish(Nonlinearity):
    """x tanh(log(1 + exp(x))) (Misra, 2019)."""

    def value(self, x: np.ndarray) -> np.ndarray:
        """X tanh(softplus(x))."""
        return x * np.tanh(np.logaddexp(0.0, x))

    def slope(self, x: np.ndarray) -> np.ndarray:
        """tanh(softplus(x)) + x (1 - tanh^2) sigmoid(x)."""
        inner = np.logaddexp(0.0, x)
        return np.tanh(inner) + x * 4.0 * expit(2.0 * inner) * expit(-2.0 * inner) * expit(x)


@dataclass(frozen=True)
class Activation(Nonlinearity, abstract=True):
    """A function of your own; a specification in TOML cannot hold one.

    Parameters
    ----------
    function : callable
        phi, vectorised: an array of double precision in, one of the same shape out.
    derivative : callable, optional
        phi'; by central differences if left out.
    kinks : sequence of float
        Where phi or its derivatives jump, if anywhere: its expansion converges fast between them.

    Raises
    ------
    ValueError
        If it is no such function, or not finite from -10 to 10.
    """

    function: Callable[[np.ndarray], ArrayLike]
    derivative: Callable[[np.ndarray], ArrayLike] | None = None
    kinks: tuple[float, ...] = ()  # type: ignore[misc]  # of a class elsewhere, of each object here

    def __post_init__(self) -> None:
        if not callable(self.function):
            raise ValueError(f"Activation: function must be a function of an array, not {self.function!r}.")
        if self.derivative is not None and not callable(self.derivative):
            raise ValueError(f"Activation: derivative must be a function, not {self.derivative!r}.")
        kinks = tuple(sorted(finite("Activation: kinks", float(kink), positive=None) for kink in self.kinks))
        object.__setattr__(self, "kinks", kinks)
        tried = np.linspace(-10.0, 10.0, 41)
        self.value(tried)
        self.slope(tried)

    def value(self, x: np.ndarray) -> np.ndarray:
        """The function, checked."""
        return self._checked(self.function, x)

    def slope(self, x: np.ndarray) -> np.ndarray:
        """The derivative, checked; by central differences, whose error is 1e-10 where phi is smooth."""
        if self.derivative is not None:
            return self._checked(self.derivative, x)
        step = 6e-6 * np.maximum(np.abs(x), 1.0)
        return (self.value(x + step) - self.value(x - step)) / (2.0 * step)

    def _checked(self, function: Callable[[np.ndarray], ArrayLike], x: np.ndarray) -> np.ndarray:
        try:
            found = np.asarray(function(x), np.float64)
        except (TypeError, ValueError) as problem:
            raise ValueError(
                f"Activation: {_named(function)} must take an array and give one of its shape; it raised: "
                f"{str(problem).rstrip('.')}."
            ) from None
        if found.shape != x.shape or not np.isfinite(found).all():
            wrong = f"the shape {found.shape}" if found.shape != x.shape else "values that are not finite"
            raise ValueError(
                f"Activation: {_named(function)} gave {wrong} for an array of shape {x.shape}; it must give "
                "a finite number for every element."
            )
        return found


def _named(function: object) -> str:
    return str(getattr(function, "__name__", function))
