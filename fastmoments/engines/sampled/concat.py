"""Branches side by side, of one random net."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ...nets.concat import Concat
from ...nets.network import Place
from .layers import Draw, Flow, Inside, forward


@forward.register
def _(layer: Concat, flow: Flow, draw: Draw, inside: Inside) -> Iterator[tuple[Place, Flow]]:
    parts = []
    for name in layer.stacks:
        part = flow.copy()
        yield from inside(name, part)
        parts.append(part)
    sizes = [part.pair.shape[2:4] for part in parts]
    for number, size in enumerate(sizes, 1):
        if size != sizes[0]:
            raise ValueError(
                f"Concat: branch {number} ends in (height, width) {size}, the first in {sizes[0]}; give them "
                "the same strides and padding."
            )
    common = np.max([part.log_scale for part in parts], axis=0)
    for part in parts:
        part.change_scale(common)
    flow.pair = np.concatenate([part.pair for part in parts], axis=-1)
    flow.log_scale = common
    flow.rescale()
