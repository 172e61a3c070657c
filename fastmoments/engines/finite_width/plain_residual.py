"""Fully connected plain nets with skip connections at finite width.

A unit adds a branch of (ReLU, layer) pairs to its input. Its channels are x_c ~ N(0, T) given the population
covariance T, and they persist: T grows by (1 + beta) in a unit, beta the gain of the branch, and in units
of that growth, w = beta / (1 + beta),

    T' = (1 - w) T + w A,    x' = sqrt(1 - w) x + fresh,

with A the Gram matrix behind the last ReLU of the branch. The first ReLU samples the very channels of the
shortcut, so that its noise in one unit is that of another but for a factor sqrt(1 - w) per unit and order of
its chaos: the backward pass of `adjoint` carries the sum of all later units along, which is exact. Variances
of single points are martingales as in plain nets and follow `coherence`. The mean covariance of two points
is closed as in `pair_closure`, layer by layer in the branch, and mixed with the shortcut's.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ...nets.layers import Conv
from .arc_cosine import ArcCosine, correlations
from .chaos import Field
from .coherence import Coherent
from .log_diffusion import NoiseDiffusion, Overlap
from .matrices import between_pairs, mean_of_pairs
from .pair_closure import Pairs
from .places import Forward, Place, curves_through, nodes_of, sampled, spread_by_sampling
from .residual_adjoint import deviations


def stations(network, images: np.ndarray, width: int, depths: frozenset, log_input: float) -> Iterator:
    """Yield (depth, loc, laws) of every station wanted; parameters as in `batch_normalised.stations`."""
    gains = [[part.gain for part in unit[0].branch if isinstance(part, Conv)] for unit in network.units]
    betas = [
        unit[0].scale ** 2 * math.prod(0.5 * gain for gain in own)
        for unit, own in zip(network.units, gains, strict=True)
    ]
    kernels, forward = [], {}
    for depth, (place, behind_relu) in enumerate(_walk(images, gains, betas, width)):
        yield depth, None, None
        kernels.append(place.kernel)
        if depth in depths or depth + 1 in depths:
            merge = Forward.of(sampled(place, width), rectified=False)
            forward[depth, "merge"] = forward[depth + 1, "input"] = merge
        if depth + 1 in depths:
            forward[depth + 1, "act"] = Forward.of(behind_relu, rectified=True, ranks=width)
            forward[depth + 1, "conv"] = Forward.of_next_layer(behind_relu, width)
    nodes = nodes_of(depths)
    inner = [depth for depth in nodes if depth > 0]
    counts = [len(own) for own in gains]
    merges, acts = yield from deviations(kernels, betas, counts, nodes, inner, width)
    merges, acts = curves_through(nodes, merges), curves_through(inner, acts)
    log_gain = math.log(network.stem[0].gain)
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


def _walk(images, gains: list, betas: list, width: int) -> Iterator[tuple[Place, Place | None]]:
    """Yield the place before each unit and that behind its first ReLU, in units of growth; last, the end."""
    points, features = images.shape
    kernel = images @ images.T / features
    nothing = np.zeros((points, points))
    diagonal, noise = Coherent(nothing, nothing), _Noise.of_images(points, features)
    place = Place(kernel, kernel, Pairs.exact(correlations(kernel)[0]), noise.law(points), nothing)
    for own, beta in zip(gains, betas, strict=True):
        share = beta / (1.0 + beta)
        fields, sources = [], []
        inner, typical, pairs = place.kernel, place.typical, place.pairs
        for number in range(len(own)):
            field, seen = Field.of(inner), Field.of(typical)
            fields.append(field)
            source = (4.0 * field.arc.j2 - 1.0) / width
            sources.append(source)
            inner = field.rectified()
            typical = spread_by_sampling(seen.rectified(), width, seen)
            pairs = pairs.rectified(width)
            if number == 0:
                noises, diagonals = noise.behind_relu(field, width), diagonal.observed(1.0, source)
                yield place, Place(inner, typical, pairs, noises.law(points), diagonals)
        diagonal = diagonal.merged(share, [1.0] * len(own), sources, persists=_persists(fields[0], share))
        noise = noise.merged(share, fields, width)
        place = Place(
            (1.0 - share) * place.kernel + share * inner,
            (1.0 - share) * place.typical + share * typical,
            place.pairs.mixed(pairs, share, diagonal.variance),
            noise.law(points),
            diagonal.variance,
        )
    yield place, None


def _persists(field: Field, share: float) -> np.ndarray:
    """How much of the sampling noise of the variances is that of the unit before."""
    c = math.sqrt(1.0 - share) * field.arc.c
    return (4.0 * ArcCosine.of(c).j2 - 1.0) / (4.0 * field.arc.j2 - 1.0)


@dataclass(frozen=True)
class _Noise:
    """Laws of the noise's variances, as `NoiseDiffusion`, of channels that persist.

    The squared correlation of signal and noise diffuses from `start`, its law in the images, by half of
    `overlap`'s variance.
    """

    coherence: Coherent
    alone: Coherent
    across: Coherent
    overlap: Coherent
    start: Overlap

    @classmethod
    def of_images(cls, points: int, inputs: int) -> _Noise:
        coherence = between_pairs(1.0 / inputs, points)
        nothing = Coherent(0.0)
        return cls(Coherent(coherence, 0.0 * coherence), nothing, nothing, nothing, Overlap.of_inputs(inputs))

    def _sources(self, field: Field, width: int) -> tuple[np.ndarray, float]:
        """Variance of a sampled correlation of two noises, and covariance of their sampled variances."""
        fresh = 4.0 * field.arc.k0 * (1.0 + 2.0 * self.coherence.variance)
        np.fill_diagonal(fresh, 1.0)
        return fresh / width, mean_of_pairs(fresh - 1.0) / width

    def behind_relu(self, field: Field, width: int) -> _Noise:
        """As sampled behind the first ReLU of the next branch."""
        source, across = self._sources(field, width)
        memory = 2.0 * field.arc.k0
        coherence = self.coherence.observed(memory, source)
        return _Noise(
            Coherent(coherence),
            Coherent(self.alone.observed(1.0, 5.0 / width)),
            Coherent(self.across.observed(1.0, across)),
            Coherent(self.overlap.observed(1.0, 2.0 / width)),
            self.start,
        )

    def merged(self, share: float, fields: list[Field], width: int) -> _Noise:
        """Behind a unit."""
        sources = [self._sources(field, width) for field in fields]
        memories = [2.0 * field.arc.k0 for field in fields]
        ones = [1.0] * len(fields)
        arc = ArcCosine.of(np.array(math.sqrt(1.0 - share)))
        # Of a point's own sampling noise, masks and noise both drift: (4 k0 (1 + 2 rho^2) - 1) / 5.
        persists = (4.0 * float(arc.k0) * (3.0 - 2.0 * share) - 1.0) / 5.0
        coherence = self.coherence.merged(share, memories, [s for s, _ in sources])
        return _Noise(
            coherence,
            self.alone.merged(share, ones, [5.0 / width] * len(fields), persists=persists),
            self.across.merged(share, ones, [across for _, across in sources]),
            self.overlap.merged(share, ones, [2.0 / width] * len(fields)),
            self.start,
        )

    def law(self, points: int) -> NoiseDiffusion:
        """What the laws of a place need of it."""
        coherence = between_pairs(self.coherence.variance, points)
        across, alone = float(self.across.variance), float(self.alone.variance)
        overlap = self.start.diffused(0.5 * float(self.overlap.variance))
        return NoiseDiffusion(coherence, across, alone, overlap)
