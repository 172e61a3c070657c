"""What linear layers other than convolutions do to the covariances on a walk at infinite width."""

from __future__ import annotations

import math
from collections.abc import Generator

import numpy as np

from ...covariances.scales import log
from ...maps.averaging import average, average_images, average_noise, flatten, flatten_noise
from ...maps.laws import law_after
from ...maps.overlap import Overlap
from ...nets.dense import Dense
from ...nets.fixed import Averaging, Dropout, Fixed, Flatten, Scale
from ..protocol import Station
from .layers import At, Walk, carry
from .state import State, known_of


@carry.register
def _(layer: Dense, walk: Walk, state: State, at: At, follows: At | None) -> Generator[Station, None, bool]:
    return (yield from carry(layer.convolution, walk, state, at, follows))


@carry.register
def _(
    layer: Averaging, walk: Walk, state: State, at: At, follows: At | None
) -> Generator[Station, None, bool]:
    if state.overlap is not None:
        state.overlap = state.overlap.averaged(layer)
    means, grid, before = None, state.noise.grid, _log_variance(state)
    if state.images is not None:
        state.images = average_images(state.images, layer)
        average_noise(state.noise, layer)
    else:
        means, log_scale = state.means, state.covariance.log_scale
        average(state.covariance, state.noise, layer)
        if means is not None:
            means = average_images(means.reshape(-1, *grid, 1), layer).ravel()
            means = means * math.exp(0.5 * (log_scale - state.covariance.log_scale))
        state.known = known_of(state.law)
    walk.averages.passed(at.path, layer, grid, _log_variance(state) - before)
    return (yield from _behind(layer, walk, state, at, means))


def _log_variance(state: State) -> float:
    """Of the noise."""
    return state.noise.log_scale + log(state.noise.mean_variance())


@carry.register
def _(layer: Flatten, walk: Walk, state: State, at: At, follows: At | None) -> Generator[Station, None, bool]:
    means = None
    if state.images is not None:
        state.images = state.images.reshape(len(state.images), 1, 1, -1)
        flatten_noise(state.noise)
        state.overlap = None if state.overlap is None else Overlap.of_images(state.images)
    elif state.noise.grid != (1, 1):
        absolute = state.marginals().moments().get("log_nu1_abs_signal")
        means, log_scale = state.means, state.covariance.log_scale
        flatten(state.covariance, state.noise)
        if means is not None:
            means = means.reshape(state.noise.seen, -1).mean(1)
            means = means * math.exp(0.5 * (log_scale - state.covariance.log_scale))
        state.known, state.overlap = {"log_nu1_abs_signal": absolute, "log_mu4_signal": None}, None
    else:
        means = state.means
    return (yield from _behind(layer, walk, state, at, means))


@carry.register
def _(layer: Scale, walk: Walk, state: State, at: At, follows: At | None) -> Generator[Station, None, bool]:
    log_factor = log(abs(layer.factor))
    state.noise.log_scale += 2.0 * log_factor
    means = None
    if state.images is not None:
        state.images = layer.factor * state.images
    else:
        means = None if state.means is None else math.copysign(1.0, layer.factor) * state.means
        state.covariance.log_scale += 2.0 * log_factor
        powers = {"log_nu1_abs_signal": 1.0, "log_mu4_signal": 4.0}
        state.known = {
            name: None if value is None else value + powers[name] * log_factor
            for name, value in state.known.items()
        }
    if state.overlap is not None:
        state.overlap = Overlap(layer.factor**2 * state.overlap.features, state.overlap.sources)
    return (yield from _behind(layer, walk, state, at, means))


@carry.register
def _(layer: Dropout, walk: Walk, state: State, at: At, follows: At | None) -> Generator[Station, None, bool]:
    means = state.means if state.images is None else None
    return (yield from _behind(layer, walk, state, at, means))


def _behind(
    layer: Fixed, walk: Walk, state: State, at: At, means: np.ndarray | None
) -> Generator[Station, None, bool]:
    """The law behind a layer with its means over channels (`State.set_means`), and its station."""
    state.become(law_after(layer, state.law))
    if state.images is None:
        state.set_means(means, state.covariance.log_scale)
    place = walk.wanted.place(at.path)
    if place is not None:
        yield walk.station(state, place)
    return False
