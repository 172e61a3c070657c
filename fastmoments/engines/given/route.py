"""The way through a given net, layer after layer; what is refused before it is gone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from types import MappingProxyType

from ...nets.layers import Layer
from ...nets.network import Network, unrolled, walk
from ...nets.weights import Arrays, Weights
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
