"""Simulation of random nets of finite width, station by station, and the moments of one net.

Nothing is approximated but by rounding, and nothing is refused: any stack of layers can be simulated.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator

import numpy as np
from scipy.linalg import eigh

from ...covariances.scales import log
from ...nets.fixed import Averaging
from ...nets.layers import Layer
from ...nets.network import Network, Place, unrolled
from ..averages import Averages
from ..protocol import Checkpoints, Station, Wanted, input_log_variances, log_chi
from . import concat, linear, max_pool, norms  # noqa: F401  # register their layers
from .layers import BLOCK, Draw, Flow, blocks, forward


class SampledRun:
    """The stations of random nets, net after net, in walking order, as an iterable.

    Parameters
    ----------
    network : Network
    images : ndarray, shape (n, h, w, c)
        Normalised; (n, 1, 1, features) for a fully connected net. The noise is N(0, I) of the same
        shape, drawn anew for each net.
    width, nets, seed, draw
        As of `Sampled`.
    depths : collection of int, optional
        Where stations are taken; everywhere if left out.
    reff_locs : collection of str
        Where effective ranks are taken. A unit that has none of these stations is measured at its last.

    Yields
    ------
    Station
        `moments` holds all of `protocol.ENGINE_MOMENTS` (effective ranks where asked) of one
        net. `error` is the resolution of float32 relative to the deviation of the signal from its
        mean, the largest so far: from 1e-2 the variance that chi and the effective rank rest on is
        mostly rounding.

    Raises
    ------
    ValueError
        At once, if the images are no batch or do not vary; during the walk, if the two sides of a residual
        unit differ in shape.
    ArithmeticError
        During the walk, if signal or noise of a net has died out, so that chi or a rank is undefined.

    Notes
    -----
    Batch norm divides the noise by the standard deviation of the signal; unless ``noise="through"`` is
    asked for, the noise neither flows through the statistics nor is centred. A channel that is constant
    over the points, up to float32 rounding, becomes 0 under ``epsilon=0``, signal and noise.
    Source of the setting: Labatie, ICML 2019, with the reference's conventions (see `protocol`).
    """

    def __init__(
        self, network: Network, images: np.ndarray, *, width: int, nets: int, seed: int = 0,
        draw: str = "auto", depths: Collection[int] | None = None, reff_locs: Collection[str] = ("act",),
    ):  # fmt: skip
        images = np.asarray(images, dtype=np.float64)
        if images.ndim != 4 or images.size == 0 or not np.isfinite(images).all():
            raise ValueError(f"images must be finite numbers of shape (n, h, w, c), not {images.shape}.")
        if math.prod(images.shape[:3]) < 2:
            raise ValueError("images must hold at least two points, or nothing varies: give two images.")
        self.network, self.images, self.at_input = network, images, input_log_variances(images)
        self.width, self.nets, self.seed, self.draw = width, nets, seed, draw
        self.wanted = Wanted(network, depths, reff_locs)
        self._first = 0

    def attach(self, journal: Checkpoints) -> list[Station]:
        """Nets that are complete need not be simulated again."""
        self._first = max((station.net for station in journal.stations), default=0)
        return journal.keep(lambda station: station.net < self._first)

    def __iter__(self) -> Iterator[Station]:
        """Yield the stations; every iteration draws the same nets."""
        for net in range(self._first, self.nets):
            # The child that SeedSequence(seed).spawn gives this net, without its predecessors.
            rng = np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=(net,)))
            flow, error, self._averages = Flow.start(self.images, rng), 0.0, Averages()
            for place, here in self._walk(flow, Draw(rng, self.width, self.draw)):
                with np.errstate(all="ignore"):
                    moments = moments_of(here, self.wanted.ranked(place), self.at_input)
                if any(math.isnan(value) for value in moments.values()):
                    raise ArithmeticError(
                        f"Net {net}: at depth {self.wanted.depth} ({place.loc or place.path}) signal or "
                        "noise has died out in float32 or is not finite, so moments are undefined; use a "
                        "larger width, or other layers."
                    )
                contrast = moments["log_nu2_signal"] - moments["log_mu2_signal"]
                error = max(error, float(np.exp(0.5 * contrast)) * 2.0**-24)
                _, _, height, width, channels = here.pair.shape
                yield self.wanted.station(
                    place, moments, net=net, error=error, grid=(height, width), channels=channels,
                    averaged=self._averages.so_far,
                )  # fmt: skip

    def _walk(self, flow: Flow, draw: Draw) -> Iterator[tuple[Place, Flow]]:
        """Move the flow through the net, stopping at every place wanted."""
        self.wanted.begin(0)
        if self.wanted.images is not None:
            yield self.wanted.images, flow
        for path, layer in unrolled(self.network.stem, "", "stem"):
            yield from self._through(path, layer, flow, draw)
        if self.wanted.entrance is not None:
            yield self.wanted.entrance, flow
        for depth in range(1, self.network.depth + 1):
            self.wanted.begin(depth)
            if self.wanted.entrance is not None:
                yield self.wanted.entrance, flow
            for path, layer in self.network.unit(depth):
                yield from self._through(path, layer, flow, draw)

    def _through(self, path: str, layer: Layer, flow: Flow, draw: Draw) -> Iterator[tuple[Place, Flow]]:
        """Move the flow through a layer, stopping inside and behind it."""

        def inside(stack: str, part: Flow) -> Iterator[tuple[Place, Flow]]:
            for where, each in unrolled(getattr(layer, stack), path, stack):
                yield from self._through(where, each, part, draw)

        _, _, height, width, _ = flow.pair.shape
        before = _log_noise(flow) if isinstance(layer, Averaging) else 0.0
        yield from forward(layer, flow, draw, inside) or ()
        left = _log_noise(flow) - before if isinstance(layer, Averaging) else 0.0
        self._averages.passed(path, layer, (height, width), left)
        place = self.wanted.place(path)
        if place is not None:
            yield place, flow


def _log_noise(flow: Flow) -> float:
    """Logarithm of the noise's mean square."""
    noise = flow.points()[1]
    total = sum(float(np.vdot(dx, dx)) for dx in blocks(noise))
    return log(total / noise.size) + 2.0 * float(flow.log_scale[1])


