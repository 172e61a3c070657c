"""What a scan takes before it is begun: its memory, which is certain, and its time, which is a guess."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable
from dataclasses import dataclass
from functools import singledispatch

import numpy as np

from ...covariances.storage import tile_size
from ...maps.laws import check
from ...nets.activations import Nonlinearity, PiecewiseLinear
from ...nets.concat import Concat, concatenated_channels
from ...nets.fixed import Fixed
from ...nets.layers import Layer
from ...nets.linear import Conv
from ...nets.network import Network, Residual, output_grid, unrolled
from ...nets.norms import BatchNorm
from ..protocol import PROCESS, Plan, Shape
from .population import BATCHES, KEPT

# One thread, in copies of the stored covariance (`python -m bench.layer`): a convolution and each of its taps
# along a side, the others; an effective rank. Two threads do 1.8 times as much.
CONVOLUTION, TAP, RECTIFY, EXPAND, NORMALISE, COPY, MERGE, RANK = 1.3, 0.35, 1.3, 30.0, 16.0, 1.0, 1.5, 2.5
SPEED_UP = 0.85  # exponent of the number of threads
LAYER_SECONDS = 1e-3  # what a layer takes however small it is
# Noise that moves statistics: matrices of all points that stand at once, and time of a layer by points cubed.
MOVING, SECONDS_PER_PRODUCT = 14, 5e-9
# Of drawn channels: copies of a batch that stand at once, and time of a value at a layer (`bench.zoo`).
FLOWS, SECONDS_PER_VALUE = 3.5, 2.8e-8
# Values of a covariance of all points that channels are drawn from: itself, with its jitter, and its factor.
FACTOR = 3.5
# Values of a point beside the covariance: of a Lanczos recursion, of the eigenvectors in a batch norm.
LANCZOS, EIGENVECTORS = 96, 8 * 72
# And of the laws of channels behind a merge, before and after a layer, at the share of a branch some 50 units
# deep; time of a merge with its activation: its tables, a point, a pair of points.
CHANNELS = 4 * 300
TABLES, SECONDS_PER_POINT, SECONDS_PER_PAIR = 0.03, 3e-5, 5e-8


@dataclass
class Account:
    """Walks through a net, adding up what its layers take."""

    images: int
    grid: tuple[int, int]
    itemsize: int
    held: int = 0  # stored bytes of a shortcut, and of the parts of a mixture
    parts: int = 0  # the latter
    peak: int = 0
    noise: int = 0  # values of the noise's blocks once the images' masks tell them apart
    joint: int = 0  # points whose noise moves the statistics of a batch norm, the most at one
    products: float = 0.0  # their cubes, over layers
    copies: float = 0.0  # bytes times copies
    behind_merges: float = 0.0  # seconds of the activations there, with one thread
    laws: int = 0  # points whose law is followed, the most at one merge
    layers: int = 0
    starts: frozenset[str] = frozenset()
    draws: int = 0  # channels of a population
    drawing: bool = False
    population: int = 0  # values of all channels of the largest population that is kept, and of the largest
    batch: int = 0  # batch
    drawn: float = 0.0  # values of channels, over layers
    factored: int = 0  # points of the largest covariance that channels are drawn from

    @property
    def stored(self) -> int:
        """Bytes of the signal's covariance."""
        size, images = self.grid[0] * self.grid[1], self.images
        if size == 1:
            size = tile_size(images)
            images //= size
        return images * (images + 1) // 2 * size**2 * self.itemsize

    def draw(self, populations: int = 1) -> None:
        """Take what drawn channels take at a layer, and so many populations that stand at once."""
        values = 2 * self.draws * self.images * self.grid[0] * self.grid[1]
        self.drawn += populations * values
        self.batch = max(self.batch, values // BATCHES)
        if 4 * values <= KEPT:
            self.population = max(self.population, populations * values)

    def pass_through(self, pairs: Iterable[tuple[str, Layer]]) -> None:
        """Take what layers take, which come with their paths."""
        merged = False
        for path, layer in pairs:
            merged, behind = isinstance(layer, Residual), merged
            if path in self.starts and not self.drawing:
                self.drawing = True
                self.factored = max(self.factored, self.images * self.grid[0] * self.grid[1])
                self.draw()
            if self.drawing and layer.channelwise:
                self.grid = layer.output_grid(self.grid)
                self.draw()
                continue
            # A layer with weights at which drawing starts is the first of all, on the images.
            self.drawing = self.drawing and (bool(layer.stacks) or path in self.starts)
            if isinstance(layer, Residual):
                self.unit(layer)
                continue
            if isinstance(layer, Concat):
                self.concat(layer)
                continue
            if not layer.channelwise:
                self.held, self.parts = self.held - self.parts, 0
            if behind and isinstance(layer, Nonlinearity):
                points = self.images * self.grid[0] * self.grid[1]
                self.behind_merges += points * (SECONDS_PER_POINT + 0.5 * points * SECONDS_PER_PAIR)
                self.behind_merges += TABLES
                self.laws = max(self.laws, points)
            before, grid = self.stored, self.grid
            self.grid = layer.output_grid(grid)
            fresh = before if self.grid != grid else 0
            self.peak = max(self.peak, self.stored + fresh + self.held)
            if isinstance(layer, Nonlinearity):
                self.noise = max(self.noise, self.images * (self.grid[0] * self.grid[1]) ** 2)
            if isinstance(layer, BatchNorm) and layer.noise == "through":
                points = self.images * self.grid[0] * self.grid[1]
                self.joint = max(self.joint, points)
                self.products += float(points) ** 3
            self.copies += copies(layer) * max(before, self.stored)
            self.layers += 1

    def unit(self, unit: Residual) -> None:
        """Take what a residual unit takes: a shortcut is held while its branch is computed."""
        grid, stored, drawing = self.grid, self.stored, self.drawing
        self.copies += COPY * stored
        self.held += stored
        self.pass_through(unrolled(unit.shortcut, "", ""))
        one, self.drawing = self.drawing, drawing
        self.grid = grid
        self.pass_through(unrolled(unit.branch, "", ""))
        if one or self.drawing:  # shortcut, branch and sum
            if not (one and self.drawing):
                self.factored = max(self.factored, self.images * self.grid[0] * self.grid[1])
            self.drawing = True
            self.draw(3)
        self.copies += MERGE * self.stored
        self.held -= stored

    def concat(self, layer: Concat) -> None:
        """Take what a Concat takes: every branch that holds layers leaves a part, the first also its sums."""
        grid, parts = self.grid, self.parts
        for branch in filter(None, layer.branches):
            self.grid, self.parts = grid, 0
            self.copies += COPY * self.stored
            self.pass_through(unrolled(branch, "", ""))
            self.held -= self.parts
            part = self.stored + 8 * self.images * (self.grid[0] * self.grid[1]) ** 2
            added = part if parts else 3 * part
            self.held += added
            parts += added
            self.copies += 2.0 * MERGE * self.stored
        self.parts = parts
        self.peak = max(self.peak, self.stored + self.held)


@singledispatch
def copies(layer: Layer) -> float:
    """What a layer takes, in copies of the stored covariance."""
    return 1.0


@copies.register
def _(layer: Conv) -> float:
    return 1.0 if layer.pointwise else CONVOLUTION + TAP * layer.kernel_size


@copies.register
def _(layer: Nonlinearity) -> float:
    return EXPAND


@copies.register
def _(layer: PiecewiseLinear) -> float:
    return RECTIFY


@copies.register
def _(layer: BatchNorm) -> float:
    return NORMALISE if layer.statistics == "batch" else 2.0


def account(network: Network, shape: Shape, dtype: str, draws: int = 0) -> Account:
    """What the layers of a net take, on images of a shape as the engine takes them."""
    images, height, width, _ = shape
    concatenated_channels(network, shape)  # or it is refused
    found = Account(images, (height, width), np.dtype(dtype).itemsize, starts=check(network), draws=draws)
    pairs = [*unrolled(network.stem, "", "stem"), *unrolled(network.layers, "", "layers")]
    # The images' own covariance is never formed before layers without weights, nor before those of the stem.
    while pairs and isinstance(pairs[0][1], Fixed):
        found.grid = pairs.pop(0)[1].output_grid(found.grid)
    if pairs and pairs[0][1].weighted and pairs[0][0].startswith("stem"):
        path, first = pairs.pop(0)
        found.grid = first.output_grid(found.grid)
        found.drawing = path in found.starts
        if found.drawing:
            found.draw()
    found.peak = 0 if found.drawing else found.stored
    found.pass_through(pairs)
    return found


def memory(network: Network, shape: Shape, dtype: str, draws: int = 0) -> int:
    """Peak of memory of a walk at infinite width, in bytes; right to about a tenth."""
    images, height, width, channels = shape
    found = account(network, shape, dtype, draws)
    points = images * math.prod(output_grid(network.stem, (height, width)))
    beside: float = 3 * found.noise + LANCZOS * points + 4 * images * height * width * channels
    beside += MOVING * found.joint**2
    if network.has(BatchNorm):
        beside += EIGENVECTORS * points
    beside += CHANNELS * found.laws + FACTOR * found.factored**2
    drawn = 4 * found.population + 4 * FLOWS * found.batch
    return int(found.peak + 8 * beside + drawn + PROCESS)


def seconds(network: Network, shape: Shape, plan: Plan, dtype: str, threads: int, draws: int = 0) -> float:
    """Time of a walk at infinite width, compilation apart; right to about a factor of two."""
    found = account(network, shape, dtype, draws)
    ranks = RANK * len(plan.reff_locs) * len(plan.depths) * found.stored
    beside = found.layers * LAYER_SECONDS + found.products * SECONDS_PER_PRODUCT
    beside += found.behind_merges / threads**SPEED_UP + found.drawn * SECONDS_PER_VALUE
    return (found.copies + ranks) * _seconds_per_byte() / threads**SPEED_UP + beside


def _seconds_per_byte() -> float:
    """How long this machine takes to copy a byte, out of its caches."""
    source = np.ones(2**23)
    target = np.empty_like(source)
    best = np.inf
    for _ in range(3):
        start = time.thread_time()  # not that of other programs
        np.copyto(target, source)
        best = min(best, time.thread_time() - start)
    return best / source.nbytes
