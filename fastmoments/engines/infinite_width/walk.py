"""The walk of a signal through an infinitely wide net, station by station.

At infinite width the channels behind a convolution are independent Gaussians, so two covariances
carry the whole state; theory in `docs/theory.md`. Exact but for rounding, the quadrature of batch norm
and, for large batches, the bulk of its spectrum (`Station.error` estimates both).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator
from functools import partial

import numpy as np
from threadpoolctl import ThreadpoolController

from ...covariances.eigenpairs import Product, leading_eigenvalue
from ...covariances.storage import NoiseCovariance
from ...kernels.ahead import compile_ahead
from ...kernels.threads import workers
from ...maps.channels import Channels
from ...maps.laws import between_units, channelwise, check, course
from ...maps.moving_statistics import MOST_POINTS
from ...maps.overlap import Overlap
from ...maps.tangent import nothing
from ...nets.activations import Nonlinearity, PiecewiseLinear
from ...nets.concat import Concat, concatenated_channels
from ...nets.layer_norm import ChannelNorm
from ...nets.network import Network, Place, Residual, unrolled
from ...nets.norms import BatchNorm
from ..averages import Averages
from ..protocol import Checkpoints, Station, Wanted, input_log_variances, log_chi
from . import concat, drawn, linear, mixture, norms  # noqa: F401  # some only register their layers
from .corrections import Corrections
from .costs import account
from .layers import At, carry, settle
from .population import Draws
from .state import State
from .tangent import check as check_tangent
from .tangent import learn

#: Relative error of a variance by rounding that is worth telling, and that is too much.
LOSS, RESOLUTION = 1e-8, 1e-2


class InfiniteWidthWalk:
    """The stations of a net at infinite width, as an iterable.

    Parameters
    ----------
    network : Network
    images : ndarray, shape (n, h, w, c)
        Normalised; (n, 1, 1, features) for a fully connected net.
    depths : collection of int, optional
        Where stations are taken; everywhere if left out.
    reff_locs : collection of str
        Where effective ranks are taken, which cost more than all other moments. A unit that has
        none of these stations is measured at its last.
    convolution : {"auto", "direct", "fft"}
    rank : int, optional
        Leading eigenpairs for batch norm (`batch_norm.normalise`).
    dtype : {"float64", "float32"}
        Precision in which the signal's covariance is stored.
    tile : int, optional
        Points to a block of a fully connected net, a divisor of their number.
    corrections : Corrections, optional
    draws : Draws, optional
        How channels are drawn where there is no formula.
    tangent : bool
        Carry the tangent kernel in the place of the noise; for `final_state`, not for stations.

    Raises
    ------
    ValueError
        If the net is not covered, a parameter is out of range, or the images do not vary.
    """

    def __init__(
        self, network: Network, images: np.ndarray, *, depths: Collection[int] | None = None,
        reff_locs: Collection[str] = ("act",), convolution: str = "auto", rank: int | None = None,
        dtype: str = "float64", tile: int | None = None, corrections: Corrections | None = None,
        draws: Draws | None = None, tangent: bool = False,
    ) -> None:  # fmt: skip
        self.tangent = tangent
        if tangent:
            check_tangent(network)
        self.draws = draws or Draws()
        #: Where channels are drawn, but for what is inside of other layers.
        self.starts = check(network)
        if dtype == "float32" and not network.spreading:
            raise ValueError(
                "dtype float32 needs a BatchNorm in every unit that activates: without, correlations tend "
                "to 1, and single precision loses what is left of the signal; use float64."
            )
        joint = account(network, images.shape, dtype).joint
        if joint > MOST_POINTS:
            raise ValueError(
                f'BatchNorm(noise="through") is covered at infinite width for at most {MOST_POINTS} points '
                f"(images times positions), not {joint:,}: give fewer or smaller images, or use "
                'method="sampled".'
            )
        #: Channels of the branches of every Concat, by its path.
        self.concatenated = concatenated_channels(network, (*images.shape[:3], images.shape[3]))
        self.network = network
        self.images = images
        self.at_input = input_log_variances(images)
        self.wanted = Wanted(network, depths, reff_locs)
        self.convolution = convolution
        self.rank = rank
        self.tile = tile
        self.dtype = np.dtype(dtype)
        self.corrections = corrections or Corrections()
        self.channels = network.channel_numbers(images.shape[-1], images.shape[1:3])
        #: Standard errors of moments by the channels drawn so far.
        self.drawn: dict[str, float] = {}
        #: Largest errors of logarithms and ranks so far by the copula behind merges.
        self.left_out: dict[str, float] = {}
        #: Called between units with their number and a function that gives the state (`taken`).
        self._checkpoint: Callable[[int, Callable[[], tuple[dict, dict]]], None] | None = None
        self._resumed: tuple[int, dict, dict] | None = None
        #: Whether means over channels are wanted, which a norm over channels takes off.
        self.means = network.has(ChannelNorm)
        self._vectors: dict[str, np.ndarray | None] = {}  # by key, where the layer in the same place starts
        self._blas = ThreadpoolController()

    def attach(self, journal: Checkpoints) -> list[Station]:
        """Go on from the last checkpoint of a journal, and write checkpoints; the stations up to there."""
        self._resumed, self._checkpoint = journal.restored(), journal.checkpoint
        done = 0 if self._resumed is None else self._resumed[0]
        return journal.keep(lambda station: 0 < done >= station.depth)

    def __iter__(self) -> Iterator[Station]:
        """Yield the stations, layer by layer; every iteration begins anew."""
        self._compile_ahead()
        state, done = self._start(), 0
        if self._resumed is not None:
            (done, arrays, described), self._resumed = self._resumed, None
            state = State.restored(arrays, described)
            self.error, self.drawn, self.left_out = (described[n] for n in ("error", "drawn", "left_out"))
            self.averages = Averages(described["averaged"])
            self._vectors = {key: arrays[f"vectors{i}"] for i, key in enumerate(described["keys"])}
        walk = self._walk(state, done)
        while True:
            # The kernels are the one level of parallelism; BLAS works on single blocks between them,
            # and a fixed number of its threads keeps the numbers the same to the last bit.
            with self._blas.limit(limits=1, user_api="blas"):
                station = next(walk, None)
            if station is None:
                return
            yield station

    def _compile_ahead(self) -> None:
        """Have the kernels compiled that follow the first, that of the convolution."""
        if workers() > 1:
            behind = {"normalise": (BatchNorm,), "combine": (Residual, Concat)}
            needed = [kernel for kernel, kinds in behind.items() if self.network.has(*kinds)]
            compile_ahead(["multiply", *needed], self.dtype)

    def final_state(self) -> State:
        """Where the signal stands behind the last layer, its covariance formed."""
        state, wanted = self._start(), self.wanted
        self.wanted = Wanted(self.network, ())
        with self._blas.limit(limits=1, user_api="blas"):
            for _ in self._walk(state):
                pass
        self.wanted = wanted
        self.unmix(state)
        drawn.settle(self, state)
        state.form(self.tile, self.dtype)
        return state

    def _start(self) -> State:
        self.error = 0.0
        self.drawn = {}
        self.averages = Averages()
        self.left_out = {}
        #: The last shortcut, whose memory serves the next: fresh memory costs more than a copy.
        self.memory: State | None = None
        self._vectors = {}
        self.corrections.start()
        images, height, width, _ = self.images.shape
        if self.tangent:
            return State(self.images, None, nothing(images, height, width))
        noise = NoiseCovariance.white(images, height, width, view=True)
        followed = self.network.has(BatchNorm) or self.network.has(ChannelNorm)
        overlap = Overlap.of_images(self.images) if followed else None
        return State(self.images, None, noise, overlap=overlap)

    def _taken(self, state: State) -> tuple[dict, dict]:
        arrays, described = state.taken()
        vectors = {key: found for key, found in self._vectors.items() if found is not None}
        arrays |= {f"vectors{i}": found for i, found in enumerate(vectors.values())}
        own = {
            "error": self.error,
            "drawn": self.drawn,
            "left_out": self.left_out,
            "averaged": self.averages.so_far,
        }
        return arrays, described | own | {"keys": list(vectors)}

    def _walk(self, state: State, done: int = 0) -> Iterator[Station]:
        self.wanted.begin(0)
        if not done:
            if self.wanted.images is not None:
                yield self.station(state, self.wanted.images)
            stem = unrolled(self.network.stem, "", "stem")
            stack = [At(path, path, layer) for path, layer in stem]
            yield from self.through(state, stack, starts=self.starts)
            state.become(between_units(state.law), state.mean_share)
        if not self.network.depth and self.wanted.entrance is not None:
            yield self.station(state, self.wanted.entrance)
        for depth in range(done + 1, self.network.depth + 1):
            whole = state.population is None and state.mixture is None
            if self._checkpoint is not None and depth - 1 > done and whole:
                self._checkpoint(depth - 1, partial(self._taken, state))
            self.wanted.begin(depth)
            if self.wanted.entrance is not None:
                yield self.station(state, self.wanted.entrance)
            unit = enumerate(self.network.unit(depth))
            stack = [At(path, str(index), layer) for index, (path, layer) in unit]
            yield from self.through(state, stack, starts=self.starts)
            state.become(between_units(state.law), state.mean_share)

    def through(
        self, state: State, stack: list[At], to_end: bool = False, starts: frozenset[str] | None = None
    ) -> Iterator[Station]:
        """Carry the state through a stack of layers, yielding the stations wanted.

        Channels are drawn where `starts` says, or `course` of the stack, and wanted at the end if `to_end`.
        An activation is done in the visit of the layer before it, unless a rank is wanted between the two.
        """
        if starts is None:
            starts = course([(at.path, at.layer) for at in stack], state.law, to_end)[1]
        index = 0
        while index < len(stack):
            at = stack[index]
            if at.path in starts:
                drawn.begin(self, state, at)
            if state.population is not None and (at.layer.channelwise or state.images is not None):
                yield from drawn.through(self, state, at)
                index += 1
                continue
            run = channelwise(each.layer for each in stack[index:]) if state.mixture is not None else 0
            if run:
                yield from mixture.through(self, state, stack[index : index + run])
                index += run
                continue
            if not at.layer.stacks:
                self.unmix(state)
            if state.population is not None and not at.layer.stacks:
                drawn.settle(self, state)
            follows = stack[index + 1] if index + 1 < len(stack) else None
            if follows is not None and (
                self.tangent or not isinstance(follows.layer, Nonlinearity) or follows.path in starts
            ):
                follows = None
            activated = yield from carry(at.layer, self, state, at, follows)
            if self.tangent:
                learn(at.layer, state)
            if activated and follows is not None:
                assert isinstance(follows.layer, PiecewiseLinear), "no other is done with the layer before"
                settle(state, follows.layer)
                place = self.wanted.place(follows.path)
                if place is not None:
                    yield self.station(state, place)
            index += 2 if activated else 1

    def unmix(self, state: State) -> None:
        """Take channels of several laws together, if there are, and go on with their second moments."""
        mixture.settle(self, state)

    def station(self, state: State, place: Place) -> Station:
        """Take a station where the signal stands."""
        ranked = self.wanted.ranked(place)
        if state.mixture is not None:
            return mixture.station(self, state, place)
        if state.population is not None:
            return drawn.station(self, state, place, ranked)
        self.corrections.before_station(state, place.loc)
        moments = state.marginals().moments()
        self.resolved(moments["log_nu2_signal"], moments["log_mu2_signal"])  # or the rank would be 0 / 0
        if ranked:
            state.form(self.tile, self.dtype)
            signal = state.covariance
            value = self.leading(signal.centred_product, signal.points, f"signal at {place.loc}")
            moments["reff_signal"] = float(np.divide(signal.centred_diagonal.sum(), value))
            moments["reff_noise"] = self.noise_rank(state.noise, place.loc)
        found = self.record(state, place, moments)
        self.corrections.after_station(state, place.loc, found.moments, ranked)
        return found

    def resolved(self, log_nu2: float, log_mu2: float) -> None:
        """Take note of the digits that a variance has lost, being a difference of second moments.

        Raises
        ------
        ValueError
            If less than `RESOLUTION` is left of them.
        """
        loss = float(np.finfo(self.dtype).eps) * math.exp(min(log_nu2 - log_mu2, 100.0))
        if not loss <= RESOLUTION:
            unit = f"unit {self.wanted.depth}" if self.wanted.depth else "the images or the stem"
            better = "" if self.dtype == np.float64 else "float64, "
            raise ValueError(
                f"In {unit} the signals of all points agree to so many digits that rounding decides how they "
                f"differ; use {better}images that differ more, a smaller offset or bias, or fewer layers."
            )
        if loss > LOSS:
            self.error = max(self.error, loss)

    def closed(self, channels: Channels) -> None:
        """Take note of what the copula leaves out behind a merge."""
        assert channels.witnesses is not None, "they come with the merge"
        for name, value in channels.witnesses.errors.items():
            self.left_out[name] = max(self.left_out.get(name, 0.0), value)
        self.error = max(self.error, *self.left_out.values())

    def record(
        self, state: State, place: Place, moments: dict[str, float], law: str | None = None
    ) -> Station:
        """A station with its moments, and chi."""
        self.resolved(moments["log_nu2_signal"], moments["log_mu2_signal"])
        moments["log_chi"] = log_chi(moments["log_mu2_noise"], moments["log_mu2_signal"], self.at_input)
        return self.wanted.station(
            place, moments, error=self.error, grid=state.grid, law=law or state.law,
            errors=self._errors(moments),
            drawn={name: self.drawn[name] for name in moments if name in self.drawn},
            channels=self.channels.get(place.path), averaged=self.averages.so_far,
        )  # fmt: skip

    def _errors(self, moments: dict[str, float]) -> dict[str, float]:
        """What the copula leaves out of moments, in their units."""
        relative = {name: self.left_out[name] for name in moments if name in self.left_out}
        return {n: value * (moments[n] if n.startswith("reff") else 1.0) for n, value in relative.items()}

    def noise_rank(self, noise: NoiseCovariance, loc: str | None) -> float:
        """Effective rank of the noise."""
        value = self.leading(noise.centred_product, noise.points, f"noise at {loc}")
        return float(np.divide(noise.centred_trace(), value))

    def leading(self, product: Product, points: int, key: str) -> float:
        """Largest eigenvalue, its search begun where that of the unit before ended."""
        value, self._vectors[key] = leading_eigenvalue(product, points, self.vectors(key, points))
        return value

    def vectors(self, key: str, points: int) -> np.ndarray | None:
        """What the layer in the same place of the unit before left, if it had as many points."""
        found = self._vectors.get(key)
        return found if found is not None and len(found) == points else None

    def keep_vectors(self, key: str, found: np.ndarray | None) -> None:
        """Leave eigenvectors for the layer in the same place of the next unit."""
        self._vectors[key] = found
