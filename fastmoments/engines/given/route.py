"""The way through a given net, layer after layer; what is refused before it is gone."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from types import MappingProxyType

from ...nets.layers import Layer
from ...nets.network import Network, Place, unrolled, walk
from ...nets.weights import Arrays, Weights
from ..protocol import Wanted
from .field import Field
from .layers import carry, covers

#: Of a layer that has none.
NOTHING: Arrays = MappingProxyType({})


def weights_of(network: Network) -> Weights:
    """The weights of a net whose layers are all covered.

    Raises
    ------
    ValueError
        In one sentence: if it has none, some are of no layer of it, or a layer is not covered.
    """
    if network.weights is None:
        raise ValueError(
            f"{network.name} has no weights; fastmoments.sample_weights(network, shape) draws them, or give "
            "Network(..., weights=)."
        )
    layers = dict(walk((*network.stem, *network.layers), *_paths(network)))
    for path, layer in layers.items():
        if not covers(layer):
            raise ValueError(
                f"{type(layer).__name__} at {path} has no formula for given weights; use Sampled, or leave "
                "it out."
            )
    unknown = [path for path in network.weights if path not in layers]
    if unknown:
        raise ValueError(
            f"weights: there is no layer {unknown[0]} in {network.name}, which has {len(layers)}."
        )
    return network.weights


def _paths(network: Network) -> Iterator[str]:
    for stack in network.stacks:
        yield from (f"{stack}.{index}" for index in range(len(getattr(network, stack))))


def passed(
    layers: Sequence[tuple[str, Layer]], field: Field, weights: Weights
) -> Iterator[tuple[str, Layer]]:
    """Carry a field through layers, stopping behind each of them and of those inside.

    Yields
    ------
    path, layer
        Behind which the field is.
    """
    for path, layer in layers:

        def inside(stack: str, path: str = path, layer: Layer = layer) -> Iterator[tuple[str, Layer]]:
            return passed(list(unrolled(getattr(layer, stack), path, stack)), field, weights)

        yield from carry(layer, path, field, weights.get(path, NOTHING), inside) or ()
        yield path, layer


def all_layers(network: Network) -> list[tuple[str, Layer]]:
    """The layers of stem and units with their paths; what residual units hold is inside of them."""
    return [pair for stack in network.stacks for pair in unrolled(getattr(network, stack), "", stack)]


#: Moves through layers with their paths, and yields where it is.
Passing = Callable[[list[tuple[str, Layer]]], Iterable[str]]


def places(network: Network, wanted: Wanted, passing: Passing) -> Iterator[Place]:
    """Every place wanted on the way through a net."""
    wanted.begin(0)
    if wanted.images is not None:
        yield wanted.images
    for path in passing(list(unrolled(network.stem, "", "stem"))):
        yield from filter(None, [wanted.place(path)])
    if wanted.entrance is not None:
        yield wanted.entrance
    for depth in range(1, network.depth + 1):
        wanted.begin(depth)
        if wanted.entrance is not None:
            yield wanted.entrance
        for path in passing(list(network.unit(depth))):
            yield from filter(None, [wanted.place(path)])
