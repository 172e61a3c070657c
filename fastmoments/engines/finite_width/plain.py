"""Fully connected plain nets at finite width: the walk through their layers.

Every layer has fresh channels, so that its sampling noise is its own; laws of the places are in `places`,
the backward pass for deviations in `adjoint`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from ...nets.layers import Conv
from .adjoint import deviations
from .arc_cosine import correlations
from .chaos import Field
from .log_diffusion import NoiseDiffusion
from .pair_closure import Pairs
from .places import Forward, Place, curves_through, nodes_of, sampled, spread_by_sampling


def stations(network, images: np.ndarray, width: int, depths: frozenset, log_input: float) -> Iterator:
    """Yield (depth, loc, laws) of every station wanted; parameters as in `batch_normalised.stations`."""
    gains = [layer.gain for unit in network.units for layer in unit if isinstance(layer, Conv)]
    linear = bool(network.stem)
    covariances, overlaps, forward = [], [], {}
    for depth, place in enumerate(_walk(images, len(gains), width, linear)):
        yield depth, None, None
        covariances.append(place.kernel)
        overlaps.append(place.noise.overlap.first)
        if depth in depths:
            forward[depth, "act"] = Forward.of(place, rectified=depth > 0, ranks=width if depth else None)
        if depth + 1 in depths:
            if depth or linear:
                forward[depth + 1, "input"] = Forward.of(place, rectified=depth > 0)
            forward[depth + 1, "conv"] = Forward.of_next_layer(place, width)
    nodes = nodes_of(depths)
    first = images @ images.T / images.shape[1] if linear else None
    variances = curves_through(nodes, (yield from deviations(covariances, overlaps, nodes, width, first)))
    log_gain = math.log(network.stem[0].gain) if linear else 0.0
    if not gains:
        yield 0, "input", forward[0, "act"].laws(variances(0), log_gain, log_input)
    for depth, gain in enumerate(gains, 1):
        halved = math.log(0.5 * gain)
        if depth in depths:
            for loc, at, gained in (
                ("input", depth - 1, 0.0),
                ("conv", depth - 1, math.log(gain)),
                ("act", depth, halved),
            ):
                if (depth, loc) in forward:
                    laws = forward[depth, loc].laws(variances(at), log_gain + gained, log_input)
                    yield depth, loc, laws
        log_gain += halved


def _walk(images: np.ndarray, depth: int, width: int, linear: bool) -> Iterator[Place]:
    """Yield the places before the first ReLU and behind each, as if every gain was 2."""
    points, features = images.shape
    kernel = images @ images.T / features
    c = correlations(kernel)[0]
    nothing = np.zeros((points, points))
    place = Place(kernel, kernel, Pairs.exact(c), NoiseDiffusion.of_images(points, features), nothing)
    if linear:
        place = sampled(place, width)
        place = Place(kernel, spread_by_sampling(kernel, width), place.pairs, place.noise, place.diagonal)
    yield place
    for _ in range(depth):
        field, typical = Field.of(place.kernel), Field.of(place.typical)
        kernel = field.rectified()
        place = Place(
            kernel,
            spread_by_sampling(typical.rectified(), width, typical),
            place.pairs.rectified(width),
            place.noise.rectified(width, field.arc, correlations(kernel)[0]),
            place.diagonal + (4.0 * field.arc.j2 - 1.0) / width,
        )
        yield place
