"""Fully connected plain nets at finite width: the walk through their layers.

Every layer has fresh channels, so that its sampling noise is its own; laws of the places are in `places`,
the backward pass for deviations in `adjoint`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from ..layers import Conv
from .adjoint import deviations
from .arc_cosine import correlations
from .chaos import Field
from .log_diffusion import NoiseDiffusion
from .pair_closure import Pairs
from .places import (
    FUNCTIONALS,
    Place,
    curves_through,
    functionals,
    laws,
    nodes_of,
    ranks,
    sampled,
    spread_by_sampling,
)


def stations(network, images: np.ndarray, width: int, depths: frozenset, log_input: float) -> Iterator:
    """Yield (depth, loc, laws) of every station wanted; parameters as in `batch_normalised.stations`."""
    gains = [layer.gain for unit in network.units for layer in unit if isinstance(layer, Conv)]
    places, fields = _walk(images, len(gains), width, bool(network.stem))
    behind = len(places) - len(gains)  # layers before the first ReLU, and the images
    nodes = nodes_of(depths)
    variances = curves_through(nodes, [_adjoint(places, fields, depth, behind, width) for depth in nodes])
    log_gain = math.log(network.stem[0].gain) if network.stem else 0.0
    if not gains:
        yield 0, "input", laws(places[-1], variances(0), width, log_gain, log_input, rectified=False)
    for depth, gain in enumerate(gains, 1):
        at, last = places[behind + depth - 1], places[behind + depth - 2]
        if depth in depths:
            earlier = variances(depth - 1)
            if depth > 1 or network.stem:
                yield depth, "input", laws(last, earlier, width, log_gain, log_input, rectified=depth > 1)
            between = sampled(last, earlier, width)
            conv = laws(*between, width, log_gain + math.log(gain), log_input, rectified=False)
            yield depth, "conv", conv
        log_gain += math.log(0.5 * gain)
        if depth in depths:
            here = variances(depth)
            act = laws(at, here, width, log_gain, log_input, rectified=True)
            yield depth, "act", act | ranks(at, here, width)


def _walk(images, depth: int, width: int, linear: bool) -> tuple[list[Place], list[Field]]:
    """Forward through the net, as if every gain was 2: places behind each layer, fields in each ReLU."""
    points, features = images.shape
    kernel = images @ images.T / features
    nothing = np.zeros((points, points))
    start = Pairs.exact(correlations(kernel)[0])
    places = [Place(kernel, kernel, start, NoiseDiffusion.of_images(points, features), nothing)]
    if linear:
        c = correlations(kernel)[0]
        typical = spread_by_sampling(kernel, width)
        noise = places[0].noise.sampled(width)
        places.append(Place(kernel, typical, start.sampled(width), noise, 2.0 * c * c / width))
    fields = []
    for _ in range(depth):
        last = places[-1]
        field, typical = Field.of(last.kernel), Field.of(last.typical)
        fields.append(field)
        kernel = field.rectified()
        places.append(
            Place(
                kernel,
                spread_by_sampling(typical.rectified(), width, typical.expanded),
                last.pairs.rectified(width),
                last.noise.rectified(width, field.arc, correlations(kernel)[0]),
                last.diagonal + (4.0 * field.arc.j2 - 1.0) / width,
            )
        )
    return places, fields


def _adjoint(places, fields, depth: int, behind: int, width: int) -> dict[str, float]:
    """Variances of the functionals at the activation of this depth (0: before the first ReLU), by name."""
    forms = functionals(places[behind + depth - 1].kernel)
    first = places[0].kernel if behind == 2 else None
    noises = [place.noise for place in places[behind - 1 : behind - 1 + depth]]
    found = deviations(forms, fields[:depth], noises, width, first)
    return dict(zip(FUNCTIONALS, found.variances, strict=True)) | {"shared": float(found.with_noise[0])}
