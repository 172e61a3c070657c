"""Hermite expansion of an activation of a Gaussian of any variance.

phi(sqrt(q) z) = sum_n a_n(q) h_n(z), h_n the normalised Hermite polynomials, so that
E phi(u) phi(v) = sum_n a_n(q_u) a_n(q_v) r^n (Mehler). The derivative has a'_n = sqrt((n + 1) / q) a_(n+1).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from ..nets.activations import Nonlinearity

#: Terms that are kept at most; the derivative has one less.
TERMS = 513
#: Nodes by which coefficients are interpolated in log2 q, from one whole number to the next.
NODES = 20
#: Variances outside which the expansion has nothing to say: below, phi is its tangent at 0.
LEAST, MOST = 2.0**-60, 1e12
# Octaves of q in which the largest mean slope is sought.
_OCTAVES = range(-20, 7)
#: Standard deviations beyond which a Gaussian has no weight left.
_REACH = 12.0
# Distances from 0 and from a kink, in units of x, between which phi is as smooth as a polynomial.
_GRADES = (0.125, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0, 11.0, 16.0, 22.0, 32.0)


@dataclass(frozen=True)
class Expansion:
    """What an activation makes of Gaussians of given variances, without loss where `tail` is small.

    Attributes
    ----------
    coefficients : ndarray, shape (TERMS, points)
        a_n, divided by `size`.
    size : ndarray, shape (points,)
        sqrt(E phi^2).
    mean, absolute : ndarray, shape (points,)
        E phi and E |phi|.
    slope2 : ndarray, shape (points,)
        E phi'^2.
    """

    coefficients: np.ndarray
    size: np.ndarray
    mean: np.ndarray
    absolute: np.ndarray
    slope2: np.ndarray

    def derivative(self, variances: np.ndarray) -> np.ndarray:
        """a'_n, not divided by anything, shape (TERMS - 1, points)."""
        orders = np.sqrt(np.arange(1.0, TERMS))[:, None]
        return orders * self.coefficients[1:] * (self.size / np.sqrt(variances))


def expansion(activation: Nonlinearity, variances: np.ndarray) -> Expansion:
    """The expansion at every variance, interpolated between `NODES` variances an octave.

    Parameters
    ----------
    activation : Nonlinearity
    variances : ndarray, shape (points,)
        Above 0.

    Raises
    ------
    ValueError
        If a variance is above `MOST`, or the activation of a point is 0.
    """
    if not variances.max() <= MOST:
        raise ValueError(
            f"{type(activation).__name__} of a signal of variance {variances.max():.3g} is not covered at "
            f"infinite width; it may be at most {MOST:g}: use a smaller gain or bias."
        )
    log2 = np.log2(np.maximum(variances, LEAST))
    octaves = np.floor(log2).astype(int)
    table = np.empty((TERMS + 3, variances.size))
    for octave in np.unique(octaves):
        here = octaves == octave
        table[:, here] = _at_nodes(activation, int(octave)) @ _interpolation(log2[here] - octave)
    mean, (absolute, square, slope2) = table[0].copy(), table[TERMS:]
    small = variances < LEAST
    if small.any():
        _tangent(activation, variances, table, small)
    if not square.min() > 0.0:
        raise ValueError(f"{type(activation).__name__} leaves no signal at some point; use larger signals.")
    size = np.sqrt(square)
    table[:TERMS] /= size
    return Expansion(table[:TERMS], size, mean, absolute, slope2)


@lru_cache(maxsize=64)
def largest_mean_slope(activation: Nonlinearity) -> float:
    """The largest |E phi'(u)| over Gaussians u of all variances, four to an octave."""
    found = []
    for variance in 2.0 ** np.arange(_OCTAVES.start, _OCTAVES.stop, 0.25):
        z, weights = rule(activation, math.sqrt(variance))
        density = weights * np.exp(-0.5 * z * z) / math.sqrt(2.0 * math.pi)
        found.append(abs(float(density @ activation.slope(math.sqrt(variance) * z))))
    return max(found)


