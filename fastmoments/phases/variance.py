"""The map of a signal's variance through one layer, and where it ends.

Behind an activation phi and then weights of variance g / N and biases of variance b, it is
V(q) = g E phi(sqrt(q) z)^2 + b, z standard Gaussian; small differences and gradients grow by
chi_1 = g E phi'(sqrt(q) z)^2 in square. Source: Poole et al., 2016; Schoenholz et al., 2017.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from scipy.interpolate import CubicSpline

from ..maps.hermite import rule
from ..nets.activations import Nonlinearity
from ..validation import finite

#: Phases: signals become alike, stay as alike as they are, differ; or their variance grows without bound.
ORDERED, CRITICAL, CHAOTIC, DIVERGING = PHASES = ("ordered", "critical", "chaotic", "diverging")
#: Octaves of variance between which fixed points are sought, and steps in one.
OCTAVES, STEPS = (-40, 39), 16
#: Variance that stands for 0, and what rounding is of a variance.
TINY, ROUNDING = 2.0**-80, 1e-12
#: Largest variance of biases, beyond which a sine turns too often for the quadrature.
MOST_BIAS = 1e3


class Response(NamedTuple):
    """What an activation makes of Gaussians of variance q: arrays, or numbers.

    Attributes
    ----------
    square, slope2 : E phi^2 and E phi'^2.
    growth : Derivative of E phi^2 by q.
    """

    square: np.ndarray
    slope2: np.ndarray
    growth: np.ndarray


def response(activation: Nonlinearity, variance: float) -> Response:
    """The response at one variance above 0, by quadrature, to rounding."""
    root = math.sqrt(variance)
    z, weights = rule(activation, root)
    density = weights * np.exp(-0.5 * z * z) / math.sqrt(2.0 * math.pi)
    value, slope = activation.value(root * z), activation.slope(root * z)
    # By parts: d/dq E phi(sqrt(q) z)^2 = E phi phi' z / sqrt(q).
    return Response(density @ value**2, density @ slope**2, density @ (value * slope * z) / root)


@lru_cache(maxsize=32)
def tabulated(activation: Nonlinearity) -> tuple[np.ndarray, Response]:
    """Variances evenly spread in their logarithm, and the responses there."""
    low, high = OCTAVES
    variances = 2.0 ** np.linspace(low, high, (high - low) * STEPS + 1)
    return variances, Response(*np.array([response(activation, q) for q in variances]).T)


def responses(activation: Nonlinearity, variances: np.ndarray) -> Response:
    """The responses at many variances, interpolated, to 1e-7; those of 0 as of the smallest."""
    known, found = tabulated(activation)
    within = np.clip(variances, known[0], known[-1])
    shares = found.square / known, found.slope2, found.growth  # the first of which varies slowly as well
    share, slope2, growth = (CubicSpline(np.log(known), values)(np.log(within)) for values in shares)
    return Response(within * share, slope2, growth)


def homogeneous(activation: Nonlinearity) -> bool:
    """Whether E phi^2 is proportional to the variance, so that none is special."""
    variances, found = tabulated(activation)
    return bool(np.all(np.abs(found.square - variances * found.slope2) <= 1e-9 * found.square))


def fixed_points(activation: Nonlinearity, gains: np.ndarray, biases: np.ndarray) -> np.ndarray:
    """Variance that a signal of variance 1 tends to in a deep net; inf where it grows without bound.

    V rises with q, so it is the next fixed point in the direction of V(1) - 1.

    Parameters
    ----------
    gains, biases : ndarray, shape (n,)

    Returns
    -------
    ndarray, shape (n,)
    """
    variances, found = tabulated(activation)
    start = int(np.argmin(np.abs(np.log(variances))))
    steps = (gains[:, None] * found.square + biases[:, None]) / variances - 1.0
    rising = steps[:, start] > 0.0
    # Of the nodes on that side of 1, the first that moves the other way; what is 0 but for rounding does not.
    upward = _first(steps[:, start:] < -ROUNDING)
    downward = _first(steps[:, start::-1] > ROUNDING)
    ends = np.where(rising, start + upward, start - downward)
    q = np.where(rising, np.inf, 0.0)
    q[np.abs(steps[:, start]) <= ROUNDING] = 1.0
    here = np.flatnonzero((ends >= 0) & (ends < len(variances)) & (q != 1.0))
    low = np.log(variances[ends[here] - rising[here]])
    high = low + math.log(2.0) / STEPS
    for _ in range(40):
        middle = 0.5 * (low + high)
        up = gains[here] * responses(activation, np.exp(middle)).square + biases[here] > np.exp(middle)
        low, high = np.where(up, middle, low), np.where(up, high, middle)
    q[here] = np.exp(0.5 * (low + high))
    return q


def _first(hits: np.ndarray) -> np.ndarray:
    """Index of the first hit in every row; very large where there is none."""
    return np.where(hits.any(1), hits.argmax(1), 10**6)


def checked(activation: object) -> Nonlinearity:
    """An activation, or a refusal."""
    if not isinstance(activation, Nonlinearity):
        raise ValueError(f"activation must be one such as Tanh(), not {activation!r}.")
    return activation


def checked_bias(bias_variance: object) -> float:
    """A bias variance in range."""
    bias = finite("bias_variance", bias_variance, positive=False)
    if bias > MOST_BIAS:
        raise ValueError(f"bias_variance must be at most {MOST_BIAS:g}, not {bias:g}.")
    return bias
