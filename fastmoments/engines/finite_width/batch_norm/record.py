"""What one batch norm and ReLU of a convolutional net did: responses, sources and laws of images' norms.

The engine (`convolutional`) fills in what it knows before and after it; the laws of its stations
(`convolutional_stations`) are read off it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from ..closures import CLOSURES, Closures
from ..shared.lognormal import Lognormal
from ..shared.matrices import centred
from .finite_channel_variance import FiniteChannelVariance, finite_channel_variance
from .noise_sampling import NoiseFluctuationState, NoiseSampling
from .response import BatchNormResponse, odd_moments


@dataclass
class BatchNormRecord:
    """A batch norm and ReLU that a branch has passed, and the fluctuations around them.

    Attributes
    ----------
    few : shape (points, points)
        Centred covariance before it, of the few points.
    epsilon : float
        In its units.
    pairs : float
        Pair variance q before it: of S_ij relative to sqrt(S_ii S_jj), i != j.
    through : BatchNormResponse
    points : shape (images, images)
        V before it: covariance over nets of the logarithms of the images' norms.
    diffusion : float
        The mean of its diagonal if batch norm neither held the norms nor drove them apart. What it does to
        fluctuations it does to their mean too, so that only this part shifts means (heuristic).
    response : shape (images, images)
        Of V.
    fresh : shape (images, images)
        What sampling adds to V.
    inverse : shape (images,)
        Derivative of log E 1 / q by the logarithm of every image's norm.
    inverse_square : float
        E (q + eps)^-2 / (E (q + eps)^-1)^2.
    channels : NoiseSampling
        What channels do to the noise of all points alike; single points are averaged away. Set when the
        batch norm is done.
    batch : NoiseFluctuationState
        Sampling variance of log mu2 of the noise before batch norm, O(1/N).
    grown : float
        Variance of log mu2 of the noise after it that V makes, pull' V pull and what it was correlated with.
    noise_factors : list of float
    first : (float, float)
        Factors of the covariance of the noise over channels, and what of it is the first layer's
        (`channel_noise_rank`).
    """

    few: np.ndarray
    epsilon: float
    pairs: float
    through: BatchNormResponse
    points: np.ndarray
    diffusion: float
    response: np.ndarray
    fresh: np.ndarray
    inverse: np.ndarray
    batch: NoiseFluctuationState
    grown: float
    inverse_square: float = 1.0
    channels: NoiseSampling = field(init=False, repr=False)
    noise_factors: list[float] = field(default_factory=list)
    first: tuple[float, float] = (0.0, 0.0)
    closures: Closures = CLOSURES
    ranks: dict[str, Lognormal] = field(default_factory=dict)

    @cached_property
    def slopes(self) -> tuple[np.ndarray, np.ndarray]:
        """Derivatives of log nu1 and log mu4 by the logarithms of the images' norms."""
        nu1, mu4 = (slope.reshape(len(self.fresh), -1).sum(1) for slope in self.through.slopes)
        return nu1, mu4

    @cached_property
    def bend(self) -> np.ndarray:
        """Shift of log nu1 and log mu4 by the diffusion of images' norms: half a trace of second derivatives.

        By differences along vectors of signs, which diagonal second derivatives make exact.
        """
        images, each = len(self.fresh), len(self.few) // len(self.fresh)
        step = 0.5 * math.sqrt(self.diffusion)
        found = []
        for signs in self.closures.signs(images, self.closures.sign_pairs if step > 0.0 else 0):
            for shift in (step * signs, -step * signs):
                factor = np.exp(np.repeat(shift, each))
                moved = centred(self.few * np.outer(factor, factor))
                found.append(odd_moments(moved, self.epsilon, self.pairs))
        if not found:
            return np.zeros(2)
        return np.mean(found, 0) - np.log([self.through.nu1, self.through.mu4])

    @cached_property
    def chance(self) -> FiniteChannelVariance:
        """What N channels have by chance."""
        return finite_channel_variance(self.through.values, self.through.vectors, self.epsilon)
