"""What a simulation takes in memory."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

from ...nets.concat import Concat
from ...nets.fixed import Flatten
from ...nets.layers import Layer
from ...nets.network import Network, Residual, unrolled
from ..protocol import Shape

#: Bytes of Python and its libraries, without compiled kernels.
PROCESS = 125e6
#: Flows that stand in memory at once in a Conv and in the moments: before, behind, and a copy of patches.
FLOWS = 3.5


def memory(network: Network, shape: Shape, width: int) -> int:
    """Peak of memory of one random net at a time, in bytes; right to about a tenth.

    Signal and noise are float32 at every point and channel; a residual unit holds its shortcut as well. Every
    layer counts as the widest.
    """
    images, height, width_in, channels = shape
    fan_in = max(_flattened((*network.stem, *network.layers), channels, (height, width_in), width), default=0)
    width = max([width, *(conv.channels or 0 for conv in network.convolutions())])
    positions = map(math.prod, _grids((*network.stem, *network.layers), (height, width_in)))
    largest = images * max(height * width_in * channels, width * max(positions, default=0))
    weights = max(network.kernel_size**2 * max(width, channels), fan_in) * width
    return int(PROCESS + 8 * (FLOWS + network.has(Residual, Concat)) * largest + 4 * weights)


def _flattened(layers: Iterable[Layer], channels: int, grid: tuple[int, int], width: int) -> Iterator[int]:
    """Yield the channels behind every layer that makes channels of positions."""
    for _, layer in unrolled(layers, "", ""):
        for stack in layer.stacks:
            yield from _flattened(getattr(layer, stack), channels, grid, width)
        behind = layer.output_channels(channels, grid, width)
        if isinstance(layer, Flatten):
            yield behind
        channels, grid = behind, layer.output_grid(grid)


def _grids(layers: Iterable[Layer], grid: tuple[int, int]) -> Iterator[tuple[int, int]]:
    """Yield the positions (height, width) behind every layer, those inside residual units included."""
    for _, layer in unrolled(layers, "", ""):
        for stack in layer.stacks:
            yield from _grids(getattr(layer, stack), grid)
        grid = layer.output_grid(grid)
        yield grid
