"""Channel numbers of a net: the smallest of them, and all of them multiplied."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from typing import TYPE_CHECKING

from ..validation import finite
from .dense import Dense
from .layers import Layer, passed_by_all

if TYPE_CHECKING:
    from .network import Network


def narrowest(network: Network) -> int | None:
    """The smallest number of channels that a layer says, the classifier's apart; None if none says any."""
    kept = _classifier(network)
    said = (_channels(layer) for path, layer in _layers(network) if path != kept)
    return min((channels for channels in said if channels is not None), default=None)


def widened(network: Network, factor: float | Fraction) -> Network:
    """A net whose layers have `factor` times as many channels, where they say how many.

    A `Dense` behind which no weights come is the classifier and keeps its number, which is one of classes.
    Layers that say none have an engine's width as before. A product is rounded to the nearest whole number, a
    half up, but never to 0; where groups divide a number they divide the new one, too: it is rounded to
    multiples of what the number has in common with the groups of the net.

    Gains stay as they are: they are variances times the fan in, so that the limit of infinite width is the
    same for every factor, and nets of growing factor tend to it. A fan-out initialisation computed anew
    for the wider net gives the same gains but in the first layer, whose inputs do not become more:
    there it would be smaller by the factor. In a homogeneous net without biases that changes the scale of the
    signal and not chi, ranks or what is behind a norm.

    Parameters
    ----------
    network : Network
    factor : float or Fraction

    Raises
    ------
    ValueError
        If the factor is not a finite positive number, or the net says no number of channels.
    """
    finite("factor", factor, positive=True)
    if narrowest(network) is None:
        raise ValueError(f"{network.name} has no numbers of channels to multiply; choose the engine's width.")
    kept, exact = _classifier(network), Fraction(factor)
    groups = [getattr(layer, "groups", 1) for _, layer in _layers(network)]
    shared = math.lcm(*(number for number in groups if isinstance(number, int)))

    def wider(path: str, layer: Layer) -> Layer:
        if layer.stacks:
            return layer.rebuilt(lambda stack, index, inside: wider(f"{path}.{stack}.{index}", inside))
        channels = _channels(layer)
        if channels is None or path == kept:
            return layer
        step = math.gcd(channels, shared)
        return replace(layer, channels=max(math.floor(exact * channels / step + Fraction(1, 2)), 1) * step)  # type: ignore[type-var]  # every layer is a dataclass

    return network.rebuilt(lambda stack, index, layer: wider(f"{stack}.{index}", layer))


def of_width(network: Network, width: int) -> Network:
    """A net with so many channels in the layer that says the smallest number; itself if none says any."""
    least = narrowest(network)
    return network if least is None else widened(network, Fraction(width, least))


def _channels(layer: Layer) -> int | None:
    return getattr(layer, "channels", None)


def _layers(layer: Layer, path: str = "") -> Iterator[tuple[str, Layer]]:
    """Every layer inside another with its path, in the order a signal meets them."""
    for where, inside in layer.inside(path):
        yield from _layers(inside, where)
        yield where, inside


def _classifier(network: Network) -> str | None:
    """Path of the last layer with weights, if it is a Dense outside of all branches."""
    weighted = [(path, layer) for path, layer in _layers(network) if layer.weighted]
    path, last = weighted[-1] if weighted else ("", None)
    return path if isinstance(last, Dense) and passed_by_all(path) else None
