"""What activations of two slopes make of Gaussians that have means: phi(x) = s x above 0 and t x below.

With phi(x) = (s - t) relu(x) + t x all comes down to the rectifier, whose pairs are in `kernels.bivariate`:
Cov(phi, phi') = (s - t)^2 C + ((s - t) t (Phi(a) + Phi(a')) + t^2) c, and the same of E phi' phi' with K in
place of C and 1 of c. What is linear on the other side meets the mean slope t + (s - t) Phi(a).
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

from ..kernels.bivariate import BLOCK, CENTRE, MILLS, REACH, SCRATCH, TERMS
from ..nets.activations import PiecewiseLinear


def rectify(
    activation: PiecewiseLinear, mean: np.ndarray, covariance: np.ndarray, noise: np.ndarray,
    mirror: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """Covariances of signal and noise behind an activation, in place; means and mean slopes.

    Exact for Gaussians: the absolute error is below 1e-13 in units of the deviations. The noise is infinitely
    small and independent of the signal.

    Parameters
    ----------
    activation : PiecewiseLinear
    mean : ndarray, shape (units,)
    covariance, noise : ndarray, shape (displacements, units, units)
        Between units at a displacement, the first of which is 0; where there is none, one matrix.
    mirror : ndarray of int64, shape (displacements,), optional
        Of which displacement the covariance is the transpose.

    Returns
    -------
    mean, slope : ndarray, shape (units,)
        E phi and E phi'.
    """
    from ..kernels.bivariate import rectify as kernel
    from ..kernels.threads import spread, workers

    above, below = activation.slopes
    bend = above - below
    deviations = np.sqrt(np.maximum(np.diagonal(covariance[0]), 0.0))
    a = standardised(mean, deviations)
    normal = normal_table(a)
    scratch, index = np.empty((workers(), SCRATCH)), np.empty((workers(), BLOCK + 1), np.int64)
    mirror = np.zeros(1, np.int64) if mirror is None else mirror
    shares = np.array([bend * bend, bend * below, below * below])
    spread(
        kernel, covariance, noise, mirror, deviations, a, normal, hermite_table(a), mills_coefficients(),
        shares, scratch, index,
    )  # fmt: skip
    # A deviation that is tiny beside its mean leaves the rectifier's mean as it is.
    rectified = np.where(np.abs(a) < REACH, deviations * normal[2], np.maximum(mean, 0.0))
    return bend * rectified + below * mean, bend * normal[0] + below


def standardised(mean: np.ndarray, deviations: np.ndarray) -> np.ndarray:
    """Means in deviations, within `REACH`; a unit without deviation is on the side of its mean."""
    with np.errstate(over="ignore"):
        a = mean / np.maximum(deviations, 1e-300)
    return np.clip(a, -REACH, REACH)


def normal_table(a: np.ndarray) -> np.ndarray:
    """Phi(a), Phi(-a), psi(a) and psi(-a), psi(x) = E relu(x + z); shape (4, units).

    psi to full relative precision on either side: from Mills' ratio below 0.
    """
    from scipy.special import erfcx, ndtr

    size = np.abs(a)
    density = np.exp(-0.5 * a * a) / math.sqrt(2.0 * math.pi)
    small = density * (1.0 - size * math.sqrt(0.5 * math.pi) * erfcx(size / math.sqrt(2.0)))
    large = small + size
    return np.stack([ndtr(a), ndtr(-a), np.where(a > 0.0, large, small), np.where(a > 0.0, small, large)])


def hermite_table(a: np.ndarray) -> np.ndarray:
    """He_n(a) phi(a) / sqrt(n!), n below `TERMS`; shape (TERMS, units)."""
    table = np.empty((TERMS, a.size))
    before, here = np.zeros_like(a), np.exp(-0.5 * a * a) / math.sqrt(2.0 * math.pi)
    for n in range(TERMS):
        table[n] = here
        before, here = here, (a * here - math.sqrt(n) * before) / math.sqrt(n + 1.0)
    return table


@lru_cache(maxsize=1)
def mills_coefficients() -> np.ndarray:
    """Chebyshev coefficients of 1 - z R(z) in (z - CENTRE) / (z + CENTRE)."""
    from scipy.special import erfcx

    def function(t: np.ndarray) -> np.ndarray:
        z = CENTRE * (1.0 + t) / (1.0 - t)
        return 1.0 - z * math.sqrt(0.5 * math.pi) * erfcx(z / math.sqrt(2.0))

    return np.polynomial.chebyshev.chebinterpolate(function, MILLS - 1)
