"""The drawn step: drawn channels through the layers that have no formula, and what is taken of them."""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator

import numpy as np

from ...covariances.storage import Covariance, NoiseCovariance
from ...maps.laws import DRAWN, MIXED
from ...nets.dense import Dense
from ...nets.linear import Conv
from ...nets.max_pool import MaxPool
from ...nets.network import Place
from ..protocol import Station
from .layers import At, Walk, carry
from .population import of_gaussian, of_images
from .state import State, known_of

#: Share of its square that single precision keeps of a number.
RESOLVED = 2.0**-24


def begin(walk: Walk, state: State, at: At) -> None:
    """Draw channels before a layer: of the covariances, or with the first weights, on the images."""
    if state.images is not None:
        assert isinstance(at.layer, Conv | Dense), "the images' first weights"
        state.population = of_images(state.images, at.layer.convolution, walk.draws, at.path)
    else:
        state.population = of_gaussian(state.covariance, state.noise, walk.draws, at.path)
        state.signal = None
    state.become(DRAWN)
    state.known, state.overlap, state.channels = {}, None, None


def through(walk: Walk, state: State, at: At) -> Iterator[Station]:
    """Carry drawn channels through a layer that treats each by itself; first weights are in them already."""
    assert state.population is not None
    if state.images is None:
        state.population.through(at.path, at.layer)
    state.images = None
    walk.averages.passed(at.path, at.layer, state.grid, 0.0)
    place = walk.wanted.place(at.path)
    if place is not None:
        yield walk.station(state, place)


def settle(walk: Walk, state: State) -> None:
    """Take the second moments of drawn channels, if there are some, and go on with those."""
    if state.population is None:
        return
    signal, noise, error = state.population.covariances()
    _, errors = state.population.moments(walk.at_input)
    if walk.wanted.reff_locs:
        errors |= _ranks(walk, state, signal, noise, "drawn")[1]
    for name, value in errors.items():
        walk.drawn[name] = math.hypot(walk.drawn.get(name, 0.0), value)
    walk.error = max(walk.error, error)
    means = state.population.means(signal.log_scale) if walk.means else None
    signal.blocks = signal.blocks.astype(walk.dtype, copy=False)
    state.signal, state.noise, state.population, state.channels = signal, noise, None, None
    state.become(MIXED)
    state.known = known_of(MIXED)
    state.set_means(means, signal.log_scale)


def station(walk: Walk, state: State, place: Place, ranked: bool) -> Station:
    """Take a station where drawn channels stand."""
    assert state.population is not None
    before = walk.drawn
    moments, errors = state.population.moments(walk.at_input)
    walk.resolved(moments["log_nu2_signal"], moments["log_mu2_signal"])  # or the rank would be 0 / 0
    if ranked:
        signal, noise, _ = state.population.covariances()
        ranks, of_ranks = _ranks(walk, state, signal, noise, str(place.loc))
        moments, errors = moments | ranks, errors | of_ranks
    contrast = moments["log_nu2_signal"] - moments["log_mu2_signal"]
    walk.error = max(walk.error, RESOLVED * math.exp(0.5 * min(contrast, 50.0)))
    walk.drawn = {name: math.hypot(before.get(name, 0.0), value) for name, value in errors.items()}
    found = walk.record(state, place, moments)
    walk.drawn = before
    return found


def _ranks(
    walk: Walk, state: State, signal: Covariance, noise: NoiseCovariance, loc: str
) -> tuple[dict[str, float], dict[str, float]]:
    """Effective ranks and their errors."""
    assert state.population is not None
    found, vectors = {}, []
    for name, part, trace in (
        ("signal", signal, float(signal.centred_diagonal.sum())), ("noise", noise, noise.centred_trace()),
    ):  # fmt: skip
        key = f"{name} at {loc}"
        value = walk.leading(part.centred_product, part.points, key)
        found[f"reff_{name}"] = float(np.divide(trace, value))
        vector = walk.vectors(key, part.points)
        if vector is None:  # of few points it is not kept
            vector = np.linalg.eigh(part.centred_product(np.eye(part.points)))[1][:, -1]
        vectors.append(vector)
    return found, state.population.rank_errors(*vectors)


@carry.register(MaxPool)
def _(layer: MaxPool, walk: Walk, state: State, at: At, follows: At | None) -> Generator[Station, None, bool]:
    """Windows of one position leave the covariances as they are; all others see drawn channels only."""
    assert layer.pointwise
    place = walk.wanted.place(at.path)
    if place is not None:
        yield walk.station(state, place)
    return False
