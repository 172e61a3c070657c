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

from ..layers import Conv
from .arc_cosine import ArcCosine, correlations
from .chaos import Chaos, Field, linear_form, mask_form, rectified_form
from .coherence import Coherent
from .log_diffusion import NoiseDiffusion, Overlap
from .matrices import mean_of_pairs
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


@dataclass(frozen=True)
class _Unit:
    """A unit on the path at infinite width: its share w, the fields of its ReLUs, and the place before it."""

    share: float
    fields: tuple[Field, ...]
    before: Place
    behind_relu: Place


def stations(network, images: np.ndarray, width: int, depths: frozenset, log_input: float) -> Iterator:
    """Yield (depth, loc, laws) of every station wanted; parameters as in `batch_normalised.stations`."""
    gains = [[part.gain for part in unit[0].branch if isinstance(part, Conv)] for unit in network.units]
    scales = [unit[0].scale for unit in network.units]
    units, last = _walk(images, gains, scales, width)
    nodes = nodes_of(depths)
    merges = curves_through(nodes, [_backward(units, last, depth, width, act=False) for depth in nodes])
    inner = [depth for depth in nodes if depth > 0]
    acts = curves_through(inner, [_backward(units, last, depth, width, act=True) for depth in inner])
    log_gain = math.log(network.stem[0].gain)
    for depth, (unit, own, scale) in enumerate(zip(units, gains, scales, strict=True), 1):
        growth = math.log1p(_beta(own, scale))
        if depth in depths:
            yield (
                depth,
                "input",
                laws(
                    _observed(unit.before, width),
                    merges(depth - 1),
                    width,
                    log_gain,
                    log_input,
                    rectified=False,
                ),
            )
            act = acts(depth)
            yield (
                depth,
                "act",
                laws(unit.behind_relu, act, width, log_gain - math.log(2.0), log_input, rectified=True)
                | ranks(unit.behind_relu, act, width),
            )
            yield depth, "conv", laws(
                *sampled(unit.behind_relu, act, width), width, log_gain + math.log(0.5 * own[0]), log_input,
                rectified=False,
            )  # fmt: skip
            behind = units[depth].before if depth < len(units) else last
            yield (
                depth,
                "merge",
                laws(
                    _observed(behind, width),
                    merges(depth),
                    width,
                    log_gain + growth,
                    log_input,
                    rectified=False,
                ),
            )
        log_gain += growth


def _beta(gains: list[float], scale: float) -> float:
    """Gain of a branch: of its variance over that of its input."""
    return scale**2 * math.prod(0.5 * gain for gain in gains)


def _walk(images, gains: list, scales: list, width: int) -> tuple[list[_Unit], Place]:
    """Forward through the net, every unit in units of its growth; and the place behind the last."""
    points, features = images.shape
    kernel = images @ images.T / features
    nothing = np.zeros((points, points))
    diagonal, noise = Coherent(nothing, nothing), _Noise.of_images(points, features)
    place = Place(kernel, kernel, Pairs.exact(correlations(kernel)[0]), noise.law(points), nothing)
    units = []
    for own, scale in zip(gains, scales, strict=True):
        beta = _beta(own, scale)
        share = beta / (1.0 + beta)
        fields, sources = [], []
        inner, typical, pairs = place.kernel, place.typical, place.pairs
        behind = None
        for number in range(len(own)):
            field, seen = Field.of(inner), Field.of(typical)
            fields.append(field)
            source = (4.0 * field.arc.j2 - 1.0) / width
            sources.append(source)
            inner = field.rectified()
            typical = spread_by_sampling(seen.rectified(), width, seen.expanded)
            pairs = pairs.rectified(width)
            if number == 0:
                behind = Place(
                    inner, typical, pairs, noise.behind_relu(field, width).law(points),
                    diagonal.observed(1.0, source),
                )  # fmt: skip
        units.append(_Unit(share, tuple(fields), place, behind))
        diagonal = diagonal.merged(share, [1.0] * len(own), sources, persists=_persists(fields[0], share))
        noise = noise.merged(share, fields, width)
        kernel = (1.0 - share) * place.kernel + share * inner
        place = Place(
            kernel,
            (1.0 - share) * place.typical + share * typical,
            place.pairs.mixed(pairs, share, diagonal.variance),
            noise.law(points),
            diagonal.variance,
        )
    return units, place


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
        coherence = np.full((points, points), 1.0 / inputs)
        np.fill_diagonal(coherence, 0.0)
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
        coherence = np.array(np.broadcast_to(self.coherence.variance, (points, points)))
        np.fill_diagonal(coherence, 0.0)
        across, alone = float(self.across.variance), float(self.alone.variance)
        overlap = self.start.diffused(0.5 * float(self.overlap.variance))
        return NoiseDiffusion(coherence, across, alone, overlap)


def _observed(place: Place, width: int) -> Place:
    """The channels of the population as sampled."""
    c = correlations(place.kernel)[0]
    return Place(
        place.kernel, place.typical, place.pairs.sampled(width), place.noise.sampled(width),
        place.diagonal + 2.0 * c * c / width,
    )  # fmt: skip


def _backward(units: list[_Unit], last: Place, depth: int, width: int, *, act: bool) -> dict[str, float]:
    """Variances of the functionals behind unit `depth` (merge), or behind its first ReLU (act), by name."""
    through = units[:depth]
    end = through[-1].behind_relu if act else (units[depth].before if depth < len(units) else last)
    forms = functionals(end.kernel)
    points = len(end.kernel)
    even = np.full(points, 1.0 / points)
    variances, shared = np.zeros(len(forms)), np.zeros(len(forms))
    if act:
        unit, through = through[-1], through[:-1]
        later, masks = rectified_form(forms, unit.fields[0]), mask_form(even, unit.fields[0])
        own = unit.before.kernel
        variances += later.covariance(later, own)
        shared += masks.covariance(later, own)
        forms = 0.5 * later.second
    else:
        later, masks = linear_form(forms), _nothing(points)
        variances += later.covariance(later, end.kernel)
    for unit in through[::-1]:
        # From the channels of a unit to those of the one before, order n of what is later fades by this.
        fade = math.sqrt(1.0 - unit.share)
        later, masks = _faded(later, fade), _faded(masks, fade)
        branch = unit.share * forms
        forms = (1.0 - unit.share) * forms
        for field in unit.fields[:0:-1]:
            chaos = rectified_form(branch, field)
            variances += chaos.covariance(chaos, field.covariance)
            shared += unit.share * mask_form(even, field).covariance(chaos, field.covariance)
            branch = 0.5 * chaos.second
        field = unit.fields[0]
        chaos, mask = rectified_form(branch, field), mask_form(unit.share * even, field)
        variances += chaos.covariance(chaos, field.covariance) + 2.0 * chaos.covariance(
            later, field.covariance
        )
        shared += mask.covariance(chaos, field.covariance) + mask.covariance(later, field.covariance)
        shared += masks.covariance(chaos, field.covariance)
        later, masks = later + chaos, masks + mask
        forms = forms + 0.5 * chaos.second
    return dict(zip(FUNCTIONALS, variances / width, strict=True)) | {"shared": float(shared[0] / width)}


def _nothing(points: int) -> Chaos:
    return Chaos(np.zeros(points), np.zeros((points, points)), np.zeros((points, points)))


def _faded(chaos: Chaos, fade: float) -> Chaos:
    """The expansion of a functional of fade * y + fresh in that of y."""
    return Chaos(fade * chaos.first, fade**2 * chaos.second, fade**3 * chaos.third)
