"""Weights of one random net, drawn as its layers say."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import replace

import numpy as np

from ..validation import MOST, whole
from .layers import Layer
from .linear import Conv
from .network import Network, unrolled
from .weights import Arrays, Weights

#: Of an image: what weights are drawn for.
SIDES = ("height", "width", "channels")


def sample_weights(
    network: Network, shape: tuple[int, int, int], *, width: int = 256, seed: int = 0
) -> Network:
    """The same net with weights, drawn once: for `GivenNetwork` and `propagate`.

    Parameters
    ----------
    network : Network
    shape : (h, w, c)
        Of an image. A fully connected net flattens it.
    width : int
        Channels behind every Conv and Dense that does not say.
    seed : int

    Returns
    -------
    Network
        Its `weights` hold a `weight` of every Conv and Dense, of variance gain / (k^2 channels in), and a
        `bias` where there is one.

    Raises
    ------
    ValueError
        If an argument is out of range, or groups do not divide the channels.
    """
    if not isinstance(network, Network):
        raise ValueError(f"network must be a fastmoments Network, not {type(network).__name__}.")
    if not isinstance(shape, tuple) or len(shape) != 3:
        raise ValueError(f"shape must be the (height, width, channels) of an image, not {shape!r}.")
    height, across, channels = (
        whole(f"shape: {name}", side) for name, side in zip(SIDES, shape, strict=True)
    )
    if network.fully_connected:
        height, across, channels = 1, 1, height * across * channels
    whole("width", width, 1, MOST)
    rng = np.random.default_rng(whole("seed", seed, 0))
    drawn: dict[str, Arrays] = {}
    grid = (height, across)
    for stack in network.stacks:
        layers = list(unrolled(getattr(network, stack), "", stack))
        channels, grid = _draw(layers, channels, grid, width, rng, drawn)
    return replace(network, weights=Weights(drawn))


def _draw(
    layers: Iterable[tuple[str, Layer]], channels: int, grid: tuple[int, int], width: int,
    rng: np.random.Generator, drawn: dict[str, Arrays],
) -> tuple[int, tuple[int, int]]:  # fmt: skip
    """Draw the weights of a stack into a table by path; the channels and positions behind it."""
    for path, layer in layers:
        for stack in layer.stacks:
            inside = list(unrolled(getattr(layer, stack), path, stack))
            _draw(inside, channels, grid, width, rng, drawn)
        if layer.weighted:
            conv: Conv = layer.convolution  # type: ignore[attr-defined]  # what is weighted has one
            drawn[path] = _arrays(conv, conv is layer, channels, width, rng)
        behind = layer.output_channels(channels, grid, width)
        channels, grid = _kept(layer, channels, behind), layer.output_grid(grid)
    return channels, grid


def _kept(layer: Layer, channels: int, behind: int) -> int:
    """The channels behind a layer; a depthwise one keeps those before it."""
    return channels if layer.weighted and layer.channelwise else behind


def _arrays(conv: Conv, square: bool, channels: int, width: int, rng: np.random.Generator) -> Arrays:
    """Weight and bias of a convolution, of a Dense without its one tap."""
    groups = channels if conv.channelwise else int(conv.groups)
    behind = channels if conv.channelwise else conv.channels or width
    for name, number in (("before", channels), ("behind", behind)):
        if number % groups:
            raise ValueError(
                f"Conv: {groups} groups do not divide the {number} channels {name} it; use a divisor, "
                "another width, or channels."
            )
    root = math.sqrt(conv.weights.gain)
    parts = _parts(conv, channels // groups, behind // groups, groups, rng)
    weight = root * np.concatenate(list(parts))
    bias = math.sqrt(conv.weights.bias_variance) * rng.standard_normal(behind)
    found = {"weight": weight if square else weight[:, :, 0, 0]}
    return found | ({"bias": bias} if conv.weights.bias_variance else {})


def _parts(
    conv: Conv, channels: int, width: int, groups: int, rng: np.random.Generator
) -> Iterator[np.ndarray]:
    """The weights of every group, shape (behind, before, kernel, kernel)."""
    size = conv.kernel_size
    for _ in range(groups):
        weights = drawn_weights(conv, channels, width, rng).astype(np.float64)
        yield weights.reshape(size, size, channels, width).transpose(3, 2, 0, 1)


def drawn_weights(conv: Conv, channels: int, width: int, rng: np.random.Generator) -> np.ndarray:
    """Fresh weights of a convolution of mean variance 1 / fan in: without its gain, groups and bias.

    Returns
    -------
    ndarray of float32, shape (k * k * channels, width)
        Ordered by row, column and channel.
    """
    fan_in = conv.kernel_size**2 * channels
    weights = rng.standard_normal((fan_in, width), dtype=np.float32)
    if conv.weights.tap_variances is None:
        weights *= np.float32(fan_in**-0.5)
    else:
        deviations = np.sqrt(np.repeat(conv.tap_weights.ravel(), channels) / fan_in)
        weights *= deviations[:, None].astype(np.float32)
    return weights
