"""What a simulation takes in memory."""

from __future__ import annotations

import math

from ...nets.network import Network, walk
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
    width = max([width, *(conv.channels or 0 for conv in network.convolutions())])
    images, height, width_in, channels = shape
    grid, largest, skips = (height, width_in), images * height * width_in * channels, 0
    for _, layer in walk((*network.stem, *network.layers)):
        if layer.stacks:
            skips = 1
            continue
        grid = layer.output_grid(grid)
        largest = max(largest, images * math.prod(grid) * width)
    weights = network.kernel_size**2 * max(width, channels) * width
    return int(PROCESS + 8 * (FLOWS + skips) * largest + 4 * weights)
