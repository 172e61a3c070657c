"""Stations of convolutional nets with batch norm in every layer, with and without skips, at finite width.

The means are those of the infinite-width engine on the whole batch, with two terms of order 1 / N in every
batch norm: the covariance before it is one of samples (pairs of points fluctuate, `quadrature`), and the part
of the noise that lies along the signal is normalised with it. Beside the engine walk the fluctuations, as in
`fully_connected`, but for what convolutions change:

* errors of pairs of points are thinned out by the average over taps (`tap_averaging`), so that a batch norm
  sees about an eighth of those of fully connected nets. The leading eigenvector is nearly constant within its
  image: its own fluctuation is not thinned out, that of its angle to others is in part;
* norms of single positions do not diffuse, as they are averaged over positions; those of whole images do:
  V, shape (images, images), of the logarithm of the mean of S_aa over an image;
* the noise of M points in N < M channels has its rank over channels (`channel_noise_rank`).

What batch norm does to fluctuations is taken from the dense theory (`response`) on a few positions of every
image, whose spectrum stands for that of all. Orders: means to O(1/N), deviations to leading order.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from ....covariances.storage import Covariance, block_index, pairs
from ....maps.batch_norm import Normalised
from ....nets.linear import Conv
from ....nets.network import Network
from ....nets.norms import BatchNorm
from ...infinite_width.corrections import Corrections
from ...infinite_width.state import State
from ...infinite_width.walk import InfiniteWidthWalk
from ...protocol import input_log_variances
from ..closures import CLOSURES, Closures
from ..shared.fluctuations import FluctuationRecursion, Values
from ..shared.lognormal import Laws, Step
from ..shared.matrices import centred, image_norms
from ..shared.noise_draw import draw_variance, inputs_seen
from ..shared.representatives import content_order
from ..shared.units import Task, convolutions, layers_of, residual_of
from .convolutional_stations import ChannelNoise, laws_of, ranks
from .norm_diffusion import feed_back
from .record import BatchNormRecord
from .tap_averaging import TapAveraging
from .unit_fluctuations import UnitFluctuations, shares_of

#: Stations whose laws are known.
LOCS = ("input", "conv", "norm", "act", "merge")
#: Of what the ranks need, what no average over positions thins out.
UNIFORM = ("mode", "kept")


class FiniteTerms(Corrections):
    """Terms of order 1 / width beside a walk at infinite width, and the fluctuations that go with them.

    Parameters
    ----------
    network : Network
        A stem of one Conv, or none; then units of (Conv, BatchNorm, ReLU), or residual ones of
        (BatchNorm, ReLU, Conv), repeated. Convolutions of the units have stride 1.
    images : shape (n, h, w, c)
    width : int
    """

    def __init__(
        self, network: Network, images: np.ndarray, width: int, closures: Closures = CLOSURES
    ) -> None:
        self.network, self.images, self.width, self.closures = network, images, width, closures
        self.at_input = input_log_variances(images)
        self.residual = bool(network.units) and residual_of(network.units[0]) is not None
        self.start()

    # ------------------------------------------------------------ beside the walk

    def start(self) -> None:
        """A walk begins."""
        #: The first batch norm of a unit that was passed last, what its noise was made of, its ranks.
        self.passed: BatchNormRecord | None = None
        self.channel_noise: ChannelNoise | None = None
        self.ranks: Laws = {}
        #: Variance of log mu2 of the noise on the images.
        self.draw = draw_variance(self.images.size)
        #: Where the signal stands.
        self.state: State | None = None
        self.leading_vectors: np.ndarray | None = None

    @property
    def standing(self) -> State:
        """`state`, when a station has been taken."""
        assert self.state is not None, "laws are asked for at a station"
        return self.state

    def before_convolution(self, state: State) -> None:
        """A stem that is followed by a Conv at once is sampled there."""
        if state.signal is not None and self.passed is None:
            self._sample_stem(state)

    def after_convolution(self, state: State, conv: Conv, first: bool) -> None:
        """A convolution averages fluctuations over its taps."""
        if first:
            self._begin(state, conv)
            return
        response = self.lattice.response(conv)
        self.taps = float(np.mean(response**2))
        self.fluctuations.thinned(response)
        for name, trail in self.trails.items():
            if name not in UNIFORM:
                trail.thinned(response)

    def before_batch_norm(self, state: State, layer: BatchNorm, key: str) -> float:
        """Of how many samples the covariance before a batch norm is one."""
        if self._first(key):
            self._settle(state)  # if no station was taken at the merge
        few, own = self.few(state.covariance), self._own_correlations(state.covariance)
        epsilon = layer.epsilon * math.exp(min(-state.covariance.log_scale, 700.0))
        self._coming = self.fluctuations.before(few, own, epsilon)
        pairs = self._coming.pairs
        return 1.0 / pairs if pairs > 0.0 else math.inf

    def after_batch_norm(self, state: State, done: Normalised, key: str) -> float:
        """Logarithm of the share of the noise's variance that is not normalised with the signal."""
        passed, own, noises = self._coming, *self._correlations(state)
        # I is that of all points: the few have a bulk of few dimensions, whose variance would fluctuate more.
        self.fluctuations.behind(passed, own, noises, done.inverse_square)
        found = self._channel_noise(state, passed, own, noises)
        if self.passed is None or self._first(key):
            self.passed, self.channel_noise = passed, found
        if not self.residual:
            self._settle(state)
        return self.closures.log_kept(passed.lost)

    def _first(self, key: str) -> bool:
        """Whether a batch norm is the first of its unit."""
        return not self.residual or int(key.rpartition(".")[2]) < 2

    def before_station(self, state: State, loc: str | None) -> None:
        """Between units the fluctuations of a branch are merged into those of the shortcut."""
        if self.residual and loc in ("input", "merge"):
            self._settle(state)

    def after_station(self, state: State, loc: str | None, moments: dict[str, float], ranked: bool) -> None:
        """Where the signal stands, and its ranks."""
        self.state = state
        if ranked and loc == "act":
            self.ranks = ranks(self, moments)

    # ------------------------------------------------------------ fluctuations

    def _begin(self, state: State, conv: Conv) -> None:
        """After the first linear layer, which sees the images: channels are independent given them."""
        signal, images = state.covariance, state.noise.images
        positions = signal.points // images
        convs = [conv for unit in self.network.units for conv in convolutions(layers_of(unit))]
        periodic = all(each.padding == "periodic" for each in convs)
        self.lattice = TapAveraging(state.noise.grid, periodic)
        each = max(2, min(positions, self.closures.points // images))
        # By what the images show, not by their places in the batch.
        self.chosen = np.empty((images, each), int)
        self.chosen[content_order(self.images)] = self.closures.positions(images, positions, each)
        # Borders of later layers, which make the pixels count a little less alike, are left out.
        self.draw = draw_variance(float(inputs_seen(self.images.shape, conv)))
        overlaps = self.lattice.shared_taps(conv) / self.images.shape[-1]
        self.inputs = 1.0 / overlaps[0, 0]
        #: What the weights of the last convolution add to N times the squared correlation of two noises.
        self.taps = 0.0
        self.fluctuations = UnitFluctuations(
            self.lattice, images, positions, self.width, round(self.inputs), self.draw, self.closures
        )
        self.trails = {name: FluctuationRecursion() for name in ("leading", "mode")}
        self.trails["noise"] = FluctuationRecursion(self.lattice.modes(overlaps))
        self.trails["stem"] = FluctuationRecursion(self.lattice.modes(overlaps))
        self.trails["kept"] = FluctuationRecursion(1.0)
        self._sizes = self._extent(state)

    def _sample_stem(self, state: State) -> None:
        """A linear layer after another: its population is the Gram matrix of N Gaussian channels."""
        own, noises = self._correlations(state)
        points = state.covariance.points
        first = 2.0 * (1.0 / points + (1.0 - 1.0 / points) / self.inputs) / self.width
        for name, source in self._sources(own, noises, 1.0, first * self.width).items():
            self.trails[name] = FluctuationRecursion(self.trails[name].variance + source)
        self.fluctuations.sample(self.few(state.covariance), own, noises, first)

    def _sources(self, own: np.ndarray, noises: np.ndarray, spread: float, sizes: float) -> dict[str, Values]:
        """What sampling of N channels adds to what the ranks need, from correlations by displacement."""
        modes, width = self.lattice.modes, self.width
        return {
            "leading": spread / width * modes(own),
            "mode": spread / width,
            "noise": (1.0 + sizes) / width * modes(noises**2),
        }

    def _correlations(self, state: State) -> tuple[np.ndarray, np.ndarray]:
        """Of signal and noise within an image, by displacement."""
        own = self._own_correlations(state.covariance)
        return own, self.lattice.correlations(state.noise.blocks.mean(0))

    def _own_correlations(self, signal: Covariance) -> np.ndarray:
        images = len(self.chosen)
        means = signal.means.reshape(images, -1).mean(0)
        own = signal.blocks[np.diag(block_index(images))].mean(0)
        return self.lattice.correlations(own - means[:, None] - means)

    def _channel_noise(
        self, state: State, passed: BatchNormRecord, own: np.ndarray, noises: np.ndarray
    ) -> ChannelNoise:
        """Carry what the ranks need through a batch norm and its ReLU; of what the noise is made."""
        through, trails = passed.through, self.trails
        masks = math.sqrt(4.0 * through.squared_masks)
        memories: dict[str, Values] = {
            "leading": passed.memory, "mode": through.group_memory,
            "noise": masks, "stem": masks, "kept": masks,
        }  # fmt: skip
        sizes = self.width * passed.channels.batch.variance
        sources = self._sources(own, noises, through.pair_kurtosis, sizes)
        for name, each in memories.items():
            trails[name].sampled(each, sources.get(name, 0.0))
        before_sampling = float(np.mean(trails["noise"].variance - sources["noise"]))
        stem = float(np.mean(trails["stem"].variance))
        last = min(masks**2 * self.taps / self.width, max(before_sampling - stem, 0.0))
        sizes_of_points = np.einsum("ipp->ip", state.noise.blocks)
        participation = float(np.mean(sizes_of_points**2) / np.mean(sizes_of_points) ** 2)
        parts = (
            last,
            max(before_sampling - last - stem, 0.0),
            participation / max(state.covariance.points - 1, 1),
        )
        return ChannelNoise(
            factors=[self.width * each for each in parts],
            first=(math.sqrt(float(trails["kept"].variance)), self.width * stem),
        )

    def _extent(self, state: State) -> tuple[float, float]:
        """Logarithms of the trace of the signal and of the noise's variance."""
        signal, noise = state.covariance, state.noise
        trace = max(float(signal.centred_diagonal.sum()), 1e-300)
        return math.log(trace) + signal.log_scale, math.log(noise.mean_variance()) + noise.log_scale

    def _settle(self, state: State) -> None:
        """A unit has ended: its branch is merged into what walks on."""
        if not self.fluctuations.layers:
            return
        shares = 1.0, 1.0
        if self.residual:
            before, self._sizes = self._sizes, self._extent(state)
            shares = shares_of(before, self._sizes)
        share, noise_share = shares
        for name in ("leading", "mode"):
            self.trails[name].merge(share)
        for name in ("noise", "stem", "kept"):
            self.trails[name].merge(noise_share)
        added = self.fluctuations.merge(shares)
        feed_back(state.covariance, len(self.chosen), added, self.closures)
        self.fluctuations.hold(image_norms(state.covariance.centred_diagonal, len(self.chosen)))

    def few(self, signal: Covariance, *, raw: bool = False) -> np.ndarray:
        """Covariance of the few points, shape (images each, images each), in the blocks' scale.

        Centred, but if `raw`.
        """
        images, each = self.chosen.shape
        positions = signal.points // images
        first, second = pairs(images)
        parts = signal.blocks[
            block_index(images)[first, second][:, None, None],
            self.chosen[first][:, :, None],
            self.chosen[second][:, None, :],
        ]
        by_image = np.empty((images, each, images, each))
        by_image[first, :, second] = parts
        by_image[second, :, first] = parts.transpose(0, 2, 1)
        places = (np.arange(images)[:, None] * positions + self.chosen).ravel()
        found = by_image.reshape(places.size, places.size)
        if raw:
            return found
        means = signal.means[places]
        return centred(found - means[:, None] - means)


def stations(task: Task) -> Iterator[Step]:
    """Yield (depth, loc, laws) of every station wanted, in walking order; of nets as `FiniteTerms` takes."""
    network, images, width, depths, _, closures = task
    terms = FiniteTerms(network, images, width, closures)
    for station in InfiniteWidthWalk(network, images, depths=depths, corrections=terms):
        if station.loc in LOCS:
            yield station.depth, station.loc, laws_of(terms, station)
