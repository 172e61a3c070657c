"""Engine: the moments of an infinitely wide random net on one batch, layer by layer.

At infinite width the channels behind a convolution are independent Gaussians, so two covariances
carry the whole state; theory in `maps` and `quadrature`. Exact but for rounding, the quadrature of
batch norm and, for large batches, the bulk of its spectrum (`Station.error` estimates both).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial

import numpy as np
from threadpoolctl import ThreadpoolController

from ..covariances.eigenpairs import leading_eigenvalue
from ..covariances.scales import log, log_mean
from ..covariances.storage import DTYPES, Covariance, NoiseCovariance
from ..maps import batch_norm
from ..maps.activation import rectify
from ..maps.convolution import convolve, first_convolution
from ..maps.fft import METHODS
from ..maps.marginals import Marginals, marginals
from ..maps.merge import merge
from ..maps.overlap import Overlap
from ..nets.layers import BatchNorm, Conv, ReLU
from ..nets.network import LOCS, Network, Residual, unit_locs
from .protocol import Station, input_log_variances, log_chi, recorded_depths

# The law of a signal at one place, which decides what may follow (`check`).
DATA, GAUSSIAN, NORMALISED, RECTIFIED, MIXED = "images", "gaussian", "normalised", "rectified", "mixed"


def check(network: Network) -> None:
    """Refuse a net whose mathematics is not covered, before any work is done.

    Raises
    ------
    ValueError
        In one sentence: what is not covered, and what would be.
    """
    law = _boundary(_law_behind(network.stem, DATA))
    for unit in network.units:
        law = _unit_law(unit, law)


def _boundary(law: str) -> str:
    """A station stands between units, so a ReLU there no longer knows the batch norm before it."""
    return MIXED if law == NORMALISED else law


def _unit_law(unit: tuple, law: str) -> str:
    if not isinstance(unit[0], Residual):
        return _boundary(_law_behind(unit, law))
    shortcut = _law_behind(unit[0].shortcut, law)
    branch = _law_behind(unit[0].branch, law)
    if branch == RECTIFIED:
        raise ValueError(
            "Residual: the branch ends in a ReLU, which correlates it with the shortcut; "
            "end it in a Conv, or a Conv and a BatchNorm."
        )
    return GAUSSIAN if shortcut == branch == GAUSSIAN else MIXED


def _law_behind(layers: tuple, law: str) -> str:
    for layer in layers:
        if isinstance(layer, Conv):
            law = GAUSSIAN
        elif isinstance(layer, BatchNorm):
            if law != GAUSSIAN:
                raise ValueError(
                    f"BatchNorm of a signal that is not Gaussian ({law}) is not covered at infinite width; "
                    "put a Conv, or a merge of branches that end in a Conv, right before it."
                )
            law = NORMALISED
        else:
            if law not in (GAUSSIAN, NORMALISED, RECTIFIED):
                raise ValueError(
                    f"ReLU of a signal that is neither Gaussian nor batch-normalised ({law}) is not covered "
                    "at infinite width; put a Conv before it."
                )
            law = RECTIFIED
    return law


@dataclass
class State:
    """Where the signal stands.

    `images` are the images themselves until the first layer has seen them: the covariance at their
    full size is only formed when something needs it. `known` as in `Marginals`.
    `overlap` is what the first weights made signal and noise share, as long as it is followed.
    """

    images: np.ndarray | None
    signal: Covariance | None
    noise: NoiseCovariance
    known: dict = field(default_factory=dict)

    law: str = DATA
    overlap: Overlap | None = None

    def copy(self, memory: np.ndarray | None) -> State:
        """A state of its own memory, for the shortcut of a residual unit; blocks in `memory` if they fit."""
        signal = self.signal.copy(memory)
        return State(None, signal, self.noise.copy(), dict(self.known), self.law, self.overlap)

    def taken(self) -> tuple[dict, dict]:
        """Arrays and plain values of the state, the inverse of `State.restored`."""
        signal, noise = self.signal, self.noise
        arrays = {
            "signal": signal.blocks, "diagonal": signal.diagonal, "row_sums": signal.row_sums,
            "noise": noise.blocks,
        }  # fmt: skip
        if self.overlap is not None:
            arrays |= {"overlap": self.overlap.features, "sources": self.overlap.sources}
        described = {
            "grid": signal.grid, "log_scales": [signal.log_scale, noise.log_scale],
            "noise_grid": noise.grid, "images": noise.images, "known": self.known, "law": self.law,
        }  # fmt: skip
        return arrays, described

    @classmethod
    def restored(cls, arrays: dict, described: dict) -> State:
        """A state from its arrays and plain values."""
        log_scale, log_noise_scale = described["log_scales"]
        signal = Covariance(
            arrays["signal"], tuple(described["grid"]), log_scale, arrays["diagonal"], arrays["row_sums"]
        )
        noise_grid = tuple(described["noise_grid"])
        noise = NoiseCovariance(arrays["noise"], described["images"], noise_grid, log_noise_scale)
        overlap = Overlap(arrays["overlap"], arrays["sources"]) if "overlap" in arrays else None
        return cls(None, signal, noise, described["known"], described["law"], overlap)

    def form(self, tile: int | None, dtype) -> None:
        """Form the covariance of the images, if no layer has done so."""
        if self.signal is None:
            factor = 1.0 / self.images.shape[-1]
            self.signal = Covariance.from_features(self.images, factor, tile=tile, dtype=dtype)
            self.known = image_moments(self.images)
            self.images = None

    def marginals(self) -> Marginals:
        """The station where the signal stands."""
        if self.signal is None:
            return image_marginals(self.images, self.noise)
        return marginals(self.signal, self.noise, self.known)


class InfiniteWidth:
    """The stations of a net at infinite width, as an iterable.

    Parameters
    ----------
    network : Network
    images : ndarray, shape (n, h, w, c)
        Normalised; (n, 1, 1, features) for a fully connected net.
    every : int
        Depths between stations.
    reff_locs : sequence of str
        Where effective ranks are taken, which cost more than all other moments. A unit that has
        none of these stations is measured at its last.
    convolution : {"auto", "direct", "fft"}
    rank : int, optional
        Leading eigenpairs for batch norm (`batch_norm.normalise`).
    dtype : {"float64", "float32"}
        Precision in which the signal's covariance is stored.
    tile : int, optional
        Points to a block of a fully connected net, a divisor of their number.

    Raises
    ------
    ValueError
        If the net is not covered, a parameter is out of range, or the images do not vary.
    """

    def __init__(
        self, network: Network, images: np.ndarray, *, every: int = 1, reff_locs=("act",),
        convolution: str = "auto", rank: int | None = None, dtype: str = "float64", tile: int | None = None,
    ):  # fmt: skip
        check(network)
        if convolution not in METHODS:
            raise ValueError(f"convolution must be one of {', '.join(METHODS)}, not {convolution!r}.")
        if rank is not None and rank < 1:
            raise ValueError(f"rank must be a positive whole number, not {rank!r}.")
        if not set(reff_locs) <= set(LOCS):
            raise ValueError(f"reff_locs may name {', '.join(LOCS)}, not {', '.join(reff_locs)}.")
        if dtype not in DTYPES:
            raise ValueError(f"dtype must be one of {', '.join(DTYPES)}, not {dtype!r}.")
        if dtype == "float32" and not network.normalised:
            raise ValueError(
                "dtype float32 needs a BatchNorm in every unit: without, correlations tend to 1, and single "
                "precision loses what is left of the signal; use float64."
            )
        self.network = network
        self.images = images
        self.at_input = input_log_variances(images)
        self.depths = frozenset(recorded_depths(network.depth, every))
        self.reff_locs = frozenset(reff_locs)
        self.convolution = convolution
        self.rank = rank
        self.tile = tile
        self.dtype = np.dtype(dtype)
        #: Called between units with their number and a function that gives the state (`taken`).
        self.checkpoint: Callable[[int, Callable[[], tuple[dict, dict]]], None] | None = None
        self._resumed: tuple[int, dict, dict] | None = None
        self._blas = ThreadpoolController()

    def resume(self, depth: int, arrays: dict, described: dict) -> None:
        """At the next iteration go on behind unit `depth` from what `checkpoint` was given."""
        self._resumed = depth, arrays, described

    def __iter__(self) -> Iterator[Station]:
        """Yield the stations, layer by layer; every iteration begins anew."""
        state, done = self._start(), 0
        if self._resumed is not None:
            (done, arrays, described), self._resumed = self._resumed, None
            state = State.restored(arrays, described)
            self._error = described["error"]
            self._vectors = {tuple(at): arrays[f"vectors{i}"] for i, at in enumerate(described["places"])}
        walk = self._walk(state, done)
        while True:
            # The kernels are the one level of parallelism; BLAS works on single blocks between them,
            # and a fixed number of its threads keeps the numbers the same to the last bit.
            with self._blas.limit(limits=1, user_api="blas"):
                station = next(walk, None)
            if station is None:
                return
            yield station

    def final_covariance(self) -> tuple[np.ndarray, tuple[int, int]]:
        """Covariance of the signal behind the last layer, shape (points, points); height and width."""
        state = self._start()
        depths, self.depths = self.depths, frozenset()
        with self._blas.limit(limits=1, user_api="blas"):
            for _ in self._walk(state):
                pass
        self.depths = depths
        state.form(self.tile, self.dtype)
        return state.signal.dense(), state.noise.grid

    def _start(self) -> State:
        self._error = 0.0
        self._memory: np.ndarray | None = None
        self._vectors: dict = {}  # eigenvectors of the layer before, by place, to start the next from
        noise = NoiseCovariance.white(*self.images.shape[:3])
        overlap = Overlap.of_images(self.images) if self.network.has(BatchNorm) else None
        return State(self.images, None, noise, overlap=overlap)

    def _taken(self, state: State) -> tuple[dict, dict]:
        arrays, described = state.taken()
        vectors = {place: found for place, found in self._vectors.items() if found is not None}
        arrays |= {f"vectors{i}": found for i, found in enumerate(vectors.values())}
        return arrays, described | {"error": self._error, "places": list(vectors)}

    def _walk(self, state: State, done: int = 0) -> Iterator[Station]:
        if not done:
            yield from self._through(state, self.network.stem, 0, {})
            state.law = _boundary(state.law)
        if 0 in self.depths:
            yield self._station(state, 0, "input", {"input": True})
        for depth, unit in enumerate(self.network.units[done:], done + 1):
            if self.checkpoint is not None and depth - 1 > done:
                self.checkpoint(depth - 1, partial(self._taken, state))
            wanted = {}
            if depth in self.depths:
                locs = unit_locs(unit)
                ranked = self.reff_locs.intersection(locs) or {locs[-1]}
                wanted = {loc: loc in ranked for loc in locs}
                yield self._station(state, depth, "input", wanted)
            if isinstance(unit[0], Residual):
                yield from self._residual(state, unit[0], depth, wanted)
            else:
                yield from self._through(state, unit, depth, wanted)
                state.law = _boundary(state.law)

    def _residual(self, state: State, unit: Residual, depth: int, wanted: dict) -> Iterator[Station]:
        state.form(self.tile, self.dtype)
        skip = state.copy(self._memory)
        yield from self._through(state, unit.branch, depth, wanted)
        yield from self._through(skip, unit.shortcut, depth, {}, place="shortcut")
        state.signal.log_scale += 2.0 * log(unit.scale)
        state.noise.log_scale += 2.0 * log(unit.scale)
        merge(state.signal, state.noise, skip.signal, skip.noise)
        self._memory = skip.signal.blocks  # for the next unit: fresh memory costs more than the copy
        state.law = GAUSSIAN if state.law == skip.law == GAUSSIAN else MIXED
        state.overlap = skip.overlap  # the branch has fresh weights and lost its own at a ReLU
        # Of a sum that is not Gaussian the diagonal gives no more than second moments.
        state.known = {} if state.law == GAUSSIAN else {"log_nu1_abs_signal": None, "log_mu4_signal": None}
        if "merge" in wanted:
            yield self._station(state, depth, "merge", wanted)

    def _through(
        self, state: State, layers: tuple, depth: int, wanted: dict, place: str = "branch"
    ) -> Iterator[Station]:
        """Carry the state through a stack, yielding each wanted station at its first occurrence.

        A ReLU is done in the visit of the layer before it, unless a rank is wanted between the two.
        """
        todo = list(enumerate(layers))
        while todo:
            index, layer = todo.pop(0)
            before, state.law = state.law, _law_behind((layer,), state.law)
            if isinstance(layer, ReLU):
                if before != RECTIFIED:
                    state.known = rectify(state.signal, state.noise)
                state.overlap = None
                if "act" in wanted:
                    yield self._station(state, depth, "act", wanted)
                continue
            loc = "conv" if isinstance(layer, Conv) else "norm"
            ahead = bool(todo) and isinstance(todo[0][1], ReLU)
            if isinstance(layer, Conv):
                activate = ahead and not (wanted.get("conv") or state.signal is None)
                between = self._convolve(state, layer, activate, loc in wanted)
            else:
                activate = ahead
                between = self._normalise(state, layer, activate, (place, index), wanted)
            if loc in wanted:
                if activate or loc == "norm":
                    wanted.pop(loc)
                    yield self._record(depth, loc, between.moments())
                else:
                    yield self._station(state, depth, loc, wanted)
            if activate:
                todo.pop(0)
                state.law, state.overlap = RECTIFIED, None
                if "act" in wanted:
                    yield self._station(state, depth, "act", wanted)

    def _convolve(self, state: State, conv: Conv, activate: bool, detail: bool) -> Marginals:
        if state.overlap is not None:
            state.overlap = state.overlap.convolved(conv)
        if state.signal is None:
            state.signal = first_convolution(
                state.images, state.noise, conv, self.convolution, self.tile, self.dtype
            )
            state.images, state.known = None, {}
            return state.marginals()
        between, state.known = convolve(
            state.signal, state.noise, conv, activate=activate, method=self.convolution, detail=detail
        )
        return between

    def _samples(self) -> float:
        """Of how many samples the covariance before a batch norm is one: the channels, infinitely many."""
        return math.inf

    def _normalise(self, state, layer, activate, place, wanted) -> Marginals:
        noise_rank = self._noise_rank(state, "norm") if wanted.get("norm") else None
        done = batch_norm.normalise(
            state.signal, state.noise, layer.epsilon, activate=activate,
            start=self._vectors.get(place), rank=self.rank, detail=bool(wanted), overlap=state.overlap,
            samples=self._samples(),
        )  # fmt: skip
        state.known, state.overlap, self._done = done.known, None, done
        self._vectors[place] = done.vectors
        self._error = max(self._error, done.error)
        if noise_rank is not None:
            done.station.known |= {"reff_signal": done.rank, "reff_noise": noise_rank}
        return done.station

    def _station(self, state: State, depth: int, loc: str, wanted: dict) -> Station:
        """Take a station where the signal stands."""
        moments = state.marginals().moments()
        if wanted.pop(loc):
            state.form(self.tile, self.dtype)
            signal = state.signal
            value = self._leading(signal.centred_product, signal.points, ("signal", loc))
            moments["reff_signal"] = float(np.divide(signal.centred_diagonal.sum(), value))
            moments["reff_noise"] = self._noise_rank(state, loc)
        return self._record(depth, loc, moments)

    def _noise_rank(self, state: State, loc: str) -> float:
        noise = state.noise
        value = self._leading(noise.centred_product, noise.points, ("noise", loc))
        return float(np.divide(noise.centred_trace(), value))

    def _leading(self, product, points: int, place: tuple) -> float:
        value, self._vectors[place] = leading_eigenvalue(product, points, self._vectors.get(place))
        return value

    def _record(self, depth: int, loc: str, moments: dict) -> Station:
        moments["log_chi"] = log_chi(moments["log_mu2_noise"], moments["log_mu2_signal"], self.at_input)
        return Station(depth, loc, moments, error=self._error)


def image_marginals(images: np.ndarray, noise: NoiseCovariance) -> Marginals:
    """The station of the images themselves, without forming their covariance."""
    flat = images.reshape(-1, images.shape[-1])
    channels = flat.shape[1]
    diagonal = np.einsum("pc,pc->p", flat, flat) / channels
    row_sums = flat @ flat.sum(0) / channels
    return Marginals(0.0, diagonal, row_sums, log(noise.mean_variance()), image_moments(images))


def image_moments(images: np.ndarray) -> dict[str, float]:
    """The moments of the images that their covariance does not give."""
    centred = images - images.mean((0, 1, 2))
    return {
        "log_nu1_abs_signal": log_mean(np.abs(images)),
        "log_mu4_signal": log_mean(centred**4),
    }
