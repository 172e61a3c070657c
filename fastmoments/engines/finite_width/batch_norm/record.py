"""What one batch norm and ReLU did to the fluctuations: responses, sources and laws of images' norms.

`UnitFluctuations` fills in what it knows before and after it; the laws of its stations (`stations`) are read
off it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from ..closures import CLOSURES, Closures
from .finite_channel_variance import FiniteChannelVariance, finite_channel_variance
from .noise_sampling import NoiseFluctuationState, NoiseSampling
from .response import BatchNormResponse


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
    norms, norms_behind : shape (images, images)
        V before and behind it: covariance over nets of the logarithms of the images' norms.
    response : shape (images, images)
        Of V.
    fresh : shape (images, images)
        What sampling adds to V.
    inverse : shape (images,)
        Derivative of log E 1 / q by the logarithm of every image's norm.
    noise : NoiseFluctuationState
        Of log mu2 of the noise before batch norm.
    grown : float
        Variance of log mu2 of the noise after it that V makes, pull' V pull and what it was correlated with.
    lost : float
        Share of the noise's variance that lies along the signal and is normalised with it.
    channels : NoiseSampling
        What channels do to the noise. Set when the batch norm is done, as are
    memory : shape (modes,)
        the factors on errors of pairs, by mode of the lattice.
    """

    few: np.ndarray
    epsilon: float
    pairs: float
    through: BatchNormResponse
    norms: np.ndarray
    norms_behind: np.ndarray
    response: np.ndarray
    fresh: np.ndarray
    inverse: np.ndarray
    noise: NoiseFluctuationState
    grown: float
    lost: float
    closures: Closures = CLOSURES
    channels: NoiseSampling = field(init=False, repr=False)
    memory: np.ndarray = field(init=False, repr=False)

    @cached_property
    def slopes(self) -> tuple[np.ndarray, np.ndarray]:
        """Derivatives of log nu1 and log mu4 by the logarithms of the images' norms."""
        nu1, mu4 = (slope.reshape(len(self.fresh), -1).sum(1) for slope in self.through.slopes)
        return nu1, mu4

    @cached_property
    def chance(self) -> FiniteChannelVariance:
        """What N channels have by chance."""
        return finite_channel_variance(self.through.values, self.through.vectors, self.epsilon)
