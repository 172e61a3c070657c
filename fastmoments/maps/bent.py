"""What any activation makes of Gaussians that have means: covariances of signal and noise, in place.

Two slopes have a closed form (`rectified`). All others are expanded about the mean of every unit:
phi(m + s z) = sum_n a_n h_n(z), so that Cov(phi, phi') = sum_(n > 0) a_n a'_n r^n, and the same of phi'.
"""

from __future__ import annotations

import math
from functools import singledispatch

import numpy as np

from ..nets.activations import Nonlinearity, PiecewiseLinear
from .hermite import hermite_functions, panels
from .rectified import rectify

#: Terms of an expansion; units that are expanded at a time.
TERMS, CHUNK = 128, 64
# Standard deviations beyond which a Gaussian has no weight, panels, and their distances from a kink in x.
_REACH, _PANELS = 12.0, 96
_GRADES = np.array([0.0, 0.25, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0])


@singledispatch
def bend(
    activation: Nonlinearity, mean: np.ndarray, covariance: np.ndarray, noise: np.ndarray, mirror: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Covariances behind an activation, in place; means and mean slopes. Arguments as of `rectify`."""
    deviations = np.sqrt(np.maximum(np.diagonal(covariance[0]), 0.0))
    value, slope, square, square_slope = coefficients(activation, mean, deviations)
    inverse = np.divide(1.0, deviations, out=np.zeros_like(deviations), where=deviations > 0.0)
    for p, signal in enumerate(covariance):
        r = np.clip(signal * inverse[:, None] * inverse, -1.0, 1.0)
        signal[:] = _sum(value[1:], r) * r
        noise[p] *= _sum(slope, r)
    # What the expansions leave out counts on the diagonal, where it is known.
    itself = np.arange(len(mean))
    given = np.diagonal(noise[0]).copy()
    shown = np.sum(slope * slope, axis=0)
    covariance[0, itself, itself] = square - value[0] ** 2
    noise[0, itself, itself] = given * np.divide(
        square_slope, shown, out=np.ones_like(shown), where=shown > 0
    )
    return value[0], slope[0]


@bend.register
def _(
    activation: PiecewiseLinear, mean: np.ndarray, covariance: np.ndarray, noise: np.ndarray,
    mirror: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    return rectify(activation, mean, covariance, noise, mirror)


def _sum(table: np.ndarray, r: np.ndarray) -> np.ndarray:
    """sum_n table_n(row) table_n(column) r^n, as many terms as matter, by Horner's rule."""
    sizes = np.abs(table).max(axis=1) ** 2 * min(float(np.abs(r).max()), 1.0) ** np.arange(len(table))
    matter = np.flatnonzero(sizes > 1e-17 * max(float(sizes.max()), 1e-300))
    total = np.zeros_like(r)
    for row in table[: matter[-1] + 1 if matter.size else 1][::-1]:
        total *= r
        total += row[:, None] * row
    return total


def coefficients(
    activation: Nonlinearity, mean: np.ndarray, deviations: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Hermite coefficients of phi and phi' about means, shape (TERMS, units), and E phi^2 and E phi'^2.

    A unit without deviation has the value and the slope at its mean.
    """
    value, slope = np.empty((TERMS, len(mean))), np.empty((TERMS, len(mean)))
    squares = np.empty((2, len(mean)))
    for start in range(0, len(mean), CHUNK):
        part = slice(start, start + CHUNK)
        m, s = mean[part, None], deviations[part, None]
        z, weights = _nodes(activation, m, s)
        x = m + s * z
        phi, derivative = activation.value(x), activation.slope(x)
        density = weights * np.exp(-0.5 * z * z) / math.sqrt(2.0 * math.pi)
        squares[0, part] = np.sum(density * phi * phi, axis=1)
        squares[1, part] = np.sum(density * derivative * derivative, axis=1)
        load = weights * np.exp(-0.25 * z * z) / (2.0 * math.pi) ** 0.25
        for n, function in enumerate(hermite_functions(z, TERMS)):
            value[n, part] = np.sum(load * phi * function, axis=1)
            slope[n, part] = np.sum(load * derivative * function, axis=1)
    return value, slope, squares[0], squares[1]


def _nodes(
    activation: Nonlinearity, mean: np.ndarray, deviations: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Nodes z and weights of every unit: panels everywhere, and edges at kinks and, finer, near 0."""
    centres = np.array(sorted({0.0, *activation.kinks}))
    edges = (centres[:, None] + np.concatenate([-_GRADES, _GRADES])).ravel()
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        own = np.nan_to_num((edges - mean) / deviations, nan=_REACH, posinf=_REACH, neginf=-_REACH)
    own = np.clip(own, -_REACH, _REACH)
    everywhere = np.broadcast_to(np.linspace(-_REACH, _REACH, _PANELS + 1), (len(own), _PANELS + 1))
    sorted_ = np.sort(np.concatenate([own, everywhere], axis=1), axis=1)
    pieces = [panels(row, 12) for row in sorted_]
    return np.stack([z for z, _ in pieces]), np.stack([weights for _, weights in pieces])
