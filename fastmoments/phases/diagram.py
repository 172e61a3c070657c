"""The phase diagram of an activation: over gain and bias variance, what becomes of signals in a deep net."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import ArrayLike

from ..maps.hermite import LEAST, expansion
from ..nets.activations import Nonlinearity
from ..nets.layers import describe
from ..validation import finite, whole
from .critical import CriticalLine, critical_line
from .variance import (
    CHAOTIC,
    CRITICAL,
    DIVERGING,
    ORDERED,
    ROUNDING,
    checked,
    checked_bias,
    fixed_points,
    responses,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SCHEMA = "fastmoments.phase/1"
#: Points of a diagram at most.
MOST_POINTS = 100_000


@dataclass(frozen=True, eq=False)
class PhaseDiagram:
    """Where signals of a plain net tend to; arrays have the shape (bias variances, gains).

    Attributes
    ----------
    activation : Nonlinearity
    gains, bias_variances : ndarray, shapes (n,) and (m,)
    variance : ndarray
        q*, what the variance of a signal of variance 1 tends to before an activation; inf if it diverges.
    chi : ndarray
        chi_1 at q*: the growth in a layer of small differences, and of gradients back through it, squared.
        NaN where the variance diverges.
    correlation : ndarray
        c*, what the correlation of two signals that are not opposite tends to; 1 in the ordered phase.
    variance_scale, correlation_scale : ndarray
        Layers in which variance and correlation come nearer to that by a factor e; inf on the critical line.
    phase : ndarray of str
        One of `variance.PHASES`.
    line : CriticalLine
        Not cut at the borders of the diagram.
    """

    activation: Nonlinearity
    gains: np.ndarray
    bias_variances: np.ndarray
    variance: np.ndarray
    chi: np.ndarray
    correlation: np.ndarray
    variance_scale: np.ndarray
    correlation_scale: np.ndarray
    phase: np.ndarray
    line: CriticalLine

    #: Columns of a row beside gain and bias variance.
    COLUMNS: ClassVar[tuple[str, ...]] = (
        "phase",
        "variance",
        "chi",
        "correlation",
        "variance_scale",
        "correlation_scale",
    )

    def rows(self) -> Iterator[dict]:
        """One row a point, gains fastest; None where there is no finite value."""
        for (i, j), phase in np.ndenumerate(self.phase):
            row: dict = {"bias_variance": float(self.bias_variances[i]), "gain": float(self.gains[j])}
            for name in self.COLUMNS:
                value = phase if name == "phase" else float(getattr(self, name)[i, j])
                row[name] = str(phase) if name == "phase" else value if math.isfinite(value) else None
            yield row

    def to_dict(self) -> dict:
        """Plain values, as the JSON of `fastmoments phase`."""
        return {
            "schema": SCHEMA,
            "activation": describe(self.activation),
            "critical_line": {name: values.tolist() for name, values in self.line._asdict().items()},
            "points": list(self.rows()),
        }

    def plot(self) -> Figure:
        """The figure; see `phases.figure.plot_phases`."""
        from .figure import plot_phases

        return plot_phases(self)


def phase_diagram(activation: Nonlinearity, gains: ArrayLike, bias_variances: ArrayLike) -> PhaseDiagram:
    """What becomes of signals in a deep plain net of an activation, at infinite width.

    Interpolated between exact values, to 1e-7 of the variance.

    Parameters
    ----------
    activation : Nonlinearity
    gains, bias_variances : array_like, shapes (n,) and (m,)
        Rising; gains above 0, bias variances not below.

    Returns
    -------
    PhaseDiagram

    Raises
    ------
    ValueError
        In one sentence, if an argument is out of range.
    """
    checked(activation)
    g, b = _axis("gains", gains, positive=True), _axis("bias_variances", bias_variances, positive=False)
    for bias in b:
        checked_bias(float(bias))
    whole("The number of points of a phase diagram", g.size * b.size, 1, MOST_POINTS)
    gain, bias = (values.ravel() for values in np.meshgrid(g, b))
    q = fixed_points(activation, gain, bias)
    here = np.isfinite(q)
    found = responses(activation, q[here])
    chi, correlation, slope, at_c = (np.full(q.size, np.nan) for _ in range(4))
    chi[here], slope[here] = gain[here] * found.slope2, gain[here] * found.growth
    correlation[here], at_c[here] = 1.0, chi[here]
    phase = np.full(q.size, DIVERGING, dtype="U9")
    phase[here] = np.select(
        [np.abs(chi[here] - 1.0) <= 1e-9, chi[here] < 1.0], [CRITICAL, ORDERED], default=CHAOTIC
    )
    apart = np.flatnonzero((phase == CHAOTIC) & (q > LEAST))
    if apart.size:
        correlation[apart], at_c[apart] = _correlations(activation, gain[apart], bias[apart], q[apart])
    shape = (b.size, g.size)
    return PhaseDiagram(
        activation, g, b, q.reshape(shape), chi.reshape(shape), correlation.reshape(shape),
        _scale(slope).reshape(shape), _scale(at_c).reshape(shape), phase.reshape(shape),
        critical_line(activation),
    )  # fmt: skip


def _axis(name: str, given: ArrayLike, *, positive: bool) -> np.ndarray:
    """Rising numbers."""
    values = np.atleast_1d(np.asarray(given, np.float64))
    if values.ndim != 1 or not values.size or (np.diff(values) <= 0.0).any():
        raise ValueError(f"{name} must be a rising sequence of numbers, or one number.")
    for value in values:
        finite(name, float(value), positive=positive)
    return values


def _correlations(
    activation: Nonlinearity, gain: np.ndarray, bias: np.ndarray, q: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """c* below 1 of c' = (g E phi phi + b) / q, which is convex in c, and the slope there; by bisection."""
    found = expansion(activation, q)
    shares = found.coefficients**2 * (gain * found.size**2 / q)
    shares[0] += bias / q
    shares[-1] += np.maximum(1.0 - shares.sum(0), 0.0)  # what the expansion leaves out
    low, high = np.zeros(q.size), np.ones(q.size)
    for _ in range(50):
        middle = 0.5 * (low + high)
        below = _series(shares, middle) < middle
        low, high = np.where(below, low, middle), np.where(below, middle, high)
    return low, _series(shares[1:] * np.arange(1.0, len(shares))[:, None], low)


def _series(coefficients: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Sum of coefficients times powers, by Horner's rule."""
    total = np.zeros_like(at)
    for row in coefficients[::-1]:
        total = total * at + row
    return total


def _scale(rate: np.ndarray) -> np.ndarray:
    """Layers to a factor e, -1 / log rate; inf from a rate of 1 on, and 0 of none."""
    with np.errstate(divide="ignore", invalid="ignore"):
        found = -1.0 / np.log(rate)
    found = np.where(rate >= 1.0 - ROUNDING, np.inf, found)
    return np.where(rate <= 0.0, 0.0, np.where(np.isnan(rate), np.nan, found))
