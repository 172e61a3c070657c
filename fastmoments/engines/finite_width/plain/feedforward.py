"""Stations of fully connected plain nets without skips at finite width.

Every layer has fresh channels, so that its sampling noise is its own. The state between two layers is in
`layer_state`, the backward pass for deviations in `covariance_backward`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from ..closures import Closures
from ..shared.depth_interpolation import backward_depths, interpolated_between
from ..shared.hermite_forms import GaussianField
from ..shared.lognormal import Step
from ..shared.relu_moments import correlations
from ..shared.units import Task, convolutions, stem_of
from .angle_closure import AngleMoments
from .covariance_backward import deviations
from .layer_state import LayerState, StationMeans, sampled, with_sampled_spectrum
from .noise_diffusion import NoiseDiffusion


def stations(task: Task) -> Iterator[Step]:
    """Yield (depth, loc, laws) of every station wanted."""
    network, images, width, depths, log_input, closures = task
    gains = [conv.weights.gain for unit in network.units for conv in convolutions(unit)]
    stem = stem_of(network)
    linear = stem is not None
    covariances: list[np.ndarray] = []
    alignments: list[float] = []
    forward: dict[tuple[int, str], StationMeans] = {}
    for depth, place in enumerate(_walk(images, len(gains), width, linear, closures)):
        yield depth, None, None
        covariances.append(place.kernel)
        alignments.append(place.noise.alignment.first)
        if depth in depths:
            forward[depth, "act"] = StationMeans.of(
                place, rectified=depth > 0, ranks=width if depth else None, closures=closures
            )
        if depth + 1 in depths:
            if depth or linear:
                forward[depth + 1, "input"] = StationMeans.of(place, rectified=depth > 0, closures=closures)
            forward[depth + 1, "conv"] = StationMeans.of_next_layer(place, width, closures)
    nodes = backward_depths(depths)
    first = images @ images.T / images.shape[1] if linear else None
    variances = interpolated_between(
        nodes, (yield from deviations(covariances, alignments, nodes, width, first))
    )
    log_gain = math.log(stem.weights.gain) if stem is not None else 0.0
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


def _walk(
    images: np.ndarray, depth: int, width: int, linear: bool, closures: Closures
) -> Iterator[LayerState]:
    """Yield the places before the first ReLU and after each, as if every gain was 2."""
    points, features = images.shape
    kernel = images @ images.T / features
    c = correlations(kernel)[0]
    nothing = np.zeros((points, points))
    place = LayerState(
        kernel, kernel, AngleMoments.exact(c), NoiseDiffusion.of_images(points, features), nothing
    )
    if linear:
        place = sampled(place, width, closures)
        place = LayerState(
            kernel, with_sampled_spectrum(kernel, width), place.angles, place.noise, place.diagonal
        )
    yield place
    for _ in range(depth):
        field, typical = GaussianField.of(place.kernel), GaussianField.of(place.typical)
        kernel = field.rectified()
        place = LayerState(
            kernel,
            with_sampled_spectrum(typical.rectified(), width, typical),
            place.angles.rectified(width, closures),
            place.noise.rectified(width, field.relu, correlations(kernel)[0], closures),
            place.diagonal + (4.0 * field.relu.j2 - 1.0) / width,
        )
        yield place
