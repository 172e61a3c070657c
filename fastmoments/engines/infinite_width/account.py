"""What the layers of a net take on a walk at infinite width: the walk itself, without its arrays.

A stack is gone through as `walk` does it, with the laws that decide where channels are drawn.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from ...covariances.eigenpairs import DENSE_EIGENVALUES
from ...covariances.storage import tile_size
from ...maps import laws
from ...maps.batch_norm import DENSE_POINTS
from ...maps.laws import DRAWN, MIXED, NORMALISED, SUMMED
from ...nets.activations import Nonlinearity, PiecewiseLinear
from ...nets.concat import Concat
from ...nets.dense import Dense
from ...nets.fixed import Fixed
from ...nets.layers import Layer
from ...nets.linear import Conv
from ...nets.network import Place, Residual, unrolled
from ...nets.norms import BatchNorm
from ...nets.windows import Windowed
from ..protocol import Wanted
from . import rates
from .population import BATCHES, DOUBLE_POINTS, KEPT


@dataclass
class Where:
    """Where the signal stands.

    Attributes
    ----------
    grid : (height, width)
    law : str
    images : bool
        Whether the images themselves stand there, whose covariance is not formed.
    kept : int
        Values of drawn channels that are kept.
    again : float or None
        Seconds of every use of drawn channels before it begins: 0 if they are kept, None if there are none.
    followed : bool
        Whether the law of a channel is followed.
    parts : tuple of Where
        Of a mixture.
    passed : tuple of Layer
        Which those went through.
    sums : dict of layers to int
        Parts that are in the sums behind layers.
    """

    grid: tuple[int, int]
    law: str
    images: bool = False
    kept: int = 0
    again: float | None = None
    followed: bool = False
    parts: tuple[Where, ...] = ()
    passed: tuple[Layer, ...] = ()
    sums: dict[tuple[Layer, ...], int] = field(default_factory=dict)


#: Layers with their paths.
Stack = list[tuple[str, Layer]]


@dataclass
class Account:
    """Walks through a net, adding up what its layers take."""

    images: int
    channels: int
    itemsize: int
    wanted: Wanted
    draws: int  # channels of a population
    at: Where
    held: int = 0  # stored bytes of a shortcut, and of the parts of a mixture
    parts: int = 0  # the latter
    peak: int = 0
    noise: int = 0  # values of the noise's blocks once the images' masks tell them apart
    joint: int = 0  # points whose noise moves the statistics of a batch norm, the most at one
    copies: float = 0.0  # bytes times copies
    products: float = 0.0  # cubes of points whose noise moves statistics, over layers
    shared: float = 0.0  # seconds of the activations behind merges, which threads share
    seconds: float = 0.0  # of all else
    laws: int = 0  # points whose law is followed, the most at one merge
    alive: int = 0  # values of drawn channels that are kept now
    population: int = 0  # the most of them
    batch: int = 0  # values of the largest batch
    factored: int = 0  # points of the largest covariance that channels are drawn from
    factoring: int = 0  # bytes of it, of its factor, and of channels that are kept meanwhile, the most
    of_parts: bool = False  # whether a part of a mixture is walked with, at which no rank is taken

    def points(self, at: Where) -> int:
        """Positions of all images."""
        return self.images * at.grid[0] * at.grid[1]

    def blocks(self, at: Where) -> int:
        """Values of the noise's blocks."""
        return self.images * (at.grid[0] * at.grid[1]) ** 2

    def entries(self, at: Where) -> int:
        """Values of the signal's covariance."""
        size, images = at.grid[0] * at.grid[1], self.images
        if size == 1:
            size = tile_size(images)
            images //= size
        return images * (images + 1) // 2 * size**2

    def bytes(self, at: Where) -> int:
        """Of the signal's covariance."""
        return self.entries(at) * self.itemsize

    @property
    def stored(self) -> int:
        """Bytes of the signal's covariance where it stands."""
        return self.bytes(self.at)

    def through(
        self, at: Where, stack: Stack, to_end: bool = False, starts: frozenset[str] | None = None
    ) -> None:
        """Take what a stack takes; see `InfiniteWidthWalk.through`."""
        if starts is None:
            starts = laws.course(stack, at.law, to_end)[1]
        index = 0
        while index < len(stack):
            path, layer = stack[index]
            if path in starts:
                self.draw(at, layer)
            if at.again is not None and (layer.channelwise or at.images):
                self.pass_drawn(at, path, layer)
                index += 1
                continue
            run = laws.channelwise(each for _, each in stack[index:]) if at.parts else 0
            if run:
                self.pass_mixture(at, stack[index : index + run])
                index += run
                continue
            if isinstance(layer, Residual):
                self.unit(at, path, layer)
            elif isinstance(layer, Concat):
                self.concat(at, path, layer)
            else:
                self.settle(at)
                self.layer(at, layer)
            self.station(at, path)
            index += 1

    def layer(self, at: Where, layer: Layer) -> None:
        """Take what a layer without others inside takes."""
        first = at.images and (layer.weighted or isinstance(layer, Fixed))
        if not first:
            self.form(at)
        before = 0 if first else self.bytes(at)
        fresh = before if layer.output_grid(at.grid) != at.grid else 0
        if at.followed and at.law == SUMMED and isinstance(layer, PiecewiseLinear):
            points = self.points(at)
            self.shared += points * (rates.SECONDS_PER_POINT + 0.5 * points * rates.SECONDS_PER_PAIR)
            self.seconds += rates.TABLES
            self.laws = max(self.laws, points)
        if isinstance(layer, BatchNorm | PiecewiseLinear):
            at.followed = True
        elif layer.weighted:
            at.followed = False
        at.grid = layer.output_grid(at.grid)
        # The ReLU of a ReLU and the like are known by name only where the law is.
        at.law = laws.law_after(layer, at.law)
        if at.images and not layer.weighted:
            return
        at.images = False
        self.peak = max(self.peak, self.bytes(at) + fresh + self.held)
        if isinstance(layer, Nonlinearity):
            self.noise = max(self.noise, self.blocks(at))
        self.copies += rates.copies(layer) * max(before, self.bytes(at))
        self.seconds += rates.LAYER_SECONDS
        if isinstance(layer, BatchNorm) and layer.statistics == "batch":
            points = self.points(at)
            self.seconds += rates.NORM_SECONDS + rates.NORM_EIGENPAIRS * min(points, DENSE_POINTS) ** 3 * (
                points <= DENSE_POINTS
            )
            if layer.noise == "through":
                self.joint = max(self.joint, points)
                self.products += float(points) ** 3

    def form(self, at: Where) -> None:
        """Form the images' covariance, if none has been."""
        if at.images:
            at.images = False
            self.peak = max(self.peak, self.bytes(at) + self.held)
            self.copies += rates.COPY * self.bytes(at)

    def unit(self, at: Where, path: str, unit: Residual) -> None:
        """Take what a residual unit takes: a shortcut is held while its branch is computed."""
        self.form(at)
        skip, held = self.copied(at), self.held
        law = laws.law_after_stack(unit.shortcut, at.law)
        self.held += 0 if at.parts or at.again is not None else self.bytes(at)
        self.through(at, list(unrolled(unit.branch, path, "branch")), law == DRAWN)
        self.held = held + (0 if at.again is not None else self.bytes(at))
        self.through(skip, list(unrolled(unit.shortcut, path, "shortcut")))
        self.held = held
        for side in (at, skip):
            if side.parts:
                self.settle(side)
        if at.again is not None or skip.again is not None:
            for side in (at, skip):
                if side.again is None:
                    self.draw(side)
            self.summed(at, skip)
            return
        self.copies += rates.MERGE * self.bytes(at)
        self.seconds += rates.LAYER_SECONDS
        at.law = laws.merged(skip.law, at.law) if unit.scale else skip.law
        at.followed = skip.followed and (not unit.scale or (at.law == SUMMED and skip.law != NORMALISED))

    def copied(self, at: Where) -> Where:
        """A copy of where the signal stands, in memory of its own."""
        if at.again is not None:
            self.seconds += rates.COPIED * at.kept
            self.keep(at.kept)
        elif not at.parts:
            self.copies += rates.COPY * self.bytes(at)
        return replace(at)

    def concat(self, at: Where, path: str, layer: Concat) -> None:
        """Take what a Concat takes: every branch that holds layers leaves a part, the first also its sums."""
        self.form(at)
        outer, found = self.parts, list[Where]()
        for name, branch in zip(layer.stacks, layer.branches, strict=True):
            if not branch:
                found += at.parts or [replace(at)]
                continue
            own, self.parts = self.copied(at), 0
            self.through(own, list(unrolled(branch, path, name)), laws.drawn_to_end(branch, at.law))
            self.held -= self.parts
            if own.again is None and not own.parts:
                part = self.bytes(own) + 8 * self.blocks(own)
                added = part if outer else 3 * part
                self.held += added
                outer += added
            found += own.parts or [own]
        self.parts = outer
        at.sums = at.sums if at.parts else {}
        at.law, at.parts = laws.mixture(each.law for each in found), tuple(found)
        at.grid, at.again, at.kept, at.passed, at.followed = found[-1].grid, None, 0, (), False
        self.peak = max(self.peak, self.bytes(at) + self.held)

    def pass_mixture(self, at: Where, stack: Stack) -> None:
        """Take the parts of a mixture through layers that treat every channel by itself."""
        at.passed = (*at.passed, *(layer for _, layer in stack))
        self.add(at)
        at.law = laws.mixture(laws.course(stack, law)[0] for law in laws.parts(at.law))
        for path, layer in stack:
            at.grid = layer.output_grid(at.grid)
            self.station(at, path)

    def add(self, at: Where) -> None:
        """Add parts that are new to the sums behind the layers passed."""
        done, outer = at.sums.get(at.passed, 0), self.of_parts
        done = 0 if done > len(at.parts) else done
        self.of_parts = True
        for part in at.parts[done:]:
            own = self.copied(part)
            self.through(own, [(str(index), layer) for index, layer in enumerate(at.passed)])
            self.settle(own)
            self.copies += 2.0 * rates.MERGE * self.bytes(own)
            self.seconds += rates.LAYER_SECONDS
        self.of_parts = outer
        at.sums[at.passed] = len(at.parts)

    def settle(self, at: Where) -> None:
        """Go on with second moments, if channels stand there that are drawn or of several laws."""
        if at.parts:
            self.add(at)
            self.copies += 2.0 * rates.COPY * self.bytes(at)
            if self.parts:  # or they stand on behind a branch
                self.alive -= sum(part.kept for part in at.parts)
            self.held, self.parts = self.held - self.parts, 0
            at.parts, at.passed, at.sums = (), (), {}
        elif at.again is not None:
            self.seconds += at.again + rates.MOMENTS * self.values(at)
            self.second_moments(at)
            if self.wanted.reff_locs and not self.of_parts:
                self.rank(at)
            self.alive -= at.kept
            at.kept, at.again = 0, None
        else:
            return
        at.law, at.followed = MIXED, False

    def values(self, at: Where) -> int:
        """Values of drawn channels, of signal and noise."""
        return 2 * self.draws * self.points(at)

    def keep(self, values: int) -> None:
        """Have values of drawn channels beside those that are there."""
        self.alive += values
        self.population = max(self.population, self.alive)

    def draw(self, at: Where, first: Layer | None = None) -> None:
        """Take what it takes to draw channels: with first weights, on images, or from covariances."""
        layer = first.convolution if isinstance(first, Dense) else first
        if at.images and isinstance(layer, Conv):
            at.grid = layer.output_grid(at.grid)
            taps = layer.kernel_size**2 * self.channels
            self.drawn(at, (rates.DEVIATE + rates.FIRST_TAP * taps) * self.values(at))
            return
        points = self.points(at)
        self.factored = max(self.factored, points)
        self.factoring = max(self.factoring, 12 * points**2 + 4 * self.alive)
        self.noise = max(self.noise, self.blocks(at))
        self.seconds += rates.FACTORED * (float(points) ** 3 + self.blocks(at) * points / self.images)
        products = self.draws * (0.5 * float(points) ** 2 + self.blocks(at))
        self.drawn(at, rates.DEVIATE * self.values(at) + rates.SINGLE_PRODUCT * products)

    def drawn(self, at: Where, seconds: float) -> None:
        """Channels stand there whose source takes so long."""
        values = self.values(at)
        self.batch = max(self.batch, values // BATCHES)
        at.law, at.followed = DRAWN, False
        if 4 * values <= KEPT:
            self.seconds += seconds
            at.kept, at.again = values, 0.0
            self.keep(values)
        else:
            at.kept, at.again = 0, seconds

    def pass_drawn(self, at: Where, path: str, layer: Layer) -> None:
        """Take drawn channels through a layer; first weights are in them already."""
        if not at.images:
            taps = layer.size**2 if isinstance(layer, Windowed) else getattr(layer, "kernel_size", 0) ** 2
            seconds, again, kept = (
                (rates.PASSED + rates.PASSED_TAP * taps) * self.values(at),
                at.again or 0.0,
                at.kept,
            )
            at.grid = layer.output_grid(at.grid)
            self.alive -= kept
            self.drawn(at, seconds + again)
            if not kept and at.kept:  # the source is no longer needed
                at.again = 0.0
        at.images = False
        self.station(at, path)

    def summed(self, at: Where, skip: Where) -> None:
        """Take the sum of drawn channels, beside both of which it stands for a moment."""
        again = (at.again or 0.0) + (skip.again or 0.0) + 4.0 * rates.COPIED * self.values(at)
        before = at.kept + skip.kept
        self.drawn(at, again)
        if at.kept:
            self.alive -= before

    def second_moments(self, at: Where) -> None:
        """Take what the second moments of drawn channels take, and the errors of ranks beside them."""
        precise, entries = self.points(at) <= DOUBLE_POINTS, self.entries(at)
        self.peak = max(self.peak, self.held + 8 * entries)
        self.noise = max(self.noise, self.blocks(at))
        products = self.draws * (self.entries(at) + self.blocks(at))
        self.seconds += (
            rates.PRODUCT if precise else rates.SINGLE_PRODUCT
        ) * products + rates.ADDED * self.entries(at)
        self.seconds += 2.0 * (at.again or 0.0) + (
            rates.CONVERTED * precise + rates.RANK_ERROR
        ) * self.values(at)

    def rank(self, at: Where) -> None:
        """Take what effective ranks of signal and noise take."""
        points = self.points(at)
        if points <= DENSE_EIGENVALUES:
            self.seconds += rates.RANK_EIGENVALUES * points**3 + rates.LAYER_SECONDS
        else:
            self.copies += rates.RANK * self.bytes(at)
            self.seconds += rates.RANK_SECONDS + rates.NOISE_RANK * self.blocks(at)

    def station(self, at: Where, path: str) -> None:
        """Take what the station behind a layer takes, if it is wanted."""
        place = None if self.of_parts else self.wanted.place(path)
        if place is not None:
            self.measure(at, place)
        elif self.of_parts and at.again is not None:
            self.seconds += at.again + rates.MOMENTS * self.values(at)

    def measure(self, at: Where, place: Place) -> None:
        """Take what a station takes."""
        ranked = self.wanted.ranked(place)
        if at.parts:
            self.add(at)
            self.copies += 2.0 * rates.COPY * self.bytes(at) * ranked
        elif at.again is not None:
            self.seconds += at.again + rates.MOMENTS * self.values(at)
            if ranked:
                self.second_moments(at)
        if ranked:
            self.form(at)
            self.rank(at)
