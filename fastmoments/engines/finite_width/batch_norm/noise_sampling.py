"""Sampling variance of the noise by N channels after batch norm and ReLU, by Hermite order.

In one channel the noise of a point has the variance nu^2 m / q: nu the noise of the channel, of variance 1
and correlation rho between two points, m the mask, 0 or 2, and q the batch variance. The mean over N channels
of this product has, N times, the relative variance and covariance between points

    point = E q^-2 / (E 1/q)^2  E m^2   E nu^4 - 1          = 6 I - 1
    pair  = E q^-2 / (E 1/q)^2  E m m'  E nu^2 nu'^2 - 1    = 4 k0 I (1 + 2 rho^2) - 1,

I the first factor. Channels of a shortcut persist. If the signal of a channel keeps a share s of its variance
from one unit to the next, and the noise a share d, what is of order n in their amplitudes is left with
s^(n/2) or d^(n/2) of its covariance. nu^2 is of order 2 in the noise; 1/q has the orders 2, 4, ... in the
signal. A mask has the orders 1, 3, ...: E m m'' = 1 + (2 / pi) asin(c sqrt s), c the correlation of its two
points, whose mean over pairs is 0, so that two points share order 3 and above. So the sampling noise of a
layer is a sum of parts, products of these, each of which persists in its own way.

Heuristic: of 1/q nothing above order 4, of the masks of two points nothing above order 3.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from itertools import product

import numpy as np

from ..closures import CLOSURES, Closures
from ..shared.fluctuations import FluctuationState


@dataclass(frozen=True)
class HermiteOrders:
    """Parts of a sampling noise.

    Attributes
    ----------
    variances : shape (parts,)
    signal, noise : shape (parts,)
        Half of their orders in the amplitudes of signal and noise.
    """

    variances: np.ndarray
    signal: np.ndarray
    noise: np.ndarray

    @classmethod
    def of_product(cls, by_signal: list[dict[float, float]], by_noise: dict[float, float]) -> HermiteOrders:
        """Of a product of factors; each holds its variances by half of their order, 0 for its mean."""
        terms = [
            (math.prod(weight for _, weight in term), sum(order for order, _ in term[:-1]), term[-1][0])
            for term in product(*(factor.items() for factor in (*by_signal, by_noise)))
        ]
        return cls(*np.array([term for term in terms if term[1] or term[2]]).T)

    def __rmul__(self, factor: float) -> HermiteOrders:
        return HermiteOrders(factor * self.variances, self.signal, self.noise)

    def __add__(self, other: HermiteOrders) -> HermiteOrders:
        """Of a sum of independent ones."""
        return HermiteOrders(*(np.concatenate(pair) for pair in zip(self._all, other._all, strict=True)))

    @property
    def _all(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return self.variances, self.signal, self.noise

    @property
    def variance(self) -> float:
        """Of the sum."""
        return float(self.variances.sum())

    def persist(self, signal: float, noise: float) -> np.ndarray:
        """What is left of each a unit later, the shares s and d being left of signal and noise."""
        return signal**self.signal * noise**self.noise


@dataclass(frozen=True)
class NoiseSampling:
    """Sampling variances of the noise of points, pairs and batch by N channels after batch norm and ReLU.

    Attributes
    ----------
    width : int
        N.
    inverse_square, order_2 : float
        I, and of I - 1 what is of order 2 in the signal (`BatchNormResponse.inverse_order_2`).
    masks : float
        Mean over pairs of k0.
    squared_correlation : float
        Mean over pairs of rho^2.
    participation : float
        Share of a point's own variance in that of the mean over points (`noise_rank.participation_ratio`).
    """

    width: int
    inverse_square: float
    order_2: float
    masks: float
    squared_correlation: float
    participation: float
    closures: Closures = CLOSURES

    @cached_property
    def point(self) -> HermiteOrders:
        """Sampling noise of the logarithm of a point's noise variance."""
        mask = {0.0: 1.0} | dict(self.closures.mask_orders)
        return 1.0 / self.width * HermiteOrders.of_product([self._inverse, mask], {0.0: 1.0, 1.0: 2.0})

    @cached_property
    def pair(self) -> HermiteOrders:
        """What two points share of it."""
        masks, noise = (
            {0.0: 1.0, 1.5: 4.0 * self.masks - 1.0},
            {0.0: 1.0, 1.0: 2.0 * self.squared_correlation},
        )
        return 1.0 / self.width * HermiteOrders.of_product([self._inverse, masks], noise)

    @cached_property
    def correlation(self) -> HermiteOrders:
        """Sampling variance of the correlation of the noises of two points: of nu nu' sqrt(m m') / q.

        At s = d = 1 the orders of a mask, E sqrt(m m'') = (1 + (2 / pi) asin sqrt s) / 2, add up to 1.
        """
        mask = {order: 0.5 * share for order, share in ({0.0: 1.0} | dict(self.closures.mask_orders)).items()}
        size = 4.0 * self.masks * (1.0 + 2.0 * self.squared_correlation) / self.width
        return size * HermiteOrders.of_product([self._inverse, mask, mask], {1.0: 1.0})

    @cached_property
    def batch(self) -> HermiteOrders:
        """Of the mean over points."""
        return self.participation * self.point + (1.0 - self.participation) * self.pair

    @property
    def _inverse(self) -> dict[float, float]:
        excess = self.inverse_square - 1.0
        return {0.0: 1.0, 1.0: self.order_2 * excess, 2.0: (1.0 - self.order_2) * excess}

    def before_masks(self) -> float:
        """Variance of the logarithm of the mean over points, sampled after batch norm."""
        point = 3.0 * self.inverse_square - 1.0
        pair = self.inverse_square * (1.0 + 2.0 * self.squared_correlation) - 1.0
        return (self.participation * point + (1.0 - self.participation) * pair) / self.width


@dataclass(frozen=True)
class NoiseFluctuationState:
    """State of a relative fluctuation d of the noise, whose sampling noise is made of Hermite orders.

    Attributes
    ----------
    variance : float
    cross : shape (parts,), or 0
        Covariance of d with each part of the sampling noise of the next first layer.
    sampled : float
        Covariance with the sampling of nu^2 in the channels as they are.
    """

    variance: float
    cross: np.ndarray | float = 0.0
    sampled: float = 0.0

    def observed(self, source: HermiteOrders, memory: float = 1.0) -> float:
        """Variance after the first layer of the next unit, which leaves `memory` of d."""
        return memory**2 * self.variance + 2.0 * memory * float(np.sum(self.cross)) + source.variance

    def merged(
        self, share: float, sources: list[HermiteOrders], persist: np.ndarray, memories: list[float]
    ) -> NoiseFluctuationState:
        """After a unit, of whose noise the branch has a share.

        Parameters
        ----------
        share : float
        sources : list of HermiteOrders
            Of each layer of the branch.
        persist : shape (parts,)
            What is left of each part of the first of them.
        memories : list of float
            Of each layer of the branch: the factor on d.
        """
        walk = FluctuationState(self.variance, float(np.sum(self.cross)))
        variance = walk.merged(share, memories, [each.variance for each in sources]).variance
        own = share * math.prod(memories[1:])
        keep, first = 1.0 - share + own * memories[0], sources[0]
        cross = persist * (keep * self.cross + own * first.variances)
        # nu^2 itself is of order 2 in the noise, and of none in the signal.
        sampled = float(np.sum(cross, where=(first.signal == 0.0) & (first.noise == 1.0)))
        return NoiseFluctuationState(variance, cross, sampled)
