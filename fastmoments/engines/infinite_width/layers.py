"""What each kind of layer does to the covariances on a walk at infinite width."""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator
from functools import singledispatch
from typing import NamedTuple, Protocol

import numpy as np

from ...covariances.eigenpairs import Product
from ...covariances.scales import log
from ...covariances.storage import NoiseCovariance
from ...maps import batch_norm
from ...maps.activation import activate
from ...maps.channels import Channels, gaussian, nearly_gaussian
from ...maps.convolution import convolve, first_convolution
from ...maps.laws import DRAWN, GAUSSIAN, NORMALISED, SUMMED, law_after, law_after_stack, merged
from ...maps.merge import merge
from ...maps.norms import population_norm
from ...maps.post_activation import absolute_moment, activate_sum, added
from ...maps.smooth_activation import activate as activate_smoothly
from ...nets.activations import Nonlinearity, PiecewiseLinear
from ...nets.layers import Layer
from ...nets.linear import Conv
from ...nets.network import Place, Residual, unrolled
from ...nets.norms import BatchNorm
from ..averages import Averages
from ..protocol import Station, Wanted
from .corrections import Corrections
from .population import Draws, of_gaussian, summed
from .state import State, known_of


class Walk(Protocol):
    """What a layer needs of the walk through it: an `InfiniteWidthWalk`, which says what is what."""

    wanted: Wanted
    corrections: Corrections
    convolution: str
    rank: int | None
    tile: int | None
    dtype: np.dtype
    means: bool
    error: float
    memory: State | None
    concatenated: dict[str, tuple[int, ...]]
    draws: Draws
    drawn: dict[str, float]
    averages: Averages
    at_input: tuple[float, float]

    def through(self, state: State, stack: list[At], to_end: bool = False) -> Iterator[Station]:
        """Carry the state through a stack."""

    def unmix(self, state: State) -> None:
        """Take channels of several laws together."""

    def station(self, state: State, place: Place) -> Station:
        """Take a station."""

    def record(
        self, state: State, place: Place, moments: dict[str, float], law: str | None = None
    ) -> Station:
        """Record moments as a station."""

    def closed(self, channels: Channels) -> None:
        """Take note of what the copula leaves out behind a merge."""

    def leading(self, product: Product, points: int, key: str) -> float:
        """Largest eigenvalue of a covariance."""

    def noise_rank(self, noise: NoiseCovariance, loc: str | None) -> float:
        """Effective rank of the noise."""

    def resolved(self, log_nu2: float, log_mu2: float) -> None:
        """Take note of lost digits."""

    def vectors(self, key: str, points: int) -> np.ndarray | None:
        """Eigenvectors from the unit before."""

    def keep_vectors(self, key: str, found: np.ndarray | None) -> None:
        """Leave them for the next."""


class At(NamedTuple):
    """A layer on the walk.

    Attributes
    ----------
    path : str
    key : str
        The path within its unit of depth, the same in every unit of a kind: a name for what a layer hands
        to the layer in its place one unit later, such as eigenvectors to start a search from.
    layer : Layer
    """

    path: str
    key: str
    layer: Layer


def inside(at: At, stack: str) -> list[At]:
    """The layers of one of a layer's stacks."""
    layers = getattr(at.layer, stack)
    pairs = zip(unrolled(layers, at.path, stack), unrolled(layers, at.key, stack), strict=True)
    return [At(path, key, layer) for (path, layer), (key, _) in pairs]


@singledispatch
def carry(
    layer: Layer, walk: Walk, state: State, at: At, follows: At | None
) -> Generator[Station, None, bool]:
    """Carry a state through one layer, in place, yielding the stations wanted behind and inside it.

    Parameters
    ----------
    layer : Layer
    walk : Walk
    state : State
    at : At
        The layer with its path.
    follows : At or None
        The activation behind it, which may be done in the same visit to each block.

    Returns
    -------
    bool
        Whether it was.
    """
    raise TypeError(f"{type(layer).__name__} is not computed at infinite width.")
    yield


def _activation(follows: At | None) -> PiecewiseLinear | None:
    """The activation behind a layer, if it is of a kind that is done in the same visit."""
    layer = None if follows is None else follows.layer
    return layer if isinstance(layer, PiecewiseLinear) else None


