"""Stations of convolutional plain nets with skips at finite width: nu2, mu2, mu2 of the noise, chi and r_eff.

As without skips (`feedforward`), with channels that persist, x' = sqrt(1 - w) x + fresh in units of the
growth of a unit, w the share of the branch. So the sampling noise of a branch's first ReLU goes on from unit
to unit, order n of its Hermite expansion with a factor (1 - w)^(n / 2): in the second moments of signal and
noise at the points, `diagonal_diffusion` carries it forward; in mu2 and r_eff,
`plain.residual_backward` back, with transposed convolutions between the ReLUs. Of two points, relative to the
levels and times N, it is

    of the signal, order 1: 8 c / pi,   2: 2 c^2,              3 and above: 4 J2(c) - 1 - these
    of the noise,  order 1: 2 c / pi,   3: c^3 / 3 pi,         15 (all above): 4 k0(c) - 1 - these,
                                        2: 8 k0(c) E rho^2,

c the correlations of the signal, rho those of one draw of the noise: 1 of a point with itself, by chance
those of vectors of the stem's inputs, of which a unit keeps (1 - w)^2 (what its branch keeps, averaged over
taps, is left out). Noises correlate with signals by the same chance,

    E corr(x_i, dx_k) corr(x_j, dx_k) = c_ij E rho^2,

so a layer adds 2 E rho^2, of order 2, to N times the covariance of log mu2 of both. Gaussian channels, behind
a linear layer, sample 2 c^2 and 2 E rho^2 more.

E log nu2 and E log mu2 of the noise are half their variance below that of infinite width, to O(1/N) a unit.
The means of mu2 and r_eff are those of infinite width, that of log mu2 half its variance lower.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from ....covariances.storage import Covariance, NoiseCovariance
from ....maps.activation import activate
from ....maps.convolution import convolve
from ....maps.merge import merge
from ....nets.activations import ReLU
from ....nets.linear import Conv
from ....nets.network import Residual
from ...infinite_width.walk import InfiniteWidthWalk
from ..closures import Closures
from ..plain.residual_backward import BranchLayer, Place, deviations
from ..shared.depth_interpolation import backward_depths, interpolated_between
from ..shared.fluctuations import FluctuationState
from ..shared.hermite_forms import GaussianField
from ..shared.lognormal import Laws, Lognormal, Step, chi_moment
from ..shared.relu_moments import ReluMoments, correlations
from ..shared.units import Task, convolutions, residual_of, stem_of
from .diagonal_diffusion import DiagonalDiffusion, Orders, both_sides
from .functionals import gradients, sampled_variance, transposed
from .representation import Representation, walked_backwards

#: Of the signal and of the noise.
Pair = tuple[np.ndarray, ...]

#: Points that stand for a batch, at most.
MOST_POINTS = 768

#: Depths at which the backward pass is made, and units towards either end that it evaluates.
NODES, EVALUATED = 8, 6


def stations(task: Task) -> Iterator[Step]:
    """Yield (depth, loc, laws) of every station wanted."""
    network, images, width, depths, log_input, closures = task
    stem = stem_of(network)
    assert stem is not None, "a residual net is covered with a stem only"
    units = [residual for unit in network.units if (residual := residual_of(unit)) is not None]
    standing = Representation.of(stem, images, MOST_POINTS)
    forward: dict[tuple[int, str], _Sums] = {}
    for unit, found in _Forward(standing, width, closures).walk(units, depths):
        yield unit, None, None
        forward |= found
    nodes = backward_depths(depths, NODES)
    acts = [depth for depth in nodes if depth > 0]
    backward = yield from deviations(
        _backward(standing, units[: max(nodes)]), nodes, acts, width,
        partial(gradients, share=standing.of_images), ("log_mu2_signal", "reff_signal"), EVALUATED,
    )  # fmt: skip
    merges, behind_relu = interpolated_between(nodes, backward[0]), interpolated_between(acts, backward[1])
    for station in InfiniteWidthWalk(network, images, depths=depths):
        depth, loc, moments = station.depth, station.loc, station.moments
        if loc is None or (depth, loc) not in forward:
            continue
        at = (
            merges(depth - (loc == "input" and depth > 0))
            if loc in ("input", "merge")
            else behind_relu(depth)
        )
        sums = forward[depth, loc]
        mu2 = at["log_mu2_signal"] + sums.fresh
        laws: Laws = {
            "log_nu2_signal": Lognormal(moments["log_nu2_signal"] - 0.5 * sums.second, sums.second),
            "log_mu2_signal": Lognormal(moments["log_mu2_signal"] - 0.5 * mu2, mu2),
            "log_mu2_noise": Lognormal(moments["log_mu2_noise"] - 0.5 * sums.noise, sums.noise),
        }
        shared = at["shared"] + sums.shared
        laws["log_chi"] = chi_moment(laws["log_mu2_noise"], laws["log_mu2_signal"], log_input, shared)
        if "reff_signal" in moments:
            rank = moments["reff_signal"]
            laws["reff_signal"] = Lognormal(rank, (rank - 1.0) ** 2 * at["reff_signal"])
        yield depth, loc, laws


@dataclass(frozen=True)
class _Sums:
    """Variances of log nu2 and of log mu2 of the noise at a station; what its layer adds to log mu2's.

    `shared` is the covariance of log mu2 of signal and noise by what they share by chance.
    """

    second: float
    noise: float
    shared: float
    fresh: float = 0.0


@dataclass(frozen=True)
class _State:
    """Signal and noise at infinite width, of layers of gain 2 and in units of the growth of the units."""

    signal: Covariance
    noise: NoiseCovariance

    def copy(self) -> _State:
        """Of its own memory."""
        return _State(self.signal.copy(), self.noise.copy())

    def levels(self) -> tuple[np.ndarray, np.ndarray]:
        """Second moments of signal and noise at the points, shape (M,) each."""
        noise = np.einsum("npp->np", self.noise.blocks) * math.exp(self.noise.log_scale)
        noise = np.broadcast_to(noise, (self.noise.images, noise.shape[1]))
        return self.signal.diagonal * math.exp(self.signal.log_scale), np.ravel(noise)

    def scaled(self, log_factor: float) -> None:
        """In place."""
        self.signal.log_scale += log_factor
        self.noise.log_scale += log_factor

    def passed(self, conv: Conv) -> None:
        """In place: through a ReLU and the convolution behind it."""
        activate(self.signal, self.noise, ReLU())
        convolve(self.signal, self.noise, conv, None)
        self.scaled(math.log(2.0 / conv.weights.gain))


def _beta(unit: Residual) -> float:
    return unit.scale**2 * math.prod(0.5 * conv.weights.gain for conv in convolutions(unit.branch))


def _through(unit: Residual, before: _State) -> tuple[list[_State], _State]:
    """What is in the ReLUs of the branch, and the state behind the unit."""
    state, beta, inner = before.copy(), _beta(unit), []
    for conv in convolutions(unit.branch):
        inner.append(state.copy())
        state.passed(conv)
    if not beta:
        return inner, before
    state.scaled(math.log(beta))
    merge(state.signal, state.noise, before.signal, before.noise)
    state.scaled(-math.log1p(beta))
    return inner, state


def _backward(standing: Representation, units: list[Residual]) -> Iterator[tuple[int, Place]]:
    """Yield (units before it, the place), the last first."""
    start = _State(standing.signal, standing.noise)
    for number, state, inner in walked_backwards(start, units, _through):
        place = Place(state.signal.dense(), state.levels()[1])
        if inner is not None:
            beta, convs = _beta(units[number]), convolutions(units[number].branch)
            layers = [
                BranchLayer(
                    GaussianField.of(at.signal.dense()),
                    at.levels()[1],
                    partial(transposed, grid=standing.grid, conv=conv),
                    partial(standing.averaged_back, conv=conv),
                )
                for at, conv in zip(inner, convs, strict=True)
            ]
            place = replace(place, share=beta / (1.0 + beta), layers=layers)
        yield number, place


def _sources(seen: Pair, width: int, closures: Closures) -> tuple[Orders, Orders]:
    """Sampling noise of signal and noise in a ReLU, by Hermite order.

    Parameters
    ----------
    seen : pair of shape (M, M)
        Correlations of the signal, and mean squares of those of the noise.
    """
    c, overlap = seen
    relu = ReluMoments.of(c)
    square: Orders = {1.0: 8.0 / math.pi * c, 2.0: 2.0 * c * c}
    square[3.0] = 4.0 * relu.j2 - 1.0 - square[1.0] - square[2.0]
    masks: Orders = {2.0: 8.0 * relu.k0 * overlap}
    rest = 4.0 * relu.k0 - 1.0
    *known, (last, _) = closures.mask_orders
    for half, at_one in known:
        masks[2.0 * half] = at_one * c ** (2.0 * half)
        rest = rest - masks[2.0 * half]
    masks[2.0 * last] = rest
    return (
        {order: part / width for order, part in square.items()},
        {order: part / width for order, part in masks.items()},
    )


class _Forward:
    """The diffusion of the second moments of signal and noise, and what is seen of it at the stations."""

    def __init__(self, standing: Representation, width: int, closures: Closures) -> None:
        self.standing, self.width, self.closures = standing, width, closures
        self.state, self.chance = _State(standing.signal, standing.noise), standing.chance
        self.shared: FluctuationState[float] = FluctuationState(0.0)
        second, noise = self.state.levels()
        self.second = DiagonalDiffusion.start(second, np.zeros((len(second), len(second))))
        self.noise = DiagonalDiffusion.start(noise, standing.draw)

    def walk(
        self, units: list[Residual], depths: frozenset[int]
    ) -> Iterator[tuple[int, dict[tuple[int, str], _Sums]]]:
        """Yield (units behind, stations of the next unit before its end and of the merge before it)."""
        for depth, unit in enumerate([*units, None]):
            found: dict[tuple[int, str], _Sums] = {}
            if depth in depths or depth + 1 in depths:
                variances = self.second.variance, self.noise.variance
                merged = self._linear(self.state, variances, self.state.levels(), self.shared.variance)
                found = {(depth, "merge" if depth else "input"): merged, (depth + 1, "input"): merged}
            if unit is not None:
                found |= self._unit(unit, depth + 1, depth + 1 in depths)
            yield depth, found

    def _linear(self, at: _State, variances: Pair, levels: Pair, shared: float, fresh: float = 0.0) -> _Sums:
        """Where Gaussian channels are sampled."""
        c, overlap = self._seen(at)
        second, noise = (
            self.standing.relative_variance(
                variance + np.outer(level, level) * 2.0 * sampled / self.width, level
            )
            for variance, level, sampled in zip(variances, levels, (c * c, overlap), strict=True)
        )
        return _Sums(second, noise, shared + 2.0 * self.chance / self.width, fresh)

    def _seen(self, at: _State) -> Pair:
        """Correlations of the signal, mean squares of those of the noise."""
        return correlations(at.signal.dense())[0], self.standing.noise_overlap(self.chance)

    def _unit(self, unit: Residual, depth: int, wanted: bool) -> dict[tuple[int, str], _Sums]:
        """Go through a unit; the stations inside it."""
        found: dict[tuple[int, str], _Sums] = {}
        convs, beta = convolutions(unit.branch), _beta(unit)
        inner, after = _through(unit, self.state)
        walks = self.second, self.noise
        first, *later = [_sources(self._seen(at), self.width, self.closures) for at in inner]
        aligned = 2.0 * self.chance / self.width
        if wanted:
            shared = self.shared.observed(1.0, aligned)
            acts = tuple(walk.rectified(source) for walk, source in zip(walks, first, strict=True))
            second, noise = map(self.standing.relative_variance, acts, inner[0].levels())
            found[depth, "act"] = _Sums(second, noise, shared)
            behind = inner[0].copy()
            behind.passed(convs[0])
            average = partial(self.standing.averaged, convs=convs[:1])
            fresh = sampled_variance(behind.signal.dense(), self.standing.of_images) / self.width
            averaged = tuple(both_sides(average, act) for act in acts)
            found[depth, "conv"] = self._linear(behind, averaged, behind.levels(), shared, fresh)
        fresh_pair = [np.zeros_like(walk.variance) for walk in walks]
        for at, sources, conv in zip(inner[1:], later, convs[1:], strict=True):
            average = partial(self.standing.averaged, convs=[conv])
            fresh_pair = [
                both_sides(average, before + sum(source.values()) * np.outer(level, level))
                for before, source, level in zip(fresh_pair, sources, at.levels(), strict=True)
            ]
        share, levels = beta / (1.0 + beta), after.levels()
        faded = (1.0 - share) * walks[0].level / levels[0]
        through = partial(self.standing.averaged, convs=convs)
        self.second, self.noise = (
            walk.merged(share, source, fresh, through, level, faded)
            for walk, source, fresh, level in zip(walks, first, fresh_pair, levels, strict=True)
        )
        self.shared = self.shared.merged(share, [1.0] * len(convs), [aligned] * len(convs))
        self.state, self.chance = after, self.chance * (1.0 - share) ** 2
        return found