def _tangent(activation: Nonlinearity, variances: np.ndarray, table: np.ndarray, small: np.ndarray) -> None:
    """Put phi(0) + phi'(0) x in the place of phi."""
    at_0 = float(activation.value(np.zeros(1))[0])
    sides = activation.slope(np.array([-1e-9, 1e-9]))
    roots = np.sqrt(variances[small])
    scale = roots / math.sqrt(LEAST)  # of a kink at 0 all coefficients go with the root
    table[:TERMS, small] *= scale
    table[0, small] = at_0 + (table[0, small] - at_0 * scale)
    table[TERMS + 1, small] = at_0 * at_0 + 0.5 * float(sides @ sides) * variances[small]
    if at_0 == 0.0:
        table[TERMS, small] *= scale


@lru_cache(maxsize=512)
def _at_nodes(activation: Nonlinearity, octave: int) -> np.ndarray:
    """a_n, E |phi|, E phi^2 and E phi'^2 at the nodes of an octave of q, shape (TERMS + 3, NODES)."""
    columns = [_integrals(activation, 2.0 ** (octave + node)) for node in _nodes()]
    return np.stack(columns, axis=1)


def _nodes() -> np.ndarray:
    """Chebyshev's nodes on [0, 1]."""
    return 0.5 - 0.5 * np.cos(np.pi * (np.arange(NODES) + 0.5) / NODES)


def _interpolation(places: np.ndarray) -> np.ndarray:
    """Weights of the nodes at places in [0, 1], shape (NODES, places): barycentric."""
    signs = (-1.0) ** np.arange(NODES) * np.sin(np.pi * (np.arange(NODES) + 0.5) / NODES)
    away = places[None, :] - _nodes()[:, None]
    hit = away == 0.0
    weights = signs[:, None] / np.where(hit, 1.0, away)
    weights[:, hit.any(0)] = hit[:, hit.any(0)]
    return weights / weights.sum(0)


def _integrals(activation: Nonlinearity, variance: float) -> np.ndarray:
    z, weights = rule(activation, math.sqrt(variance))
    x = math.sqrt(variance) * z
    value, slope = activation.value(x), activation.slope(x)
    gauss = np.exp(-0.25 * z * z) / (2.0 * math.pi) ** 0.25
    found = np.empty(TERMS + 3)
    load = weights * gauss * value
    for n, function in enumerate(hermite_functions(z, TERMS)):
        found[n] = load @ function
    density = weights * gauss * gauss
    found[TERMS:] = density @ np.abs(value), density @ value**2, density @ slope**2
    return found


def hermite_functions(z: np.ndarray, terms: int) -> Iterator[np.ndarray]:
    """Yield h_n(z) exp(-z^2 / 4) / (2 pi)^(1/4), n below `terms`.

    They stay of order 1, where the polynomials overflow.
    """
    before, here = np.zeros_like(z), np.exp(-0.25 * z * z) / (2.0 * math.pi) ** 0.25
    for n in range(terms):
        yield here
        before, here = here, (z * here - math.sqrt(n) * before) / math.sqrt(n + 1.0)


def rule(activation: Nonlinearity, root: float) -> tuple[np.ndarray, np.ndarray]:
    """Nodes z and weights of an integral over a Gaussian of standard deviation `root`, without its density.

    Gauss-Legendre between panels that are fine where phi bends, at its kinks and near 0, and everywhere
    narrower than a wave of the highest Hermite polynomial.
    """
    centres = np.array(sorted({0.0, *activation.kinks}))
    grades = np.array([0.0, *_GRADES])
    graded = (centres[:, None] + np.concatenate([-grades, grades])).ravel() / root
    edges = np.union1d(np.linspace(-_REACH, _REACH, 97), graded[np.abs(graded) < _REACH])
    edges = edges[np.append(True, np.diff(edges) > 1e-13)]
    return panels(edges, 12)


def panels(edges: np.ndarray, order: int) -> tuple[np.ndarray, np.ndarray]:
    """Nodes and weights of Gauss-Legendre rules between neighbouring edges."""
    nodes, weights = np.polynomial.legendre.leggauss(order)
    half = 0.5 * np.diff(edges)[:, None]
    middle = 0.5 * (edges[:-1] + edges[1:])[:, None]
    return (middle + half * nodes).ravel(), (half * weights).ravel()
