"""Closures of the finite-width theory: what it assumes rather than derives, each with its reason.

An expansion in 1/N of a chain of Gram matrices does not close: moments of order n need those of order n + 1,
averages over the spectrum need eigenvectors, a first order must be kept from going negative. Whatever ends it
stands here. `Closures` is handed to the functions that use it; another one is

    dataclasses.replace(CLOSURES, least_elasticity=0.0).

What is only numerical (nodes of quadratures, steps of derivatives, floors against a division by 0) stands
where it is used.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np


def beta_third_moment(first: float, second: float) -> float:
    """Third moment of the Beta law with these first two.

    The stationary law of a Jacobi diffusion is a Beta law, and at every time the diffusion lives in [0, 1].
    """
    variance = second - first * first
    if variance <= 1e-14 * first or first >= 1.0:
        return first * second
    total = first * (1.0 - first) / variance - 1.0
    return second * (first * total + 2.0) / (total + 2.0)


def gauss_hermite(order: int) -> tuple[np.ndarray, np.ndarray]:
    """Nodes and weights, of sum 1, of Gauss's rule for a standard Gaussian."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(order)
    return nodes, weights / weights.sum()


def bounding_factors(variance: np.ndarray, bound: float) -> np.ndarray:
    """Factors on fluctuations that bring the variance of each, on the diagonal, to at most `bound`.

    Where the symmetry between points breaks, the linear response of log T_ii grows without bound; the
    variance of their law over points and nets does not.
    """
    return np.sqrt(np.minimum(1.0, bound / np.maximum(np.diag(variance), 1e-300)))


def silverman_width(count: int, variance: float) -> float:
    """Square of the width of the kernels that estimate a density from `count` quantiles.

    Silverman's rule, h = 0.9 sd n^(-1/5), of least mean squared error for a Gaussian density.
    """
    return 0.81 * count**-0.4 * variance


def seeded_positions(images: int, positions: int, each: int) -> np.ndarray:
    """A few positions of every image that stand for all of it, shape (images, each); always the same.

    An even lattice would have one distance between its positions; irregular ones have many, as all have.
    """
    rng = np.random.default_rng(0)
    return np.array([rng.choice(positions, each, replace=False) for _ in range(images)])


#: Of E m m'' - 1 of one mask at s = 1, shares by half of the Hermite order. Orders 1 and 3 are those of
#: (2 / pi) asin sqrt s; the rest is taken at order 15, within 0.02 of the arc sine up to s = 0.9.
MASK_ORDERS = (
    (0.5, 2.0 / math.pi),
    (1.5, 1.0 / (3.0 * math.pi)),
    (7.5, 1.0 - 7.0 / (3.0 * math.pi)),
)


@dataclass(frozen=True)
class Closures:
    """What the theory assumes.

    Attributes
    ----------
    skewness_square, skewness_rectified, skewness_mask : float
        E x^3 / (E x^2)^2 of the relative increment x of a layer of a plain convolutional net: of z^2,
        2 relu(z)^2 and 2 [z > 0], z a standard Gaussian. Of a collapsed signal, where all points see one z.
    third_moment : callable
        Of the first two moments of a^2, the squared correlation of signal and noise at a point of a plain
        net: its moments do not close.
    steps_per_time : float
        Euler steps of the diffusion of a^2 in a time of 1, that is N layers: they err by the square of it.
    angle_order : int
        Of the Gauss-Hermite rule for log (1 - c), which is taken as Gaussian: 1 - c is positive, and its
        logarithm is what fluctuates evenly (`plain.angle_closure`).
    most_log_rank_variance : float
        Variance of log (r_eff - 1) at most. It is linear in the fluctuations and has no meaning above 1; the
        bound keeps exp from overflowing where the eigenvalues are degenerate.
    most_factors : int
        Of the product law of the noise's Gram matrix of plain nets: the edge of a product of K
        Marchenko-Pastur laws of one variance moves by less than a percent from 8 factors on.
    tracy_widom_share : float
        Variance of the largest eigenvalue of a Gaussian orthogonal matrix of size r, over that of an entry
        of its diagonal, times r^(1/3): half of that of the Tracy-Widom law (1.268^2 / 2 = 0.80).
    most_lost : float
        Share of the noise that batch norm takes at most along the signal. 1 - 2 zeta / N is the first order
        of a positive factor; at widths of a few tens zeta / N of few images exceeds its range.
    most_memory : float
        Of an error of a pair, relative to the points' norms. Batch norm and ReLU contract errors; a mean
        over pairs exceeds 1 only where one point dominates it.
    mask_orders : tuple of (half of the order, share)
        Shares of a mask's covariance by half of the Hermite order: `MASK_ORDERS`.
    bound : callable
        Factors that hold fluctuations of norms at the variance of their law: `bounding_factors`.
    density_width : callable
        Square of the kernels' width for the law of log norms, of their number and variance.
    largest_quantiles : int
        Of the largest of M normal variables, over which the noise's rank is averaged.
    points : int
        Of convolutional nets with batch norm, that stand for all points in dense formulas; at least two
        positions of every image. 256 cost as much as the means of the whole batch.
    positions : callable
        Which: `seeded_positions`.
    least_elasticity : float
        Of the leading eigenvector's variance by the norm of its image. Constant images have 1; what is
        fitted to the batch's images (about 1.5) is noise below that.
    least_kept : float
        Share of the first layer's noise covariance below which it is as good as any other factor.
    most_power : float
        To which the law of the variances of channels is raised to have the variance that is known. Beyond,
        one quantile of 512 would hold it.
    """

    skewness_square: float = 2.0
    skewness_rectified: float = 44.0 / 25.0
    skewness_mask: float = 0.0
    third_moment: Callable[[float, float], float] = beta_third_moment
    steps_per_time: float = 40.0
    angle_order: int = 7
    most_log_rank_variance: float = 50.0
    most_factors: int = 8
    tracy_widom_share: float = 0.80
    most_lost: float = 0.5
    most_memory: float = 1.0
    mask_orders: tuple[tuple[float, float], ...] = MASK_ORDERS
    bound: Callable[[np.ndarray, float], np.ndarray] = bounding_factors
    density_width: Callable[[int, float], float] = silverman_width
    largest_quantiles: int = 6
    points: int = 256
    positions: Callable[[int, int, int], np.ndarray] = seeded_positions
    least_elasticity: float = 1.0
    least_kept: float = 0.02
    most_power: float = 16.0

    def log_kept(self, lost: float) -> float:
        """Logarithm of what a batch norm leaves of the noise, if `lost` of it lies along the signal."""
        return math.log1p(-min(lost, self.most_lost))

    @staticmethod
    def least_masks(inverse_square: float) -> float:
        """Mean of k0 over pairs at which two points' sampling covariance 4 k0 I - 1 is 0.

        Centring brings correlations of few points below 0; what all points share is still a variance.
        """
        return 0.25 / inverse_square


CLOSURES = Closures()
