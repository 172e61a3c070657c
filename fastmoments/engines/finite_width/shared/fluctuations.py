"""Variance of a relative fluctuation of the kernel, carried through units whose channels persist.

The first layer of a branch samples the very channels of the shortcut, so that its sampling noise n
hardly changes from one unit to the next, while the noise of the later layers is fresh. A relative
fluctuation d of the kernel of the channels obeys

    d' = A d + B n + fresh,    A = (1 - w) + w f,    n' = (1 - w) n + new,

with w the share of the branch in the sum, f what is left of d after the branch and B = w g, g what is
left of n. Then, with s = Var n and c = Cov(d, n),

    Var d' = A^2 Var d + 2 A B c + B^2 s + Var fresh,    c' = (1 - w) (A c + B s).

A net without skips has w = 1: every sampling noise is fresh.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np

#: One number, or an array of numbers that walk by themselves.
Values = float | np.ndarray
Value = TypeVar("Value", float, np.ndarray, Values)


@dataclass(frozen=True)
class FluctuationState(Generic[Value]):
    """State of a fluctuation d: its variance, and its covariance with n, the next first layer's noise.

    Both in one number each, or in a matrix over points.
    """

    variance: Value
    cross: Value | float = 0.0

    def observed(self, memory: Value | float, source: Value | float) -> Value:
        """Variance after the first layer of the branch: of f d + n."""
        return memory**2 * self.variance + 2.0 * memory * self.cross + source

    def merged(
        self, share: float, memories: Sequence[Value | float], sources: Sequence[Value | float],
        stay: float | None = None, persists: Value | float | None = None,
        thins: Sequence[Value | float] | None = None,
    ) -> FluctuationState[Value]:  # fmt: skip
        """After a unit.

        Parameters
        ----------
        share : float
            w.
        memories, sources : list of float
            Of each layer of the branch: the factor on a fluctuation, and the variance of its sampling.
        stay : float, optional
            1 - w, if it is something else.
        persists : float, optional
            The factor on n from unit to unit, if it is not that.
        thins : list of float, optional
            Of each layer: the factor on its sampling where the next layer meets it, which the memories have
            in them already; 1 if left out. n itself is what is sampled.
        """
        stay = 1.0 - share if stay is None else stay
        persists = stay if persists is None else persists
        thins = [1.0] * len(memories) if thins is None else thins
        behind: Value | float = 1.0
        fresh: Value | float = 0.0
        for memory, source, thin in zip(memories[:0:-1], sources[:0:-1], thins[:0:-1], strict=True):
            fresh += (behind * thin) ** 2 * source
            behind *= memory
        keep, own = stay + share * behind * memories[0], share * behind * thins[0]
        return FluctuationState(
            keep**2 * self.variance + 2.0 * keep * own * self.cross + own**2 * sources[0] + share**2 * fresh,
            persists * (keep * self.cross + own * sources[0]),
        )


class FluctuationRecursion:
    """Recursion of a fluctuation through the layers of a unit, whose convolutions may average it.

    A number, or an array of modes that walk by themselves.

    Attributes
    ----------
    at : FluctuationState
        Before the unit.
    variance : float, or ndarray
        Where the signal stands.
    """

    def __init__(self, variance: Values = 0.0) -> None:
        self.at: FluctuationState[Values] = FluctuationState(variance)
        self.variance = variance
        #: Of each layer: memory, variance of its sampling, factor on that since.
        self._memories: list[Values] = []
        self._sources: list[Values] = []
        self._thins: list[Values] = []

    def sampled(self, memory: Values, source: Values) -> None:
        """Through batch norm and ReLU, with the noise of sampling their channels."""
        fresh = not self._memories
        self.variance = self.at.observed(memory, source) if fresh else memory**2 * self.variance + source
        self._memories.append(memory)
        self._sources.append(source)
        self._thins.append(1.0)

    def thinned(self, factor: Values) -> None:
        """Through a linear layer that multiplies the fluctuation."""
        self.variance = factor**2 * self.variance
        if self._memories:
            self._memories[-1] = self._memories[-1] * factor
            self._thins[-1] = self._thins[-1] * factor
        else:
            self.at = FluctuationState(self.variance)

    def merge(self, share: float, stay: float | None = None) -> None:
        """The unit ends: its branch has a share of what is after it."""
        if self._memories:
            self.at = self.at.merged(share, self._memories, self._sources, stay, thins=self._thins)
            self._memories, self._sources, self._thins = [], [], []
        self.variance = self.at.variance


@dataclass(frozen=True)
class FluctuationMatrices:
    """State of the fluctuations of all points at once, which mix: as `FluctuationState`, of shape (M, M)."""

    variance: np.ndarray
    cross: np.ndarray


def merged_matrices(
    points: FluctuationMatrices, share: float, responses: list[np.ndarray], fresh: list[np.ndarray]
) -> FluctuationMatrices:
    """`FluctuationState.merged` for the fluctuations of all points at once, whose memories are matrices.

    Parameters
    ----------
    points : FluctuationMatrices
    share : float
    responses : list of ndarray, shape (M, M)
        Of each layer of the branch.
    fresh : list of ndarray, shape (M, M)
        Covariances of their sampling.
    """
    behind: np.ndarray = np.eye(len(responses[0]))
    own: Values = 0.0
    for response, source in zip(responses[:0:-1], fresh[:0:-1], strict=True):
        own = own + behind @ source @ behind.T
        behind = behind @ response
    keep, through = (1.0 - share) * np.eye(len(behind)) + share * behind @ responses[0], share * behind
    crossed = keep @ points.cross @ through.T
    variance = keep @ points.variance @ keep.T + crossed + crossed.T
    variance += through @ fresh[0] @ through.T + share**2 * own
    return FluctuationMatrices(variance, (1.0 - share) * (keep @ points.cross + through @ fresh[0]))


@dataclass(frozen=True)
class NoiseGain:
    """Gain of the noise by fluctuations of the points' variances: variance of g, covariance with d.

    With h the derivative of log E 1 / sigma^2 by log T_ii (`batch_norm.response`), log mu2 of the noise moves
    by g = sum_l h_l d_l on its way; the mean of a logarithm does not.

    Attributes
    ----------
    variance : float
        Of g.
    cross : shape (M,)
        Its covariance with the fluctuations d where the signal stands.
    """

    variance: float
    cross: np.ndarray

    def behind(self, pull: np.ndarray, points: np.ndarray) -> float:
        """Variance after a batch norm of derivative `pull`, `points` being the covariance of d before it."""
        return float(self.variance + 2.0 * pull @ self.cross + pull @ points @ pull)

    def merged(
        self, share: float, noise_share: float, pulls: list[np.ndarray], responses: list[np.ndarray],
        points: np.ndarray,
    ) -> NoiseGain:  # fmt: skip
        """After a unit; arguments as for `merged_matrices`, `pulls` the derivatives of its batch norms."""
        pull, behind = pulls[-1], responses[-1]
        for earlier, response in zip(pulls[-2::-1], responses[-2::-1], strict=True):
            pull, behind = earlier + response.T @ pull, behind @ response
        pull = noise_share * pull
        keep = (1.0 - share) * np.eye(len(behind)) + share * behind
        return NoiseGain(self.behind(pull, points), keep @ (self.cross + points @ pull))

    def scaled(self, factors: np.ndarray) -> NoiseGain:
        """With the fluctuations d multiplied by factors."""
        return NoiseGain(self.variance, factors * self.cross)
