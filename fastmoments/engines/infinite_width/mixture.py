"""Channels of several laws, side by side: the branches of a Concat, of which each has a share.

Sums over channels are sums over the parts, so K = sum_b share_b K_b, and D and all moments likewise. A layer
that treats every channel by itself makes of each part what it would make of that alone. Of a dense block,
whose every layer sees what stood before it and a part more, the sums run on: each part goes once through
every different stack of such layers.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np

from ...covariances.scales import log
from ...covariances.storage import Covariance, NoiseCovariance
from ...maps.laws import MIXED, course, parts, unmixed
from ...maps.laws import mixture as mixture_of
from ...maps.merge import merge
from ...maps.overlap import joined
from ...nets.layers import Layer
from ...nets.network import Place
from ..averages import Averages
from ..protocol import Station
from . import drawn
from .layers import At, Walk
from .state import State, known_of

#: Moments that are sums over channels, by their names.
Moments = dict[str, float]


@dataclass(eq=False)
class Part:
    """Channels of one law.

    Attributes
    ----------
    channels : int
        How many, up to a factor that all parts have in common.
    state : State
        Not to be changed.
    """

    channels: int
    state: State

    def passed(self, walk: Walk, layers: list[At]) -> tuple[State, list[Moments]]:
        """What layers make of it, each channel by itself, and the moments behind each of them."""
        state, wanted, averages = self.state.copy(None), walk.wanted, walk.averages
        walk.wanted, walk.averages = _Everywhere(), Averages()  # type: ignore[assignment]
        try:
            stations = list(walk.through(state, layers))
        finally:
            walk.wanted, walk.averages = wanted, averages
        return state, [station.moments for station in stations]


class _Everywhere:
    """What is wanted of a part: moments behind every layer, and no ranks."""

    here, depth = True, 0
    reff_locs: frozenset[str] = frozenset()

    def place(self, path: str) -> Place:
        return Place(path, None, None)

    def ranked(self, place: Place) -> bool:
        return False

    def station(self, place: Place, moments: Moments, **facts: object) -> Station:
        return Station(place.path, "", 0, None, moments)


@dataclass
class Sums:
    """Sums over parts of what some layers made of them.

    Attributes
    ----------
    parts : list of Part
        Those that are in it.
    moments : list of dict
        Logarithms of the sums behind each of the layers; names that every part has.
    signal, noise : covariances, or None before the first
    errors : dict of str to float
        Standard errors of the moments by drawn channels, times the channels.
    averages : list of (channels, ndarray or None, log scale)
        Of each part, the signal's mean over channels at every point (`State.means`).
    """

    parts: list[Part] = field(default_factory=list)
    moments: list[Moments] = field(default_factory=list)
    signal: Covariance | None = None
    noise: NoiseCovariance | None = None
    errors: dict[str, float] = field(default_factory=dict)
    averages: list[tuple[int, np.ndarray | None, float]] = field(default_factory=list)

    @property
    def channels(self) -> int:
        """Of all parts."""
        return sum(part.channels for part in self.parts)

    def add(self, part: Part, state: State, moments: list[Moments]) -> None:
        """Add what the layers made of a part; takes the state."""
        weight = log(part.channels)
        signal, noise = state.covariance, state.noise
        self.averages.append((part.channels, state.means, signal.log_scale))
        signal.log_scale += weight
        noise.log_scale += weight
        terms = [{name: value + weight for name, value in each.items()} for each in moments]
        if self.noise is None or self.signal is None:
            self.signal, self.noise, self.moments = signal, noise, terms
        else:
            merge(self.signal, self.noise, signal, noise)
            self.moments = [_added(one, other) for one, other in zip(self.moments, terms, strict=True)]
        self.parts.append(part)

    def means(self) -> list[Moments]:
        """The moments behind each layer."""
        total = log(self.channels)
        return [{name: value - total for name, value in each.items()} for each in self.moments]

    def average(self, log_scale: float) -> np.ndarray | None:
        """The signal's mean over all channels, in units of the root of a scale; None if not known."""
        found: np.ndarray | float = 0.0
        for channels, means, of_part in self.averages:
            if means is None:
                return None
            found = found + channels / self.channels * math.exp(0.5 * (of_part - log_scale)) * means
        return np.asarray(found)

    def covariances(self) -> tuple[Covariance, NoiseCovariance]:
        """Signal and noise of all channels together, in memory of their own."""
        assert self.signal is not None and self.noise is not None, "there are parts"
        signal, noise, total = self.signal.copy(), self.noise.copy(), log(self.channels)
        return (
            replace(signal, log_scale=signal.log_scale - total),
            replace(noise, log_scale=noise.log_scale - total),
        )


def _added(one: Moments, other: Moments) -> Moments:
    return {name: float(np.logaddexp(one[name], other[name])) for name in one if name in other}


