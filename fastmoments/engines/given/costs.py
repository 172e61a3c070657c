"""What the covariances of a given net take in memory, known before they are computed."""

from __future__ import annotations

import math
from collections.abc import Iterator

from ...memory import SAFE, free_memory, in_units
from ...nets.layers import Layer
from ...nets.network import Network, Residual, unrolled
from ..protocol import PROCESS
from .route import NOTHING, all_layers

#: Copies of the largest block that a layer works on, beside all blocks.
WORK = 3.0
#: Positions (height, width) and channels of a stream.
Size = tuple[tuple[int, int], int]


def memory(network: Network, size: Size, storage: str) -> int:
    """Peak in bytes, the process included: signal and noise between all streams; right to about a third."""
    largest = 0.0
    for sizes in _through(all_layers(network), [size], network):
        blocks = [
            _block(first, second, storage)
            for index, first in enumerate(sizes)
            for second in sizes[index:]
        ]  # fmt: skip
        largest = max(largest, 16.0 * sum(blocks) + 8.0 * WORK * max(blocks))
    return int(PROCESS + largest)


def of_samples(network: Network, size: Size, samples: int) -> int:
    """Peak of a check: signal and noise of all samples in single precision, and a layer at work."""
    widest = max(
        sum(math.prod(grid) * channels for grid, channels in sizes)
        for sizes in _through(all_layers(network), [size], network)
    )
    return int(8.0 * WORK * samples * widest)


def refuse_too_large(network: Network, size: Size, storage: str) -> None:
    """Refuse a net whose covariances do not fit, and say what does.

    Raises
    ------
    ValueError
        In one sentence.
    """
    free, needed = free_memory(), memory(network, size, storage)
    if free is None or needed <= SAFE * free:
        return
    other = memory(network, size, "stationary")
    fits = storage == "dense" and other <= SAFE * free
    advice = (
        f'what fits: storage="stationary" ({in_units(other)}), for images without borders'
        if fits
        else "use a smaller width, or fewer positions per image"
    )
    raise ValueError(f"This takes {in_units(needed)} of memory, and {in_units(free)} are free; {advice}.")


def _block(first: Size, second: Size, storage: str) -> float:
    positions = float(math.prod(first[0]))
    if storage == "dense":
        return positions * first[1] * math.prod(second[0]) * second[1]
    return positions * first[1] * second[1]


def _through(layers: list[tuple[str, Layer]], sizes: list[Size], network: Network) -> Iterator[list[Size]]:
    """Yield the sizes of all streams behind every layer, that of these layers being the last."""
    yield sizes
    for path, layer in layers:
        if isinstance(layer, Residual):
            inside = list(unrolled(layer.branch, path, "branch"))
            for found in _through(inside, [*sizes, sizes[-1]], network):
                yield found
                behind = found[-1]
            sizes = [*sizes[:-1], behind]
            continue
        grid, channels = sizes[-1]
        arrays = NOTHING if network.weights is None else network.weights.get(path, NOTHING)
        given = arrays.get("weight") if layer.weighted else None
        behind_it = layer.output_channels(channels, grid, channels) if given is None else len(given)
        sizes = [*sizes[:-1], (layer.output_grid(grid), behind_it)]
        yield sizes
