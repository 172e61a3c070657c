"""Mean kernel of a fully connected net with batch norm, and the noise of its single points.

`fully_connected` carries both from unit to unit, beside the `UnitFluctuations` that every net has.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ..shared.marchenko_pastur import sampled_spectrum
from ..shared.matrices import centred
from ..shared.noise_draw import draw_variance
from .merge import merged_noise
from .noise_rank import participation_ratio
from .noise_sampling import NoiseFluctuationState
from .record import BatchNormRecord


@dataclass(frozen=True)
class KernelState:
    """Mean kernel of the channels.

    Attributes
    ----------
    covariance : shape (M, M)
        Mean of the centred T.
    second : shape (M,)
        Mean of the diagonal of T, not centred.
    log_noise : float
        Logarithm of the mean of the noise's variance.
    shared_weights : shape (M, M), or None
        What the channels' common first weights make signal and noise share: E C C' (`response`), until
        a ReLU. What is left after it is of the order of 1 / (features of the images) and dropped.
    """

    covariance: np.ndarray
    second: np.ndarray
    log_noise: float
    shared_weights: np.ndarray | None = None

    @classmethod
    def of_images(cls, images: np.ndarray, gain: float) -> KernelState:
        """Channels after a linear layer of the images (n, features): N(0, gain times their Gram matrix)."""
        gram = gain / images.shape[1] * (images @ images.T)
        covariance = centred(gram)
        return cls(covariance, np.diag(gram).copy(), math.log(gain), gain / images.shape[1] * covariance)

    def scaled(self, gain: float) -> KernelState:
        """After a linear layer of this gain, but for what N channels sample."""
        shared = None if self.shared_weights is None else gain**2 * self.shared_weights
        return KernelState(
            gain * self.covariance, gain * self.second, self.log_noise + math.log(gain), shared
        )

    @property
    def extent(self) -> tuple[float, float]:
        """Logarithms of the trace of the signal and of the noise's variance."""
        return math.log(max(float(np.trace(self.covariance)), 1e-300)), self.log_noise


class PointNoise:
    """Fluctuations over nets of the noise of single points, where the signal stands and before its unit.

    With convolutions they are averaged away; here they decide the rank of the noise.

    Parameters
    ----------
    points : int
        M.
    features : int
        Of the images: the noises of two points have correlations of mean square 1 / features.

    Attributes
    ----------
    point, pair : NoiseFluctuationState
        Variance of log D, D the noise variance of a point, and covariance of two points' log D. Every net has
        a draw of the noise of its own.
    correlation : NoiseFluctuationState
        r: mean square of the correlation of two points' noises.
    spectrum : shape (M,)
        Of the Gram matrix of the noises' directions, of mean 1 and variance M r (`noise_rank`).
    earlier : shape (M,)
        The same before its last sampling,
    ratio : float
        and the ratio of that.
    """

    def __init__(self, points: int, features: int) -> None:
        self.points = points
        self._before = {
            "point": NoiseFluctuationState(draw_variance(features)),
            "pair": NoiseFluctuationState(0.0),
            "correlation": NoiseFluctuationState(1.0 / features),
        }
        self._here = dict(self._before)
        self._masks: list[float] = []
        self.earlier, self.ratio = np.ones(points), points / features
        self.spectrum = sampled_spectrum(self.earlier, self.ratio)

    @property
    def apart(self) -> float:
        """Variance of log D between the points of a net."""
        return self._here["point"].variance - self._here["pair"].variance

    @property
    def correlation(self) -> float:
        """R."""
        return self._here["correlation"].variance

    @property
    def participation(self) -> float:
        """Share of a point's own variance in that of the mean over points."""
        return participation_ratio(self.points, self.apart)

    def sampled(self, width: int) -> float:
        """What N channels add, as a Gram matrix, to the variance of log mu2 of the noise."""
        participation = self.participation
        return (2.0 * participation + 2.0 * (1.0 - participation) * self.correlation) / width

    def sample(self, width: int) -> None:
        """A linear layer after another: its population is the Gram matrix of N Gaussian channels."""
        sources = {"point": 2.0, "pair": 2.0 * self.correlation, "correlation": 1.0}
        self._before = {
            name: NoiseFluctuationState(state.variance + sources[name] / width)
            for name, state in self._before.items()
        }
        self._here = dict(self._before)
        self._sampled(self.spectrum, self.points / width)

    def _sampled(self, earlier: np.ndarray, ratio: float) -> None:
        self.earlier, self.ratio = earlier, ratio
        self.spectrum = sampled_spectrum(earlier, ratio)

    def _of_variance(self, spectrum: np.ndarray, squared_correlation: float) -> np.ndarray:
        """A spectrum brought to the variance M r."""
        spread = self.points * max(squared_correlation, 0.0) / max(float(spectrum.var()), 1e-300)
        return np.maximum(1.0 + math.sqrt(spread) * (spectrum - 1.0), 0.0)

    def behind(self, passed: BatchNormRecord) -> None:
        """Through a batch norm and its ReLU."""
        masks = math.sqrt(4.0 * passed.through.squared_masks)
        self._masks.append(masks)
        memories = {"point": 1.0, "pair": 1.0, "correlation": masks}
        self._here = {
            name: NoiseFluctuationState(state.observed(getattr(passed.channels, name), memories[name]))
            for name, state in self._here.items()
        }
        sampled = passed.channels.correlation.variance
        left = 1.0 + masks * (self.spectrum - 1.0)
        self._sampled(self._of_variance(left, self.correlation - sampled), self.points * sampled)

    def merge(self, shares: tuple[float, float], layers: list[BatchNormRecord]) -> None:
        """The unit ends: its branch, of these layers, has these shares of signal and noise."""
        ones = [1.0] * len(layers)
        memories = {"point": ones, "pair": ones, "correlation": self._masks}
        self._before = {
            name: merged_noise(
                state, shares, [getattr(layer.channels, name) for layer in layers], memories[name]
            )
            for name, state in self._before.items()
        }
        self._here, self._masks = dict(self._before), []
        self.spectrum = self._of_variance(self.spectrum, self.correlation)
