"""Critical initialisation: the gain at which small differences neither grow nor shrink with depth."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np
from scipy.optimize import brentq

from ..nets.activations import Nonlinearity
from .variance import (
    MOST_BIAS,
    ROUNDING,
    TINY,
    Response,
    checked,
    checked_bias,
    homogeneous,
    response,
    tabulated,
)


@dataclass(frozen=True)
class Critical:
    """A critical point: chi_1 = 1 at a fixed point of the variance.

    Attributes
    ----------
    gain, bias_variance : float
        Of the layers (`Gaussian`).
    variance : float or None
        The fixed point; None where every variance is one, as of ReLU.
    stable : bool
        Whether a signal of another variance comes nearer to it with depth.
    variance_scale : float
        Layers in which it comes nearer by a factor e: -1 / log V'(q); inf where it does so more slowly than
        exponentially, or not at all. The scale of correlations is infinite: that is what critical means.
    """

    gain: float
    bias_variance: float
    variance: float | None
    stable: bool
    variance_scale: float


def critical(activation: Nonlinearity, bias_variance: float = 0.0) -> Critical:
    """The gain at which a plain net of an activation is critical.

    Each variance q is the fixed point of one critical net: that of the gain 1 / E phi'^2 and the bias
    variance q - E phi^2 / E phi'^2. Of several with the `bias_variance` asked for, the one of the smallest
    stable variance is given, or of the smallest if none is stable. Sources: Schoenholz et al., 2017; Roberts,
    Yaida and Hanin, 2022 (chapter 5: GELU, SiLU).

    Parameters
    ----------
    activation : Nonlinearity
    bias_variance : float
        From 0 to 1,000.

    Returns
    -------
    Critical

    Raises
    ------
    ValueError
        In one sentence, if an argument is out of range, or no gain is critical with this bias variance.
    """
    checked(activation)
    bias = checked_bias(bias_variance)
    name = type(activation).__name__
    if homogeneous(activation):
        if bias:
            raise ValueError(
                f"{name} has no critical gain with biases, which make its variance grow without bound; use "
                "bias_variance=0."
            )
        return Critical(_gain(response(activation, 1.0), name), 0.0, None, True, math.inf)
    found = [_at(activation, bias, q) for q in _variances(activation, bias)]
    if not found:
        low, high = _range(activation)
        raise ValueError(
            f"{name} has no critical gain with the bias variance {bias:g}"
            + (
                f"; it may be from {max(low, 0.0):.4g} to {high:.4g}."
                if high > 0.0
                else ", nor with another."
            )
        )
    return min(found, key=lambda each: (not each.stable, each.variance or 0.0))


class CriticalLine(NamedTuple):
    """All critical nets of an activation, by rising variance; arrays of one length.

    Empty for homogeneous activations, which are critical without biases only.
    """

    gain: np.ndarray
    bias_variance: np.ndarray
    variance: np.ndarray
    stable: np.ndarray


def critical_line(activation: Nonlinearity) -> CriticalLine:
    """The critical points of every variance of the table."""
    variances, found = tabulated(activation)
    if homogeneous(activation):
        nothing = np.empty(0)
        return CriticalLine(nothing, nothing, nothing, nothing.astype(bool))
    with np.errstate(divide="ignore", invalid="ignore"):
        gains, biases = 1.0 / found.slope2, variances - found.square / found.slope2
    keep = np.isfinite(gains) & (biases > -ROUNDING * variances) & (biases <= MOST_BIAS)
    stable = gains[keep] * found.growth[keep] < 1.0
    return CriticalLine(gains[keep], np.maximum(biases[keep], 0.0), variances[keep], stable)


def _bias(activation: Nonlinearity, log_variance: float, less: float = 0.0) -> float:
    """Bias variance of the critical net of a variance, less another."""
    found = response(activation, math.exp(log_variance))
    return math.exp(log_variance) - float(found.square / found.slope2) - less


def _variances(activation: Nonlinearity, bias: float) -> list[float]:
    """Fixed points of the critical nets of a bias variance, rising."""
    variances, table = tabulated(activation)
    with np.errstate(divide="ignore", invalid="ignore"):
        away = variances - table.square / table.slope2 - bias
    told = np.isfinite(away) & (np.abs(away) > ROUNDING * np.maximum(variances, bias))
    logs, away = np.log(variances[told]), away[told]
    found = []
    at_0 = response(activation, TINY)
    if bias == 0.0 and at_0.square < 1e3 * TINY and at_0.slope2 > ROUNDING:  # phi(0) = 0
        found.append(0.0)
    for i in np.flatnonzero(np.diff(np.sign(away))):
        root = brentq(partial(_bias, activation, less=bias), logs[i], logs[i + 1], xtol=1e-15, rtol=1e-14)
        found.append(math.exp(root))
    return found


def _at(activation: Nonlinearity, bias: float, variance: float) -> Critical:
    """The critical point of a variance."""
    found = response(activation, variance or TINY)
    gain = _gain(found, type(activation).__name__)
    if not variance:  # marginal: how a small signal moves tells
        return Critical(gain, bias, 0.0, bool(gain * response(activation, 1e-4).square < 1e-4), math.inf)
    slope = gain * float(found.growth)
    scale = -1.0 / math.log(slope) if 0.0 < slope < 1.0 else 0.0 if slope <= 0.0 else math.inf
    return Critical(gain, bias, variance, slope < 1.0, scale)


def _gain(found: Response, name: str) -> float:
    if not found.slope2 > 0.0:
        raise ValueError(f"{name} has no critical gain: its derivative is 0.")
    return 1.0 / float(found.slope2)


def _range(activation: Nonlinearity) -> tuple[float, float]:
    """Smallest and largest bias variance of a critical net."""
    variances, table = tabulated(activation)
    with np.errstate(divide="ignore", invalid="ignore"):
        biases = variances - table.square / table.slope2
    biases = np.minimum(biases[np.isfinite(biases)], MOST_BIAS)
    return (float(biases.min()), float(biases.max())) if biases.size else (0.0, 0.0)
