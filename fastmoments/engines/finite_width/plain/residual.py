"""Stations of fully connected plain nets with skips at finite width.

A unit adds a branch of (ReLU, layer) pairs to its input. Its channels are x_c ~ N(0, T) given the population
covariance T, and they persist: T grows by (1 + beta) in a unit, beta the gain of the branch, and in units
of that growth, w = beta / (1 + beta),

    T' = (1 - w) T + w A,    x' = sqrt(1 - w) x + fresh,

with A the Gram matrix after the last ReLU of the branch. The first ReLU samples the very channels of the
shortcut, so that its noise in one unit is that of another but for a factor sqrt(1 - w) per unit and order of
its Hermite expansion: `residual_backward` carries the sum of all later units along, which is exact.
Variances of single points are martingales as in plain nets and follow `shared.fluctuations`. The mean
covariance of two points is closed as in `angle_closure`, layer by layer in the branch, and mixed
with the shortcut's.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ..closures import Closures
from ..shared.depth_interpolation import backward_depths, interpolated_between
from ..shared.fluctuations import FluctuationState
from ..shared.hermite_forms import GaussianField
from ..shared.lognormal import Step
from ..shared.matrices import between_pairs, mean_of_pairs
from ..shared.noise_draw import draw_variance
from ..shared.relu_moments import ReluMoments, correlations
from ..shared.units import Task, convolutions, residual_of, stem_of
from .angle_closure import AngleMoments
from .layer_state import LayerState, StationMeans, sampled, with_sampled_spectrum
from .noise_diffusion import NoiseDiffusion, SignalNoiseAlignment
from .residual_backward import Place, deviations


def stations(task: Task) -> Iterator[Step]:
    """Yield (depth, loc, laws) of every station wanted."""
    network, images, width, depths, log_input, closures = task
    units = [residual for unit in network.units if (residual := residual_of(unit)) is not None]
    gains = [[conv.weights.gain for conv in convolutions(unit.branch)] for unit in units]
    betas = [
        unit.scale**2 * math.prod(0.5 * gain for gain in own) for unit, own in zip(units, gains, strict=True)
    ]
    kernels: list[np.ndarray] = []
    forward: dict[tuple[int, str], StationMeans] = {}
    for depth, (place, behind_relu) in enumerate(_walk(images, gains, betas, width, closures)):
        yield depth, None, None
        kernels.append(place.kernel)
        if depth in depths or depth + 1 in depths:
            merge = StationMeans.of(sampled(place, width, closures), rectified=False, closures=closures)
            forward[depth, "merge"] = forward[depth + 1, "input"] = merge
        if depth + 1 in depths and behind_relu is not None:
            forward[depth + 1, "act"] = StationMeans.of(
                behind_relu, rectified=True, ranks=width, closures=closures
            )
            forward[depth + 1, "conv"] = StationMeans.of_next_layer(behind_relu, width, closures)
    nodes = backward_depths(depths)
    inner = [depth for depth in nodes if depth > 0]
    found = yield from deviations(_backwards(kernels, betas, gains, max(nodes)), nodes, inner, width)
    merges, acts = interpolated_between(nodes, found[0]), interpolated_between(inner, found[1])
    stem = stem_of(network)
    assert stem is not None, "a residual net is covered with a stem only"
    log_gain = math.log(stem.weights.gain)
    for depth, (own, beta) in enumerate(zip(gains, betas, strict=True), 1):
        growth = math.log1p(beta)
        if depth in depths:
            for loc, variances, gained in (
                ("input", merges(depth - 1), 0.0),
                ("act", acts(depth), -math.log(2.0)),
                ("conv", acts(depth), math.log(0.5 * own[0])),
                ("merge", merges(depth), growth),
            ):
                yield depth, loc, forward[depth, loc].laws(variances, log_gain + gained, log_input)
        log_gain += growth


def _backwards(
    kernels: list[np.ndarray], betas: list[float], gains: list[list[float]], last: int
) -> Iterator[tuple[int, Place]]:
    """Yield (units before it, the place), the last first."""
    yield last, Place.fully_connected(kernels[last])
    for unit in range(last - 1, -1, -1):
        yield unit, Place.fully_connected(kernels[unit], betas[unit], len(gains[unit]))


def _walk(
    images: np.ndarray, gains: list[list[float]], betas: list[float], width: int, closures: Closures
) -> Iterator[tuple[LayerState, LayerState | None]]:
    """Yield the place before each unit and that after its first ReLU, in units of growth; last, the end."""
    points, features = images.shape
    kernel = images @ images.T / features
    nothing = np.zeros((points, points))
    diagonal, noise = FluctuationState(nothing, nothing), _Noise.of_images(points, features)
    place = LayerState(
        kernel, kernel, AngleMoments.exact(correlations(kernel)[0]), noise.law(points, closures), nothing
    )
    for own, beta in zip(gains, betas, strict=True):
        share = beta / (1.0 + beta)
        fields, sources = [], []
        inner, typical, angles = place.kernel, place.typical, place.angles
        for number in range(len(own)):
            field, seen = GaussianField.of(inner), GaussianField.of(typical)
            fields.append(field)
            source = (4.0 * field.relu.j2 - 1.0) / width
            sources.append(source)
            inner = field.rectified()
            typical = with_sampled_spectrum(seen.rectified(), width, seen)
            angles = angles.rectified(width, closures)
            if number == 0:
                noises, diagonals = noise.behind_relu(field, width), diagonal.observed(1.0, source)
                yield place, LayerState(inner, typical, angles, noises.law(points, closures), diagonals)
        diagonal = diagonal.merged(share, [1.0] * len(own), sources, persists=_persists(fields[0], share))
        noise = noise.merged(share, fields, width)
        place = LayerState(
            (1.0 - share) * place.kernel + share * inner,
            (1.0 - share) * place.typical + share * typical,
            place.angles.mixed(angles, share, diagonal.variance),
            noise.law(points, closures),
            diagonal.variance,
        )
    yield place, None


def _persists(field: GaussianField, share: float) -> np.ndarray:
    """How much of the sampling noise of the variances is that of the unit before."""
    c = math.sqrt(1.0 - share) * field.relu.c
    return (4.0 * ReluMoments.of(c).j2 - 1.0) / (4.0 * field.relu.j2 - 1.0)


@dataclass(frozen=True)
class _Noise:
    """Laws of the noise's variances, as `NoiseDiffusion`, of channels that persist.

    The squared correlation of signal and noise diffuses from `start`, its law in the images, by half of
    `alignment`'s variance.
    """

    squared_correlation: FluctuationState[np.ndarray]
    point: FluctuationState[float]
    pair: FluctuationState[float]
    alignment: FluctuationState[float]
    start: SignalNoiseAlignment

    @classmethod
    def of_images(cls, points: int, inputs: int) -> _Noise:
        squared_correlation = between_pairs(1.0 / inputs, points)
        nothing = FluctuationState(0.0)
        return cls(
            FluctuationState(squared_correlation, 0.0 * squared_correlation),
            FluctuationState(draw_variance(inputs)),
            nothing,
            nothing,
            SignalNoiseAlignment.of_inputs(inputs),
        )

    def _sources(self, field: GaussianField, width: int) -> tuple[np.ndarray, float]:
        """Variance of a sampled correlation of two noises, and covariance of their sampled variances."""
        fresh = 4.0 * field.relu.k0 * (1.0 + 2.0 * self.squared_correlation.variance)
        np.fill_diagonal(fresh, 1.0)
        return fresh / width, mean_of_pairs(fresh - 1.0) / width

    def behind_relu(self, field: GaussianField, width: int) -> _Noise:
        """As sampled after the first ReLU of the next branch."""
        source, pair = self._sources(field, width)
        memory = 2.0 * field.relu.k0
        squared_correlation = self.squared_correlation.observed(memory, source)
        return _Noise(
            FluctuationState(squared_correlation),
            FluctuationState(self.point.observed(1.0, 5.0 / width)),
            FluctuationState(self.pair.observed(1.0, pair)),
            FluctuationState(self.alignment.observed(1.0, 2.0 / width)),
            self.start,
        )

    def merged(self, share: float, fields: list[GaussianField], width: int) -> _Noise:
        """After a unit."""
        sources = [self._sources(field, width) for field in fields]
        memories = [2.0 * field.relu.k0 for field in fields]
        ones = [1.0] * len(fields)
        relu = ReluMoments.of(np.array(math.sqrt(1.0 - share)))
        # Of a point's own sampling noise, masks and noise both drift: (4 k0 (1 + 2 rho^2) - 1) / 5.
        persists = (4.0 * float(relu.k0) * (3.0 - 2.0 * share) - 1.0) / 5.0
        squared_correlation = self.squared_correlation.merged(share, memories, [s for s, _ in sources])
        return _Noise(
            squared_correlation,
            self.point.merged(share, ones, [5.0 / width] * len(fields), persists=persists),
            self.pair.merged(share, ones, [pair for _, pair in sources]),
            self.alignment.merged(share, ones, [2.0 / width] * len(fields)),
            self.start,
        )

    def law(self, points: int, closures: Closures) -> NoiseDiffusion:
        """What the laws of a place need of it."""
        squared_correlation = between_pairs(self.squared_correlation.variance, points)
        pair, point = float(self.pair.variance), float(self.point.variance)
        alignment = self.start.diffused(0.5 * float(self.alignment.variance), closures)
        return NoiseDiffusion(squared_correlation, pair, point, alignment)
