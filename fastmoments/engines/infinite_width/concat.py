"""What a Concat does on a walk at infinite width: branches of one signal become parts of a mixture."""

from __future__ import annotations

from collections.abc import Generator
from copy import copy

from ...maps.laws import drawn_to_end
from ...maps.laws import mixture as mixture_of
from ...nets.concat import Concat
from ..protocol import Station
from .layers import At, Walk, carry, inside
from .mixture import Mixture, Part
from .state import State


@carry.register
def _(layer: Concat, walk: Walk, state: State, at: At, follows: At | None) -> Generator[Station, None, bool]:
    state.form(walk.tile, walk.dtype)
    behind, parts = list[State](), list[Part]()
    for name, channels in zip(layer.stacks, walk.concatenated[at.path], strict=True):
        branch = getattr(layer, name)
        # Parts are never changed, so that an empty branch shares the memory of what stands before it.
        own = state.copy(None) if branch else copy(state)
        yield from walk.through(own, inside(at, name), drawn_to_end(branch, state.law))
        parts += [Part(channels, own)] if own.mixture is None else own.mixture.each(walk)
        behind.append(own)
    for number, own in enumerate(behind, 1):
        if own.grid != behind[0].grid:
            sizes = [f"{height}x{width}" for height, width in (own.grid, behind[0].grid)]
            raise ValueError(
                f"Concat: branch {number} gives {sizes[0]} positions and the first {sizes[1]}; give them the "
                "same strides and padding."
            )
    # What is known of the sums over the parts of a stream holds on where that is the first branch itself.
    stream = state.mixture
    state.mixture = Mixture(parts, sums={} if stream is None else stream.sums)
    state.become(mixture_of(own.law for own in behind))
    state.signal, state.population = None, None
    place = walk.wanted.place(at.path)
    if place is not None:
        yield walk.station(state, place)
    return False
