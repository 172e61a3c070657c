"""A fluctuation that walks through residual units, whose channels persist.

The first layer of a branch samples the very channels of the shortcut, so that its sampling noise n
hardly changes from one unit to the next, while the noise of the later layers is fresh. A relative
fluctuation d of the kernel of the channels obeys

    d' = A d + B n + fresh,    A = (1 - w) + w f,    n' = (1 - w) n + new,

with w the share of the branch in the sum, f what is left of d behind the branch and B = w g, g what is
left of n. Then, with s = Var n and c = Cov(d, n),

    Var d' = A^2 Var d + 2 A B c + B^2 s + Var fresh,    c' = (1 - w) (A c + B s).

A net without skips has w = 1: every sampling noise is fresh.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Coherent:
    """Variance of d and its covariance with the sampling noise of the first layer of the next branch.

    Both in one number each, or in a matrix over points.
    """

    variance: float
    cross: float = 0.0

    def observed(self, memory: float, source: float) -> float:
        """Variance behind the first layer of the branch: of f d + n."""
        return memory**2 * self.variance + 2.0 * memory * self.cross + source

    def merged(self, share: float, memories: list, sources: list, stay=None, persists=None) -> Coherent:
        """Behind a unit.

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
        """
        stay = 1.0 - share if stay is None else stay
        persists = stay if persists is None else persists
        behind, fresh = 1.0, 0.0
        for memory, source in zip(memories[:0:-1], sources[:0:-1], strict=True):
            fresh += behind**2 * source
            behind *= memory
        keep, own = stay + share * behind * memories[0], share * behind
        return Coherent(
            keep**2 * self.variance + 2.0 * keep * own * self.cross + own**2 * sources[0] + share**2 * fresh,
            persists * (keep * self.cross + own * sources[0]),
        )
