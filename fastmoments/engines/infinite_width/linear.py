"""What linear layers other than convolutions do to the covariances on a walk at infinite width."""

from __future__ import annotations

from collections.abc import Generator

from ...covariances.scales import log
from ...maps.averaging import average, average_images, average_noise, flatten, flatten_noise
from ...maps.laws import law_after
from ...maps.overlap import Overlap
from ...nets.dense import Dense
from ...nets.fixed import Averaging, Dropout, Fixed, Flatten, Scale
from ..protocol import Station
from .costs import copies
from .layers import At, Walk, carry
from .state import State, known_of

# In copies of the larger of the stored covariances, before and behind it (`python -m bench.layer`).
AVERAGE = 1.5


@carry.register
def _(layer: Dense, walk: Walk, state: State, at: At, follows: At | None) -> Generator[Station, None, bool]:
    return (yield from carry(layer.convolution, walk, state, at, follows))


@carry.register
def _(
    layer: Averaging, walk: Walk, state: State, at: At, follows: At | None
) -> Generator[Station, None, bool]:
    if state.overlap is not None:
        state.overlap = state.overlap.averaged(layer)
    grid, before = state.noise.grid, _log_variance(state)
    if state.images is not None:
        state.images = average_images(state.images, layer)
        average_noise(state.noise, layer)
    else:
        average(state.covariance, state.noise, layer)
        state.known = known_of(state.law)
    walk.averages.passed(at.path, layer, grid, _log_variance(state) - before)
    return (yield from _behind(layer, walk, state, at))


def _log_variance(state: State) -> float:
    """Of the noise."""
    return state.noise.log_scale + log(state.noise.mean_variance())


@carry.register
def _(layer: Flatten, walk: Walk, state: State, at: At, follows: At | None) -> Generator[Station, None, bool]:
    if state.images is not None:
        state.images = state.images.reshape(len(state.images), 1, 1, -1)
        flatten_noise(state.noise)
        state.overlap = None if state.overlap is None else Overlap.of_images(state.images)
    elif state.noise.grid != (1, 1):
        absolute = state.marginals().moments().get("log_nu1_abs_signal")
        flatten(state.covariance, state.noise)
        state.known, state.overlap = {"log_nu1_abs_signal": absolute, "log_mu4_signal": None}, None
    return (yield from _behind(layer, walk, state, at))


@carry.register
def _(layer: Scale, walk: Walk, state: State, at: At, follows: At | None) -> Generator[Station, None, bool]:
    log_factor = log(abs(layer.factor))
    state.noise.log_scale += 2.0 * log_factor
    if state.images is not None:
        state.images = layer.factor * state.images
    else:
        state.covariance.log_scale += 2.0 * log_factor
        powers = {"log_nu1_abs_signal": 1.0, "log_mu4_signal": 4.0}
        state.known = {
            name: None if value is None else value + powers[name] * log_factor
            for name, value in state.known.items()
        }
    if state.overlap is not None:
        state.overlap = Overlap(layer.factor**2 * state.overlap.features, state.overlap.sources)
    return (yield from _behind(layer, walk, state, at))


@carry.register
def _(layer: Dropout, walk: Walk, state: State, at: At, follows: At | None) -> Generator[Station, None, bool]:
    return (yield from _behind(layer, walk, state, at))


def _behind(layer: Fixed, walk: Walk, state: State, at: At) -> Generator[Station, None, bool]:
    """The law behind a layer, and its station."""
    state.law = law_after(layer, state.law)
    place = walk.wanted.place(at.path)
    if place is not None:
        yield walk.station(state, place)
    return False


@copies.register
def _(layer: Averaging) -> float:
    return AVERAGE


@copies.register(Flatten)
@copies.register(Scale)
@copies.register(Dropout)
def _(layer: Fixed) -> float:
    return 0.0
