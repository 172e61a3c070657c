"""Expectations of two rectified Gaussians as functions of their correlation c.

With u, v standard Gaussian, s = sqrt(1 - c^2) and theta = acos c (Cho and Saul, 2009; the odd one by the
same integration):

    k0  = E[1(u>0) 1(v>0)]          = (pi - theta) / 2 pi
    k1  = E[relu(u) relu(v)]        = (s + (pi - theta) c) / 2 pi
    J2  = E[relu(u)^2 relu(v)^2]    = (3 s c + (pi - theta) (1 + 2 c^2)) / 2 pi
    M31 = E[relu(u)^3 relu(v)]      = s^3 / pi + 3 c (k0 + c s / 2 pi)

These are for the small dense matrices of the finite-width theory, where clarity counts; the loops of the
infinite-width engine have kernels of their own.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np


@dataclass(frozen=True)
class ReluMoments:
    """The expectations for an array of correlations.

    Attributes
    ----------
    c, s : ndarray
        Correlations, clipped to [-1, 1], and their sines.
    k0, k1, j2, m31 : ndarray
        As above; all but the first are computed when they are asked for.
    """

    c: np.ndarray
    s: np.ndarray
    k0: np.ndarray

    @classmethod
    def of(cls, correlation: np.ndarray) -> ReluMoments:
        """At these correlations: one arc cosine."""
        c = np.clip(correlation, -1.0, 1.0)
        return cls(c, s=np.sqrt((1.0 - c) * (1.0 + c)), k0=0.5 - np.arccos(c) / (2.0 * math.pi))

    @cached_property
    def k1(self) -> np.ndarray:
        """E[relu(u) relu(v)]."""
        return self.s / (2.0 * math.pi) + self.k0 * self.c

    @cached_property
    def j2(self) -> np.ndarray:
        """E[relu(u)^2 relu(v)^2]."""
        return 1.5 / math.pi * self.s * self.c + self.k0 * (1.0 + 2.0 * self.c**2)

    @cached_property
    def m31(self) -> np.ndarray:
        """E[relu(u)^3 relu(v)]."""
        return self.s**3 / math.pi + 3.0 * self.c * (self.k0 + self.c * self.s / (2.0 * math.pi))


def correlations(covariance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Correlations, with a diagonal of exactly 1, and square roots of the diagonal."""
    roots = np.sqrt(np.diag(covariance))
    with np.errstate(divide="ignore", invalid="ignore"):
        c = np.nan_to_num(covariance / np.outer(roots, roots))
    np.fill_diagonal(c, 1.0)
    return np.clip(c, -1.0, 1.0), roots


def correlation_of_squares(c: np.ndarray) -> np.ndarray:
    """Correlation of the squares of two centred rectified Gaussians of correlation c.

    With phi = relu(u) - m and E relu(u)^2 relu(v) = (1 + c)^2 / (2 sqrt(2 pi)).
    """
    m = 1.0 / math.sqrt(2.0 * math.pi)

    def fourth(relu: ReluMoments) -> np.ndarray:
        mixed = 0.5 * m * (1.0 + relu.c) ** 2
        return relu.j2 - 4.0 * m * mixed + 4.0 * m * m * relu.k1 + m * m - 4.0 * m**4 + m**4

    apart, same = fourth(ReluMoments.of(np.zeros(1))), fourth(ReluMoments.of(np.ones(1)))
    return (fourth(ReluMoments.of(c)) - apart) / (same - apart)
