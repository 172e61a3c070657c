"""Inputs sampled and sent through the same weights: how far the Gaussian assumption holds.

As the simulation of random nets does it, in single precision, but with weights that are given.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import singledispatch

import numpy as np

from ...nets.dense import Dense as DenseLayer
from ...nets.layers import Layer
from ...nets.linear import Conv
from ...nets.network import Network, unrolled
from ...nets.norms import BatchNorm
from ...nets.weights import Arrays
from ..protocol import Wanted
from ..sampled.layers import Flow, Inside, convolve, forward
from ..sampled.walk import moments_of
from .field import Field
from .layers import affine, ungrouped
from .route import NOTHING, places
from .stationary import Stationary

#: Parts of the samples, whose scatter is the standard error.
PARTS = 20
#: What is compared.
CHECKED = ("log_nu2_signal", "log_mu2_signal", "log_mu2_noise", "log_chi", "reff_signal", "reff_noise")

#: Moments and standard errors of a station.
Found = tuple[dict[str, float], dict[str, float]]


def sampled_moments(
    network: Network, field: Field, wanted: Wanted, samples: int, seed: int, at_input: tuple[float, float]
) -> dict[tuple[str, str | None], Found]:
    """Moments of samples at the places wanted, by path and name on curves, and their standard errors.

    Parameters
    ----------
    network : Network
        With weights.
    field : Field
        The inputs, before the net.
    wanted : Wanted
    samples, seed : int
    at_input : (float, float)
        Logarithms of the variances of signal and noise on the inputs, which chi is relative to.
    """
    rng = np.random.default_rng(seed)
    flow = Flow.start(samples_of(field, samples, rng), rng)
    found: dict[tuple[str, str | None], Found] = {}
    for place in places(network, wanted, lambda layers: passed(layers, flow, network)):
        moments, errors = _with_errors(flow, wanted.ranked(place), at_input)
        found[place.path, place.loc] = moments, errors
    return found


def samples_of(field: Field, samples: int, rng: np.random.Generator) -> np.ndarray:
    """Gaussian samples of a field, shape (samples, h, w, c)."""
    stream, covariance = field.here, field.own[0]
    height, width = stream.grid
    if not isinstance(field, Stationary):
        root = _root(covariance[0])
        white = rng.standard_normal((samples, len(root)))
        return (stream.mean + white @ root.T).reshape(samples, height, width, stream.channels)
    blocks = covariance.reshape(height, width, stream.channels, stream.channels)
    spectrum = np.fft.rfft2(rng.standard_normal((samples, height, width, stream.channels)), axes=(1, 2))
    waves = np.einsum("hwcd,nhwd->nhwc", _root(np.fft.rfft2(blocks, axes=(0, 1))), spectrum, optimize=True)
    return stream.mean + np.fft.irfft2(waves, s=(height, width), axes=(1, 2))


def _root(covariance: np.ndarray) -> np.ndarray:
    """The symmetric root, of matrices in the last two axes; what rounding has made negative is 0."""
    values, vectors = np.linalg.eigh(covariance)
    half = vectors * np.sqrt(np.maximum(values, 0.0))[..., None, :]
    return half @ vectors.conj().swapaxes(-1, -2)


def _with_errors(flow: Flow, ranked: bool, at_input: tuple[float, float]) -> Found:
    """Moments of all samples, and standard errors from parts of them."""
    whole = moments_of(flow, ranked, at_input)
    parts = [
        moments_of(Flow(np.ascontiguousarray(pair), flow.log_scale), ranked, at_input)
        for pair in np.array_split(flow.pair, PARTS, axis=1)
    ]
    names = [name for name in CHECKED if name in whole]
    scatter = {name: float(np.std([part[name] for part in parts], ddof=1)) for name in names}
    return {name: whole[name] for name in names}, {
        name: scatter[name] / math.sqrt(PARTS) for name in names
    }  # fmt: skip


def passed(layers: list[tuple[str, Layer]], flow: Flow, network: Network) -> Iterator[str]:
    """Send samples through layers, stopping behind each of them and of those inside."""
    assert network.weights is not None
    for path, layer in layers:

        def inside(stack: str, part: Flow, path: str = path, layer: Layer = layer) -> Iterator[str]:
            return passed(list(unrolled(getattr(layer, stack), path, stack)), part, network)

        yield from send(layer, path, flow, network.weights.get(path, NOTHING), inside) or ()  # type: ignore[arg-type]  # paths for places
        yield path


@singledispatch
def send(layer: Layer, path: str, flow: Flow, arrays: Arrays, inside: Inside) -> Iterator | None:
    """Send samples through one layer, in place: as a simulation does where there are no weights."""
    return forward(layer, flow, None, inside)  # type: ignore[arg-type]  # nothing is drawn


@send.register
def _(layer: Conv, path: str, flow: Flow, arrays: Arrays, inside: Inside) -> None:
    channels = flow.pair.shape[-1]
    groups = channels if layer.channelwise else int(layer.groups)
    _weigh(layer, ungrouped(arrays["weight"], groups, channels, path), flow, arrays)


@send.register
def _(layer: DenseLayer, path: str, flow: Flow, arrays: Arrays, inside: Inside) -> None:
    _weigh(layer.convolution, arrays["weight"][:, :, None, None], flow, arrays)


@send.register
def _(layer: BatchNorm, path: str, flow: Flow, arrays: Arrays, inside: Inside) -> None:
    if not arrays:
        forward(layer, flow, None, inside)  # type: ignore[arg-type]  # nothing is drawn
        return
    values, scale = flow.points(), math.exp(flow.log_scale[0])
    mean = values[0].mean(axis=0, dtype=np.float64) * scale
    variance = values[0].var(axis=0, dtype=np.float64) * scale * scale
    factor, shift = affine(layer, path, arrays, mean, variance)
    values[0] -= (mean / scale).astype(np.float32)
    values *= factor.astype(np.float32)
    values[0] += ((shift + factor * mean) / scale).astype(np.float32)
    flow.rescale()


def _weigh(conv: Conv, weight: np.ndarray, flow: Flow, arrays: Arrays) -> None:
    """Apply weights of shape (channels behind, before, kernel, kernel), and a bias to the signal."""
    matrix = weight.transpose(2, 3, 1, 0).reshape(-1, len(weight)).astype(np.float32)
    flat = convolve(conv, flow.pair.reshape(-1, *flow.pair.shape[2:]), matrix)
    flow.pair = flat.reshape(2, -1, *flat.shape[1:])
    if "bias" in arrays:
        flow.pair[0] += (arrays["bias"] * math.exp(-flow.log_scale[0])).astype(np.float32)
    flow.rescale()
