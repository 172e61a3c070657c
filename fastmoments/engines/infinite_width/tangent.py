"""The neural tangent kernel of an infinitely wide net: what layers learn, and which nets are covered.

It walks where the noise of all images together would: every layer's own map of D, over all pairs of points,
is that of Theta (`maps.tangent`). What a layer's weights add is said here, one function a kind of layer.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import singledispatch

from ...maps.laws import (
    CLOSED,
    DATA,
    LEAKY,
    NORMALISED,
    SUMMED,
    NoFormula,
    law_after,
    mixture,
    parts,
    unmixed,
)
from ...maps.tangent import add_covariance, centre
from ...nets.activations import Nonlinearity
from ...nets.concat import Concat
from ...nets.dense import Dense
from ...nets.fixed import Fixed
from ...nets.layer_norm import ChannelNorm
from ...nets.layers import Layer
from ...nets.linear import Conv
from ...nets.max_pool import MaxPool
from ...nets.network import Network, Residual, unrolled
from ...nets.norms import BatchNorm
from .state import State


@singledispatch
def learn(layer: Layer, state: State) -> None:
    """What the weights of a layer, or statistics that move with those before it, do to Theta, in place.

    Called behind `carry`, with the state behind the layer.
    """
    raise TypeError(f"{type(layer).__name__} has no tangent kernel.")


@learn.register(Conv)
@learn.register(Dense)
def _(layer: Conv | Dense, state: State) -> None:
    add_covariance(state.noise, state.covariance)


@learn.register(Nonlinearity)
@learn.register(Fixed)
@learn.register(MaxPool)
@learn.register(ChannelNorm)
@learn.register(Residual)
@learn.register(Concat)
def _(layer: Layer, state: State) -> None:
    """No weights that learn."""


@learn.register
def _(layer: BatchNorm, state: State) -> None:
    centre(state.noise)


def check(network: Network) -> None:
    """Refuse a net whose tangent kernel is not covered, before any work is done.

    Raises
    ------
    ValueError
        In one sentence: what is not covered, and what would be.
    """
    _check(network.stem + network.layers, DATA)


def _check(layers: Iterable[Layer], law: str) -> str:
    """The law behind a stack, every layer of which has a formula."""
    for _, layer in unrolled(layers, "", ""):
        for stack in layer.stacks:
            _check(getattr(layer, stack), law)
        if parts(law) and layer.channelwise:
            law = mixture(_check([layer], part) for part in parts(law))
            continue
        law = law if layer.stacks else unmixed(law)
        try:
            before, law = law, law_after(layer, law)
        except NoFormula as problem:
            raise ValueError(f"A tangent kernel takes a formula for every layer: {problem}") from None
        if law == NORMALISED:
            raise ValueError(
                "The tangent kernel behind a BatchNorm by the statistics of a finite batch is not covered; "
                'use BatchNorm(statistics="population"), or a LayerNorm.'
            )
        if before == SUMMED and law in (CLOSED, LEAKY):
            raise ValueError(
                f"The tangent kernel behind a merge and then {type(layer).__name__}, where the signal is "
                "not Gaussian, is not covered; put a Conv between them, or the activation into the branch."
            )
    return law