def settle(state: State, layer: PiecewiseLinear) -> None:
    """The law behind an activation of a Gaussian or of what batch norm makes of it, and what goes with it."""
    before, absolute = state.law, state.absolute_share
    # A sum whose channels are not followed is taken as Gaussian.
    shape = np.ones(1) if before in (GAUSSIAN, SUMMED) else absolute
    state.become(law_after(layer, before), None if shape is None else layer.mean_share * shape)
    channels = state.channels if before == NORMALISED else None
    state.channels, state.overlap = (channels or gaussian()).activated(layer), None


@carry.register(PiecewiseLinear)
def _(
    layer: PiecewiseLinear, walk: Walk, state: State, at: At, follows: At | None
) -> Generator[Station, None, bool]:
    behind = law_after(layer, state.law)
    if state.law == SUMMED and state.channels is not None:
        state.channels, state.known = activate_sum(state.covariance, state.noise, state.channels, layer)
        state.become(behind, state.channels.mean_share)
        state.overlap = None
        walk.closed(state.channels)
    elif behind != state.law:  # the ReLU of a ReLU is itself
        state.known = activate(state.covariance, state.noise, layer)
        settle(state, layer)
    place = walk.wanted.place(at.path)
    if place is not None:
        yield walk.station(state, place)
    return False


@carry.register(Nonlinearity)
def _(
    layer: Nonlinearity, walk: Walk, state: State, at: At, follows: At | None
) -> Generator[Station, None, bool]:
    law = law_after(layer, state.law)
    state.known, mean_share, error = activate_smoothly(state.covariance, state.noise, layer)
    state.become(law, mean_share)
    state.overlap = None
    walk.error = max(walk.error, error)
    place = walk.wanted.place(at.path)
    if place is not None:
        yield walk.station(state, place)
    return False


@carry.register(Conv)
def _(layer: Conv, walk: Walk, state: State, at: At, follows: At | None) -> Generator[Station, None, bool]:
    place, images = walk.wanted.place(at.path), state.images
    fused = images is None and not state.noise.joint and not (place is not None and walk.wanted.ranked(place))
    activation = _activation(follows) if fused else None
    state.become(law_after(layer, state.law), np.zeros(1))  # fresh weights have no mean
    state.channels = None
    walk.corrections.before_convolution(state)
    if state.overlap is not None:
        state.overlap = state.overlap.convolved(layer)
    if images is not None:
        state.signal = first_convolution(images, state.noise, layer, walk.convolution, walk.tile, walk.dtype)
        state.images, state.known = None, {}
        between = state.marginals()
    else:
        between, state.known = convolve(
            state.covariance, state.noise, layer, activation, method=walk.convolution,
            detail=place is not None,
        )  # fmt: skip
    if state.law != GAUSSIAN:
        state.known = known_of(state.law)
    walk.corrections.after_convolution(state, layer, images is not None)
    if place is not None:
        yield walk.record(state, place, between.moments()) if activation else walk.station(state, place)
    return activation is not None


@carry.register(BatchNorm)
def _(
    layer: BatchNorm, walk: Walk, state: State, at: At, follows: At | None
) -> Generator[Station, None, bool]:
    place, activation = walk.wanted.place(at.path), _activation(follows)
    if layer.statistics == "population":
        state.form(walk.tile, walk.dtype)
        means = state.means
        means = population_norm(state.covariance, state.noise, layer.epsilon, layer.gamma, means)
        state.become(law_after(layer, state.law))
        state.overlap = None
        state.set_means(means, state.covariance.log_scale)
        state.known = known_of(state.law)
        if place is not None:
            yield walk.station(state, place)
        return False
    noise_rank: float | None = None
    if place is not None and walk.wanted.ranked(place):
        noise_rank = walk.noise_rank(state.noise, place.loc)
    before = state.marginals().moments()
    walk.resolved(before["log_nu2_signal"], before["log_mu2_signal"])
    samples = walk.corrections.before_batch_norm(state, layer, at.key)
    done = batch_norm.normalise(
        state.covariance, state.noise, layer.epsilon, activation,
        start=walk.vectors(at.key, state.covariance.points), rank=walk.rank,
        detail=walk.wanted.here or walk.means,
        overlap=state.overlap, samples=samples, gamma=layer.gamma,
        moving=layer.noise == "through",
    )  # fmt: skip
    state.become(law_after(layer, state.law), absolute_share=done.absolute_share)
    state.known, state.overlap, state.channels = done.known, None, nearly_gaussian(done.kurtosis)
    walk.keep_vectors(at.key, done.vectors)
    walk.error = max(walk.error, done.error)
    kept = walk.corrections.after_batch_norm(state, done, at.key)
    state.noise.log_scale += kept
    done.station.log_noise += kept
    if place is not None:
        if noise_rank is not None:
            if done.between is not None:
                noise_rank = walk.noise_rank(done.between, place.loc)
            ranks = {"reff_signal": done.rank, "reff_noise": noise_rank}
            done.station.known = {**done.station.known, **ranks}
        yield walk.record(state, place, done.station.moments())
    return activation is not None