@dataclass
class Mixture:
    """Channels of several laws.

    Attributes
    ----------
    parts : list of Part
    passed : list of At
        Layers that treat every channel by itself, passed since.
    sums : dict of layers to Sums
        What is known of the sums over parts behind such layers.
    """

    parts: list[Part]
    passed: list[At] = field(default_factory=list)
    sums: dict[tuple[Layer, ...], Sums] = field(default_factory=dict)

    @property
    def grid(self) -> tuple[int, int]:
        """Positions (height, width) of an image."""
        grid = self.parts[0].state.grid
        for at in self.passed:
            grid = at.layer.output_grid(grid)
        return grid

    def copy(self) -> Mixture:
        """One that layers may be passed by; its parts are the same."""
        return Mixture(self.parts, list(self.passed), self.sums)

    def each(self, walk: Walk) -> list[Part]:
        """The parts as they stand behind the layers passed."""
        if not self.passed:
            return self.parts
        return [Part(part.channels, part.passed(walk, self.passed)[0]) for part in self.parts]

    def summed(self, walk: Walk, layers: list[At]) -> Sums:
        """Sums over the parts behind layers; parts that are new are added to those that are there."""
        key = tuple(at.layer for at in layers)
        found = self.sums.get(key, Sums())
        if any(one is not other for one, other in zip(found.parts, self.parts, strict=False)) or len(
            found.parts
        ) > len(self.parts):
            found = Sums()
        self.sums[key] = found
        for part in self.parts[len(found.parts) :]:
            before, walk.drawn = walk.drawn, {}
            state, moments = part.passed(walk, layers)
            drawn.settle(walk, state)
            for name, value in walk.drawn.items():
                found.errors[name] = math.hypot(found.errors.get(name, 0.0), part.channels * value)
            walk.drawn = before
            found.add(part, state, moments or [own_moments(walk, part)])
        return found


def own_moments(walk: Walk, part: Part) -> Moments:
    """Moments of a part as it stands."""
    if part.state.population is not None:
        return part.state.population.moments(walk.at_input)[0]
    return part.state.marginals().moments()


def through(walk: Walk, state: State, stack: list[At]) -> Iterator[Station]:
    """Carry a mixture through layers that treat every channel by itself."""
    mixture = state.mixture
    assert mixture is not None
    first, laws = len(mixture.passed), parts(state.law)
    sums = mixture.summed(walk, mixture.passed + stack)
    for index, (at, moments) in enumerate(zip(stack, sums.means()[first:], strict=True)):
        walk.averages.passed(at.path, at.layer, mixture.grid, 0.0)
        mixture.passed = [*mixture.passed, at]
        so_far = [(each.path, each.layer) for each in stack[: index + 1]]
        state.become(mixture_of(course(so_far, law)[0] for law in laws))
        place = walk.wanted.place(at.path)
        if place is not None:
            yield _station(walk, state, place, moments, sums)


def station(walk: Walk, state: State, place: Place) -> Station:
    """Take a station where a mixture stands."""
    assert state.mixture is not None
    sums = state.mixture.summed(walk, state.mixture.passed)
    return _station(walk, state, place, sums.means()[-1], sums)


def _station(walk: Walk, state: State, place: Place, moments: Moments, sums: Sums) -> Station:
    """A station with these moments, whose errors by drawn channels are those of the sums."""
    mixture = state.mixture
    assert mixture is not None
    moments = dict(moments)
    if walk.wanted.ranked(place):
        signal, noise = mixture.summed(walk, mixture.passed).covariances()
        value = walk.leading(signal.centred_product, signal.points, f"signal at {place.loc}")
        moments["reff_signal"] = float(np.divide(signal.centred_diagonal.sum(), value))
        moments["reff_noise"] = walk.noise_rank(noise, place.loc)
    before = walk.drawn
    walk.drawn = _with_errors(before, sums)
    found = walk.record(state, place, moments)
    walk.drawn = before
    return found


def _with_errors(before: dict[str, float], sums: Sums) -> dict[str, float]:
    own = {name: value / sums.channels for name, value in sums.errors.items()}
    return {name: math.hypot(before.get(name, 0.0), own.get(name, 0.0)) for name in before.keys() | own}


def settle(walk: Walk, state: State) -> None:
    """Take the second moments of all channels together, if there are several laws, and go on with those."""
    if state.mixture is None:
        return
    mixture, state.mixture = state.mixture, None
    sums = mixture.summed(walk, mixture.passed)
    state.signal, state.noise = sums.covariances()
    walk.drawn = _with_errors(walk.drawn, sums)
    moments = sums.means()[-1]
    state.become(unmixed(state.law))
    state.set_means(sums.average(state.signal.log_scale), state.signal.log_scale)
    state.known = {name: moments.get(name) for name in known_of(MIXED)}
    state.overlap, state.channels = None, None
    if not mixture.passed:
        state.overlap = joined([(part.channels, part.state.overlap) for part in mixture.parts])
