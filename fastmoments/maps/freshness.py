"""Whether a signal has the mean 0 over weights that nothing else has seen, layer by layer.

Of shortcut and branch one must, or else the two are correlated. Fresh weights make a signal whose channels
are centred Gaussians whatever the other side is; odd layers leave it so: turn its sign, and its law stays.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import singledispatch

from ..nets.concat import Concat
from ..nets.dense import Dense
from ..nets.fixed import Fixed
from ..nets.layer_norm import ChannelNorm
from ..nets.layers import Layer
from ..nets.linear import Conv
from ..nets.network import Residual, unrolled
from ..nets.norms import BatchNorm


@singledispatch
def fresh_after(layer: Layer, fresh: bool) -> bool:
    """Whether the signal behind a layer has the mean 0 over fresh weights, if it had before it (`fresh`)."""
    return False


@fresh_after.register(Conv)
@fresh_after.register(Dense)
def _(layer: Conv | Dense, fresh: bool) -> bool:
    return True


@fresh_after.register(Fixed)
@fresh_after.register(BatchNorm)
@fresh_after.register(ChannelNorm)
def _(layer: Fixed | BatchNorm | ChannelNorm, fresh: bool) -> bool:
    return fresh


@fresh_after.register
def _(layer: Residual, fresh: bool) -> bool:
    return fresh_behind(layer.branch, fresh) and fresh_behind(layer.shortcut, fresh)


@fresh_after.register
def _(layer: Concat, fresh: bool) -> bool:
    return all(fresh_behind(branch, fresh) for branch in layer.branches)


def fresh_behind(layers: Iterable[Layer], fresh: bool = False) -> bool:
    """Whether the signal behind a stack of layers has the mean 0 over fresh weights."""
    for _, layer in unrolled(layers, "", ""):
        fresh = fresh_after(layer, fresh)
    return fresh


def culprit(layers: Iterable[Layer]) -> str:
    """The last layer of a stack that is not odd, with its article."""
    even = [layer for _, layer in unrolled(layers, "", "") if not fresh_after(layer, True)]
    name = type(even[-1]).__name__ if even else "Residual"
    return f"{'an' if name[0] in 'AEIOU' else 'a'} {name}"
