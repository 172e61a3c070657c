"""Dual activations: E phi(u) phi(v) and E phi'(u) phi'(v) of two Gaussians, block by block.

(u, v) has the covariance (q_u, c, q_v). In closed form for erf, the sine and GELU; by Hermite expansion
(`hermite`) for all others. What comes down to the rectifier has its own map (`activation`). Source of erf:
Williams, 1997.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import singledispatch
from typing import Protocol

import numpy as np

from ..nets.activations import GELU, Erf, Nonlinearity, Sin
from .hermite import expansion, panels

#: What an expansion may leave out, relative to sqrt(E phi^2 E phi^2), before pairs are integrated one by one;
#: what it may where phi has kinks, of which the expansion converges slowly.
RESOLVED, RESOLVED_BY_KINKS = 1e-11, 1e-8
#: Of how many pairs of a layer that is done, each taking some 0.01 s.
MOST_PAIRS = 100


#: phi or its derivative.
Function = Callable[[np.ndarray], np.ndarray]


class Dual(Protocol):
    """The dual of one activation, for points of given variances.

    Attributes
    ----------
    square : ndarray, shape (points,)
        E phi(u)^2 = K'_uu.
    mean, absolute : ndarray, shape (points,)
        E phi(u), E |phi(u)|.
    slope2 : ndarray, shape (points,)
        E phi'(u)^2.
    error : float
        Largest relative error of the pairs so far; 0 where the formula is exact.
    """

    square: np.ndarray
    mean: np.ndarray
    absolute: np.ndarray
    slope2: np.ndarray
    error: float

    def covariance(self, block: np.ndarray, rows: slice, columns: slice) -> np.ndarray:
        """E phi(u) phi(v) of a block of covariances between points `rows` and points `columns`."""

    def derivative(self, block: np.ndarray, rows: slice, columns: slice) -> np.ndarray:
        """E phi'(u) phi'(v)."""


@singledispatch
def dual(activation: Nonlinearity, variances: np.ndarray) -> Dual:
    """The dual of an activation for points of these variances, which are above 0."""
    return Expanded(activation, variances)


@dual.register
def _(activation: Erf, variances: np.ndarray) -> Dual:
    return ErfDual(activation, variances)


@dual.register
def _(activation: Sin, variances: np.ndarray) -> Dual:
    return SinDual(activation, variances)


@dual.register
def _(activation: GELU, variances: np.ndarray) -> Dual:
    return GELUDual(activation, variances) if activation.exact else Expanded(activation, variances)


class _Closed:
    """What all closed forms have: functions of one point are those of a pair of it with itself."""

    def __init__(self, activation: Nonlinearity, variances: np.ndarray) -> None:
        self.q, self.error = np.asarray(variances, np.float64), 0.0
        self.square = self._pairs(self.q, self.q, self.q)
        self.slope2 = self._slopes(self.q, self.q, self.q)
        self.mean, self.absolute = self._means()

    def covariance(self, block: np.ndarray, rows: slice, columns: slice) -> np.ndarray:
        """See `Dual`."""
        return self._pairs(block, *self._sides(rows, columns))

    def derivative(self, block: np.ndarray, rows: slice, columns: slice) -> np.ndarray:
        """See `Dual`."""
        return self._slopes(block, *self._sides(rows, columns))

    def _sides(self, rows: slice, columns: slice) -> tuple[np.ndarray, np.ndarray]:
        return self.q[rows][:, None], self.q[columns][None, :]

    def _means(self) -> tuple[np.ndarray, np.ndarray]:
        raise NotImplementedError

    @staticmethod
    def _pairs(c: np.ndarray, q1: np.ndarray, q2: np.ndarray) -> np.ndarray:
        raise NotImplementedError

    @staticmethod
    def _slopes(c: np.ndarray, q1: np.ndarray, q2: np.ndarray) -> np.ndarray:
        raise NotImplementedError


class ErfDual(_Closed):
    """E erf(u) erf(v) = (2 / pi) asin(2 c / sqrt((1 + 2 q_u) (1 + 2 q_v)))."""

    def _means(self) -> tuple[np.ndarray, np.ndarray]:
        # E |erf(u)| = 2 P(0 < w < |u| sqrt 2), of an angle between two Gaussians.
        return np.zeros_like(self.q), 2.0 / math.pi * np.arctan(np.sqrt(2.0 * self.q))

    @staticmethod
    def _pairs(c: np.ndarray, q1: np.ndarray, q2: np.ndarray) -> np.ndarray:
        sine = 2.0 * c / np.sqrt((1.0 + 2.0 * q1) * (1.0 + 2.0 * q2))
        return 2.0 / math.pi * np.arcsin(np.clip(sine, -1.0, 1.0))

    @staticmethod
    def _slopes(c: np.ndarray, q1: np.ndarray, q2: np.ndarray) -> np.ndarray:
        return 4.0 / math.pi / np.sqrt(_determinant(2.0 * c, 2.0 * q1, 2.0 * q2))


class SinDual(_Closed):
    """E sin(u) sin(v) = exp(-(q_u + q_v) / 2) sinh(c)."""

    def _means(self) -> tuple[np.ndarray, np.ndarray]:
        # |sin x| = (2 - 4 sum_k cos(2 k x) / (4 k^2 - 1)) / pi, and E cos(2 k u) = exp(-2 k^2 q).
        waves = np.zeros_like(self.q)
        for k in range(1, 401):
            waves += np.exp(-2.0 * k * k * self.q) / (4.0 * k * k - 1.0)
        small = np.sqrt(2.0 / math.pi * self.q) * (1.0 - self.q / 3.0)  # of |u| - |u|^3 / 6
        absolute = np.where(self.q < 1e-4, small, (2.0 - 4.0 * waves) / math.pi)
        return np.zeros_like(self.q), absolute

    @staticmethod
    def _pairs(c: np.ndarray, q1: np.ndarray, q2: np.ndarray) -> np.ndarray:
        size = np.abs(c)
        return -0.5 * np.copysign(np.exp(size - 0.5 * (q1 + q2)), c) * np.expm1(-2.0 * size)

    @staticmethod
    def _slopes(c: np.ndarray, q1: np.ndarray, q2: np.ndarray) -> np.ndarray:
        return 0.5 * (np.exp(c - 0.5 * (q1 + q2)) + np.exp(-c - 0.5 * (q1 + q2)))


class GELUDual(_Closed):
    """GELU x Phi(x), by parts (E u f = q_u E f_u + c E f_v) until only E Phi(u) Phi(v) is left.

    With D = (1 + q_u) (1 + q_v) - c^2 and T = 1/4 + asin(c / sqrt((1 + q_u) (1 + q_v))) / 2 pi:
    E phi phi = c T + (q_u (q_v (1 + q_u) - c^2) / (1 + q_u) + c^2 / (1 + q_v)) / (2 pi sqrt D) and
    E phi' phi' = T + c (1 / (1 + q_u) + 1 / (1 + q_v) + 1 / D) / (2 pi sqrt D).
    """

    def _means(self) -> tuple[np.ndarray, np.ndarray]:
        mean = self.q / np.sqrt(2.0 * math.pi * (1.0 + self.q))
        # |x Phi(x)| = |x| Phi(x), which is even but for its half: E |u| / 2.
        return mean, np.sqrt(self.q / (2.0 * math.pi))

    @staticmethod
    def _pairs(c: np.ndarray, q1: np.ndarray, q2: np.ndarray) -> np.ndarray:
        root = np.sqrt(_determinant(c, q1, q2))
        across = q1 * (q2 + _determinant(c, q1, q2) - 1.0 - q1 - q2) / (1.0 + q1) + c * c / (1.0 + q2)
        return c * _both_positive(c, q1, q2) + across / (2.0 * math.pi * root)

    @staticmethod
    def _slopes(c: np.ndarray, q1: np.ndarray, q2: np.ndarray) -> np.ndarray:
        determinant = _determinant(c, q1, q2)
        bends = 1.0 / (1.0 + q1) + 1.0 / (1.0 + q2) + 1.0 / determinant
        return _both_positive(c, q1, q2) + c * bends / (2.0 * math.pi * np.sqrt(determinant))


def _determinant(c: np.ndarray, q1: np.ndarray, q2: np.ndarray) -> np.ndarray:
    """(1 + q_u) (1 + q_v) - c^2, whose q_u q_v - c^2 is not below 0 but by rounding."""
    return 1.0 + q1 + q2 + np.maximum(q1 * q2 - c * c, 0.0)


def _both_positive(c: np.ndarray, q1: np.ndarray, q2: np.ndarray) -> np.ndarray:
    """E Phi(u) Phi(v)."""
    sine = c / np.sqrt((1.0 + q1) * (1.0 + q2))
    return 0.25 + np.arcsin(np.clip(sine, -1.0, 1.0)) / (2.0 * math.pi)


class Expanded:
    """sum_n a_n(q_u) a_n(q_v) r^n, as many terms as matter.

    Where r is near 1 and phi bends sharply on the scale of the signal (tanh of a variance of 100), terms are
    left out that matter. Up to `MOST_PAIRS` such pairs are integrated one by one; of more, `error` is what
    is left out.
    """

    def __init__(self, activation: Nonlinearity, variances: np.ndarray) -> None:
        self.activation, self.error, self.integrated = activation, 0.0, 0
        self.q = np.asarray(variances, np.float64)
        found = expansion(activation, self.q)
        self.size, self.mean, self.absolute = found.size, found.mean, found.absolute
        self.square, self.slope2 = found.size**2, found.slope2
        self._values = _Series(found.coefficients)
        slopes = np.sqrt(found.slope2)
        self._slopes = _Series(found.derivative(self.q) / slopes)

    def covariance(self, block: np.ndarray, rows: slice, columns: slice) -> np.ndarray:
        """See `Dual`."""
        return self._summed(self._values, self.activation.value, self.size, block, rows, columns)

    def derivative(self, block: np.ndarray, rows: slice, columns: slice) -> np.ndarray:
        """See `Dual`."""
        return self._summed(self._slopes, self.activation.slope, np.sqrt(self.slope2), block, rows, columns)

    def _summed(
        self, series: _Series, function: Function, size: np.ndarray, block: np.ndarray, rows: slice,
        columns: slice,
    ) -> np.ndarray:  # fmt: skip
        roots = np.sqrt(self.q)
        r = np.clip(block / np.outer(roots[rows], roots[columns]), -1.0, 1.0)
        out, left_out = series.summed(r, rows, columns)
        doubtful = np.argwhere(left_out > (RESOLVED_BY_KINKS if self.activation.kinks else RESOLVED))
        self.error = max(self.error, 0.0 if len(doubtful) else float(left_out.max()))
        if len(doubtful):
            if self.integrated + len(doubtful) <= MOST_PAIRS:
                self.integrated += len(doubtful)
                lefts, rights = np.arange(len(self.q))[rows], np.arange(len(self.q))[columns]
                for a, b in doubtful:
                    p, q = lefts[a], rights[b]
                    exact = integrated(self.activation, function, roots[p], roots[q], r[a, b])
                    out[a, b] = exact / (size[p] * size[q])
            else:
                self.error = max(self.error, float(left_out.max()))
        return out * np.outer(size[rows], size[columns])


class _Series:
    """A product series, cut where its rest no longer matters at any point."""

    def __init__(self, coefficients: np.ndarray) -> None:
        energies = coefficients**2
        rests = np.cumsum(energies[::-1], axis=0)[::-1]  # of this term and all behind it
        # Behind the last term of all: the rest of 1, or where that is rounding, as much as shortly before it.
        behind = 1.0 - rests[0]
        behind = np.where(behind > 1e-13, behind, rests[-len(rests) // 8])
        matter = np.argwhere((rests + behind > RESOLVED).any(1)).ravel()
        self.terms = int(matter[-1]) + 1 if matter.size else 1
        self.left = np.ascontiguousarray(coefficients[: self.terms].T)
        self.right = np.ascontiguousarray(coefficients[: self.terms])
        dropped = rests[self.terms] if self.terms < len(rests) else 0.0
        self.tails = np.sqrt(dropped + behind)

    def summed(self, r: np.ndarray, rows: slice, columns: slice) -> tuple[np.ndarray, np.ndarray]:
        """The sum for a block of correlations, and a bound of what it leaves out; of shape (1, 1) if none."""
        from ..kernels.series import product_series

        out = np.empty(r.shape)
        product_series(r, self.left[rows], np.ascontiguousarray(self.right[:, columns]), out)
        tails = np.outer(self.tails[rows], self.tails[columns])
        if tails.max() <= RESOLVED:
            return out, np.zeros((1, 1))
        return out, np.abs(r) ** self.terms * tails


def integrated(activation: Nonlinearity, function: Function, root1: float, root2: float, r: float) -> float:
    """E f(u) f(v) of one pair by quadrature over u = root1 z and v = root2 (r z + s w), s = sqrt(1 - r^2).

    Panels are fine where f bends in u and in v, so that it holds from a signal much larger than that bend,
    and from v that is all but u, to the opposite.
    """
    s = math.sqrt(max((1.0 - r) * (1.0 + r), 0.0))
    bends = np.unique([0.0, *activation.kinks, *np.outer([-1.0, 1.0], 2.0 ** np.arange(-2.0, 6.0)).ravel()])
    bends = np.union1d(bends, [kink + side * step for kink in activation.kinks for side in (-1, 1)
                               for step in 2.0 ** np.arange(-2.0, 3.0)])  # fmt: skip
    seen = [bends / root1] + ([bends / (root2 * r)] if r else [])
    if r and activation.kinks:  # which the integral over w smooths to the width s
        widths = s * np.concatenate([[0.0], 2.0 ** np.arange(-1.0, 4.0), -(2.0 ** np.arange(-1.0, 4.0))])
        seen.append(((np.array(activation.kinks)[:, None] / root2 + widths) / r).ravel())
    z, weights = panels(_edges(np.concatenate(seen)), 10)
    weights = weights * np.exp(-0.5 * z * z) / math.sqrt(2.0 * math.pi)
    first = weights * function(root1 * z)
    if s == 0.0:
        return float(first @ function(math.copysign(root2, r) * z))
    total = 0.0
    for value, place in zip(first, z, strict=True):
        if value != 0.0:
            w, inner = panels(_edges((bends / root2 - r * place) / s), 10)
            inner = inner * np.exp(-0.5 * w * w) / math.sqrt(2.0 * math.pi)
            total += value * float(inner @ function(root2 * (r * place + s * w)))
    return total


def _edges(marks: np.ndarray) -> np.ndarray:
    """Panels a unit wide between -9 and 9 standard deviations, and edges at the marks among them."""
    edges = np.union1d(np.linspace(-9.0, 9.0, 19), marks[np.abs(marks) < 9.0])
    return edges[np.append(True, np.diff(edges) > 1e-14)]