@carry.register(Residual)
def _(
    layer: Residual, walk: Walk, state: State, at: At, follows: At | None
) -> Generator[Station, None, bool]:
    state.form(walk.tile, walk.dtype)
    skip = state.copy(walk.memory)
    law = law_after_stack(layer.shortcut, state.law)
    yield from walk.through(state, inside(at, "branch"), law == DRAWN)
    yield from walk.through(skip, inside(at, "shortcut"))
    for side in (state, skip):
        walk.unmix(side)
    if DRAWN in (state.law, skip.law):
        yield from merge_drawn(walk, state, skip, at, layer.scale)
        return False
    signal, shortcut = state.covariance, skip.covariance
    means = skip.means, state.means
    signal.log_scale += 2.0 * log(layer.scale)
    state.noise.log_scale += 2.0 * log(layer.scale)
    state.become(merged(skip.law, state.law) if layer.scale else skip.law)
    # Of Gaussians alone, or taken as such, the sum is one: no channels of their own.
    fresh, state.channels = state.channels, None
    if state.law == SUMMED and skip.channels is not None and skip.law != NORMALISED:
        state.channels = added(skip.channels, shortcut, skip.noise, signal, state.noise, fresh)
    scales = shortcut.log_scale, signal.log_scale
    merge(signal, state.noise, shortcut, skip.noise)
    state.set_means(_sum(means, scales, signal.log_scale), signal.log_scale)
    walk.memory = skip
    state.overlap = skip.overlap  # the branch has fresh weights and lost its own at a ReLU
    # Of a sum that is not Gaussian the diagonal gives no more than second moments.
    state.known = known_of(state.law)
    if state.channels is not None:
        state.known = absolute_moment(signal, state.channels)
    if not layer.scale:
        state.become(skip.law, skip.mean_share, skip.absolute_share)
        state.channels, state.known = skip.channels, skip.known
    place = walk.wanted.place(at.path)
    if place is not None:
        yield walk.station(state, place)
    return False


def _sum(
    means: tuple[np.ndarray | None, np.ndarray | None], log_scales: tuple[float, float], log_scale: float
) -> np.ndarray | None:
    """The sum of means of two log scales in another; None if one is not known."""
    one, other = means
    if one is None or other is None:
        return None
    factors = [math.exp(0.5 * (each - log_scale)) for each in log_scales]
    return factors[0] * one + factors[1] * other


def merge_drawn(walk: Walk, state: State, skip: State, at: At, scale: float) -> Iterator[Station]:
    """Add a shortcut and a branch channel by channel, where one of them is drawn."""
    for side, stack in ((state, "branch"), (skip, "shortcut")):
        if side.population is None:  # Gaussian
            side.population = of_gaussian(side.covariance, side.noise, walk.draws, f"{at.path}.{stack}")
            side.signal = None
    assert state.population is not None and skip.population is not None
    state.population = summed(skip.population, state.population, log(scale))
    state.become(DRAWN)
    state.known, state.overlap, state.channels = {}, None, None
    place = walk.wanted.place(at.path)
    if place is not None:
        yield walk.station(state, place)
