"""What a walk at infinite width is corrected by, to the next order in 1 / width."""

from __future__ import annotations

import math

from ...maps import batch_norm
from ...nets.linear import Conv
from ...nets.norms import BatchNorm
from .state import State


class Corrections:
    """What stands beside the walk and corrects it to the next order; this one corrects nothing.

    The methods are called in the order of their appearance here, around every layer of its kind.
    """

    def start(self) -> None:
        """A walk begins."""

    def before_convolution(self, state: State) -> None:
        """A Conv is to follow; the state has no covariance yet before the first."""

    def after_convolution(self, state: State, conv: Conv, first: bool) -> None:
        """A Conv is done, with the activation behind it if the two are one visit."""

    def before_batch_norm(self, state: State, layer: BatchNorm, key: str) -> float:
        """Of how many samples the covariance before a batch norm is one: infinitely many channels."""
        return math.inf

    def after_batch_norm(self, state: State, done: batch_norm.Normalised, key: str) -> float:
        """Logarithm of the share of the noise's variance that it keeps."""
        return 0.0

    def before_station(self, state: State, loc: str | None) -> None:
        """A station is to be taken where the signal stands."""

    def after_station(self, state: State, loc: str | None, moments: dict[str, float], ranked: bool) -> None:
        """A station has been taken, with effective ranks if `ranked`."""