def moments_of(flow: Flow, ranked: bool, at_input: tuple[float, float]) -> dict[str, float]:
    """All of `protocol.ENGINE_MOMENTS` of one net; NaN where signal or noise has died out.

    Parameters
    ----------
    flow : Flow
    ranked : bool
        Whether effective ranks are among them.
    at_input : (float, float)
        What `protocol.input_log_variances` gives.
    """
    signal, noise = flow.points()
    mean = signal.mean(axis=0, dtype=np.float64)
    sums = np.zeros(5)
    for x, dx in zip(blocks(signal), blocks(noise), strict=True):
        square = (x - mean) ** 2
        sums += np.abs(x).sum(), np.vdot(x, x), square.sum(), np.vdot(square, square), np.vdot(dx, dx)
    names = ("nu1_abs_signal", "nu2_signal", "mu2_signal", "mu4_signal", "mu2_noise")
    scales = np.array([[1, 2, 2, 4, 0], [0, 0, 0, 0, 2]]).T @ flow.log_scale
    logs = (np.log(sums / signal.size) + scales).tolist()
    moments = {f"log_{name}": value for name, value in zip(names, logs, strict=True)}
    moments["log_chi"] = log_chi(moments["log_mu2_noise"], moments["log_mu2_signal"], at_input)
    if ranked:
        moments |= {"reff_signal": effective_rank(signal), "reff_noise": effective_rank(noise)}
    return moments


def effective_rank(values: np.ndarray) -> float:
    """Trace over largest eigenvalue of the covariance of channels; NaN if there is no variance.

    Parameters
    ----------
    values : ndarray, shape (points, channels)
        Centred here, over the points. The Gram matrix of the points has the same spectrum but for
        zeros and stands in when it is smaller.
    """
    points, channels = values.shape
    mean = values.mean(axis=0, dtype=np.float64)
    if points <= channels:
        centred = values - mean
        spread = centred @ centred.T
    else:
        spread = np.zeros((channels, channels))
        for first in range(0, points, BLOCK // 8):
            centred = values[first : first + BLOCK // 8] - mean.astype(values.dtype)
            spread += centred.T @ centred
    trace = float(np.trace(spread))
    if not 0 < trace < math.inf:
        return math.nan
    last = len(spread) - 1
    return trace / float(eigh(spread, eigvals_only=True, subset_by_index=[last, last])[0])
