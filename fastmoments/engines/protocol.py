"""Observables of a station: what every engine yields, and how it follows from the covariances.

Scales grow without bound with depth (a residual net doubles its signal in every unit), so an
engine hands over logarithms; `scan` turns them into the linear curves.

Source of the definitions: Labatie, ICML 2019, and the reference's conventions: moments over the
data distribution (image and position) and averaged over channels; ``mu4`` is the raw fourth
central moment; ``chi`` is normalised by its value on the images themselves.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol, runtime_checkable

import numpy as np

from ..images.batches import Batch
from ..nets.layers import Layer
from ..nets.network import LOCS, Network, Place

#: What an engine may put into `Station.moments`. The ``log_`` ones have a linear curve of the same
#: name without the prefix; an engine leaves out what it does not know at a station.
ENGINE_MOMENTS = (
    "log_nu1_abs_signal",
    "log_nu2_signal",
    "log_mu2_signal",
    "log_mu4_signal",
    "log_mu2_noise",
    "log_chi",
    "reff_signal",
    "reff_noise",
)


@dataclass(frozen=True)
class Station:
    """Moments at one place in the net.

    Attributes
    ----------
    path : str
        Of the layer before it, such as ``layers.3.branch.1``; "" for the images themselves.
    layer : str
        Kind of that layer; "images" for the images themselves.
    depth : int
        Unit, from 1; 0 up to the end of the stem.
    loc : str or None
        Name on curves over depth, one of ``network.LOCS``; None where an earlier layer of the unit has it.
    moments : dict of str to float
        Natural logarithms and effective ranks, by the names in `ENGINE_MOMENTS`.
    net : int
        Which random net; 0 for analytic engines.
    error : float
        Largest estimate so far of the relative error of one layer; 0 where the map is exact. At finite width
        the largest estimate of the relative error of a mean at this station.
    sigmas : dict of str to float
        Standard deviations of the moments over random nets, where an analytic engine knows them. The moments
        are means over nets then.
    errors, sigma_errors : dict of str to float
        Estimated errors of these means and deviations, in units of the moments, where the engine has some.
    drawn : dict of str to float
        Standard errors of the moments (of ranks relative) by the channels that an analytic engine drew where
        it has no formula; empty where it drew none.
    sampled : dict of str to float
        The moments by sampling inputs of the same given net, with the standard errors in `drawn`.
    grid : (height, width), or None
        Positions of an image; None where the engine does not say.
    channels : int or None
        At infinite width as the net says; None where it does not.
    averaged : tuple of float
        What means over positions up to here have left of the noise, more than of white noise: logarithms by
        stretches of the net (`averages.Averages`).
    law : str or None
        What the engine knows of a channel: "gaussian", ...; None for sampled nets.
    before : str or None
        Path of the station at the input of that layer, of a merge where its ways part; None where the path of
        the layer tells.
    """

    path: str
    layer: str
    depth: int
    loc: str | None
    moments: dict[str, float]
    net: int = 0
    error: float = 0.0
    sigmas: dict[str, float] = field(default_factory=dict)
    errors: dict[str, float] = field(default_factory=dict)
    sigma_errors: dict[str, float] = field(default_factory=dict)
    drawn: dict[str, float] = field(default_factory=dict)
    sampled: dict[str, float] = field(default_factory=dict)
    grid: tuple[int, int] | None = None
    channels: int | None = None
    averaged: tuple[float, ...] = (0.0,)
    law: str | None = None
    before: str | None = None


@dataclass(frozen=True)
class Passage:
    """Where a walk is that has no station to give yet: for progress only.

    Attributes
    ----------
    batch : int
        From 0.
    depth : int
        It may fall as well, on a way back.
    """

    batch: int
    depth: int


@dataclass(frozen=True)
class Plan:
    """What belongs to every scan, whichever engine computes it.

    Attributes
    ----------
    depths : frozenset of int
        Where stations are taken.
    reff_locs : frozenset of str
        At which of them effective ranks are taken.
    """

    depths: frozenset[int]
    reff_locs: frozenset[str] = frozenset({"act"})


class Units(Protocol):
    """What is asked of a net on the way through it: its units of depth. A `Network` tells them."""

    @property
    def depth(self) -> int: ...  # noqa: D102
    @property
    def outputs(self) -> int | None: ...  # noqa: D102
    def stem_layers(self) -> tuple[tuple[str, Layer | None], ...]: ...  # noqa: D102
    def entrance(self, depth: int) -> tuple[str, Layer | None]: ...  # noqa: D102
    def places(self, depth: int) -> tuple[Place, ...]: ...  # noqa: D102
    def locs(self, depth: int) -> tuple[str, ...]: ...  # noqa: D102


class Checkpoints(Protocol):
    """What a run needs of a journal: `scans.journal.Journal` is one."""

    stations: list[Station]

    def keep(self, wanted: Callable[[Station], bool]) -> list[Station]:
        """Drop all stations that are going to be computed again; what is left."""

    def restored(self) -> tuple[int, dict, dict] | None:
        """Depth, arrays and plain values of the last checkpoint."""

    def checkpoint(self, depth: int, taken: Callable[[], tuple[dict, dict]]) -> None:
        """Write the state that `taken` gives, if it is time to."""


class Run(Protocol):
    """One engine at work on one net and its images: an iterable of its stations, in walking order."""

    def attach(self, journal: Checkpoints) -> list[Station]:
        """Go on from what a journal holds, and write checkpoints; the stations that need no computing."""

    def __iter__(self) -> Iterator[Station | Passage]:
        """Yield the stations; an engine whose stations come late says where it is."""


#: Of a batch of images: (n, h, w, c).
Shape = tuple[int, int, int, int]
#: Bytes of Python and its compiled kernels.
PROCESS = 210e6


@runtime_checkable
class Engine(Protocol):
    """A way to compute the moments of a net: a dataclass of its options, which checks them when it is made.

    Attributes
    ----------
    method : str
        Its name on the command line and in results.
    width, nets : int or None
        Channels and random nets, where they are finite in number.
    dtype : str
        Precision of the signal.
    """

    method: ClassVar[str]

    @property
    def width(self) -> int | None: ...  # noqa: D102
    @property
    def nets(self) -> int | None: ...  # noqa: D102
    @property
    def dtype(self) -> str: ...  # noqa: D102

    def prepare(self, network: Network, batch: Batch, plan: Plan) -> Run:
        """A run.

        Raises
        ------
        ValueError
            In one sentence, before any work is done: if the engine does not cover the net.
        """

    def drawn(self, images: int) -> dict[str, int]:
        """Batches that are drawn from so many images: "batch" and "batches"; empty if all are one batch."""

    def memory(self, network: Network, shape: Shape, plan: Plan) -> int:
        """Bytes that a run on images of this shape takes at its peak, the process included."""

    def seconds(self, network: Network, shape: Shape, plan: Plan, threads: int) -> float | None:
        """How long it takes, compilation apart; None where the engine cannot say."""

    def smaller(self, network: Network) -> Sequence[Engine]:
        """Engines that answer the same question in less memory."""


class Wanted:
    """Which stations of the unit that is walked through are taken, and at which of them ranks.

    Parameters
    ----------
    network : Units
    depths : collection of int, optional
        All of them if left out.
    reff_locs : collection of str
        Names of stations (`network.LOCS`). A unit that has none of them is measured at its last.

    Attributes
    ----------
    here : bool
        Whether any station of this unit is wanted.
    entrance : Place or None
        The station at the unit's input.
    """

    def __init__(
        self,
        network: Units,
        depths: Collection[int] | None = None,
        reff_locs: Collection[str] = ("act",),
    ) -> None:
        if not set(reff_locs) <= set(LOCS):
            raise ValueError(f"reff_locs may name {', '.join(LOCS)}, not {', '.join(reff_locs)}.")
        self.network, self.reff_locs = network, frozenset(reff_locs)
        self.depths = frozenset(recorded_depths(network.depth) if depths is None else depths)
        self.begin(0)

    def begin(self, depth: int) -> None:
        """Enter a unit; 0 is the stem."""
        self.depth, self.here = depth, depth in self.depths or (depth == 0 and bool(self.depths))
        self.entrance: Place | None = None
        self._places: dict[str, Place] = {}
        self._ranked: frozenset[str] = frozenset()
        if not self.here:
            return
        if depth == 0:
            stem = [Place(path, layer, None) for path, layer in self.network.stem_layers()]
            self._places = {place.path: place for place in stem}
            if 0 in self.depths:
                self.entrance, self._ranked = self._input(1), frozenset({"input"})
            return
        self._places = {place.path: place for place in self.network.places(depth)}
        locs = self.network.locs(depth)
        self.entrance = self._input(depth)
        self._ranked = self.reff_locs.intersection(locs) or frozenset({locs[-1]})
        if self.reff_locs and depth == self.network.depth and self.network.outputs is not None:
            self._ranked |= {"input"}  # what a classifier can choose from

    def _input(self, depth: int) -> Place:
        path, layer = self.network.entrance(depth)
        return Place(path, layer, "input")

    @property
    def images(self) -> Place | None:
        """The station of the images themselves, before the stem."""
        return Place("", None, None) if self.here and self.depth == 0 else None

    def place(self, path: str) -> Place | None:
        """The place behind a layer, if its station is wanted."""
        return self._places.get(path)

    def knows(self, path: str, loc: str | None) -> bool:
        """Whether a station of this unit has this path, and this name on curves over depth."""
        own = (self.images, self.entrance, self.place(path))
        return (path, loc) in [(place.path, place.loc) for place in own if place is not None]

    def named(self, loc: str) -> Place:
        """The place of a unit with this name on curves over depth."""
        if loc == "input" and self.entrance is not None:
            return self.entrance
        return next(place for place in self._places.values() if place.loc == loc)

    def ranked(self, place: Place) -> bool:
        """Whether effective ranks are taken there."""
        return place.loc in self._ranked

    def station(self, place: Place, moments: dict[str, float], **facts: Any) -> Station:
        """The record of a station; `facts` are further fields of it."""
        layer = "images" if place.layer is None else type(place.layer).__name__
        return Station(place.path, layer, self.depth, place.loc, moments, **facts)


def recorded_depths(depth: int, every: int = 1) -> list[int]:
    """Depths at which stations are taken: every multiple of `every`, and the last."""
    if depth == 0:
        return [0]
    return sorted({*range(every, depth + 1, every), depth})


def input_log_variances(images: np.ndarray) -> tuple[float, float]:
    """Logarithms of mu2 of signal and noise on the images themselves, which normalise chi.

    Parameters
    ----------
    images : ndarray, shape (n, h, w, c)

    Raises
    ------
    ValueError
        If the images do not vary over the points of the batch, so that chi has no meaning.
    """
    largest = float(np.abs(images).max())
    scaled = images / (largest or 1.0)
    variance = float(np.mean(np.var(scaled, axis=(0, 1, 2))))
    if variance <= 1e-28 * float(np.mean(scaled * scaled)):
        raise ValueError(
            "The images do not vary over the points of the batch, so their signal has no variance; "
            "use at least two different images."
        )
    return math.log(variance) + 2.0 * math.log(largest), 0.0


def log_chi(log_mu2_noise: float, log_mu2_signal: float, at_input: tuple[float, float]) -> float:
    """Normalised sensitivity chi, as a logarithm: half the growth of noise over signal variance."""
    signal_0, noise_0 = at_input
    return 0.5 * ((log_mu2_noise - noise_0) - (log_mu2_signal - signal_0))
