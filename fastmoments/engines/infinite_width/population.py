"""A population: drawn channels of signal and noise, where there is no formula for what a layer does to them.

At infinite width the channels behind a Conv are independent Gaussians, so some thousands of them can be drawn
and carried through any layer that treats every channel by itself, just as a simulation does. They come in
batches, which are independent and so tell the standard error of whatever is averaged over them. Half of a
batch has the signal of the other half with its sign changed (antithetic pairs), and noise of its own.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
from scipy.linalg.lapack import dpotrf

from ...covariances.scales import log
from ...covariances.storage import Covariance, NoiseCovariance, pairs, tile_size
from ...maps.convolution import patches
from ...maps.taps import seen_by_taps
from ...nets.layers import Layer
from ...nets.linear import Conv
from ..protocol import log_chi
from ..sampled import max_pool  # noqa: F401  # so that every kind of layer is registered
from ..sampled.layers import Draw, Flow, forward

#: Batches, and channels of one at least: an antithetic pair.
BATCHES, LEAST_BATCH = 32, 2
#: Bytes of signal and noise of all channels that are kept; larger populations are drawn again for every use.
KEPT = 1.2e9
#: Points of a covariance that channels are drawn from: its factor takes their square, and their cube in time.
MOST_POINTS = 16_384
#: Share of the mean variance that is added to every point so that a singular covariance has a factor.
JITTER = 1e-10
#: Points up to which products of channels are summed in double precision.
DOUBLE_POINTS = 2_048
#: Channels that see the same noise on the images, which costs as much as a Conv to draw.
SHARED_NOISE = 16


@dataclass(frozen=True)
class Draws:
    """How many channels are drawn, and from which streams.

    Attributes
    ----------
    number : int
        Of channels; rounded up to whole antithetic pairs in `BATCHES` batches.
    seed : int
    """

    number: int = 16_384
    seed: int = 0

    @property
    def batch(self) -> int:
        """Channels of a batch, an even number."""
        return LEAST_BATCH * max(1, -(-self.number // (LEAST_BATCH * BATCHES)))

    def rng(self, path: str, batch: int) -> np.random.Generator:
        """The stream of a batch at the layer of a path: the same however often it is drawn."""
        key = (zlib.crc32(path.encode()), batch)
        return np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=key))


#: Of a number from 0, the channels of that batch.
Source = Callable[[int], Flow]


def _kept(number: int) -> Flow:
    """The source of batches that are kept, which is no longer asked."""
    raise AssertionError("batches that are kept are not drawn again")


@dataclass
class Population:
    """Drawn channels: where they come from, and the layers they went through.

    Attributes
    ----------
    draws : Draws
    source : callable
        Gives the channels of a batch, in memory of their own.
    grid : (images, height, width)
    joint : bool
        Whether the noise of different images has something in common.
    layers : list of (path, Layer)
        Passed since.
    held : list of Flow, or None
        The batches as they stand, if they are small enough to be kept.
    """

    draws: Draws
    source: Source
    grid: tuple[int, int, int]
    joint: bool = False
    layers: list[tuple[str, Layer]] = field(default_factory=list)
    held: list[Flow] | None = None

    @property
    def points(self) -> int:
        """Positions of all images."""
        return math.prod(self.grid)

    def batch(self, number: int) -> Flow:
        """The channels of a batch; those that are kept are not to be changed."""
        if self.held is not None:
            return self.held[number]
        flow = self.source(number)
        for path, layer in self.layers:
            self._forward(path, layer, number, flow)
        return flow

    def __iter__(self) -> Iterator[Flow]:
        """Yield the batches."""
        return map(self.batch, range(BATCHES))

    def _forward(self, path: str, layer: Layer, number: int, flow: Flow) -> None:
        draw = Draw(self.draws.rng(path, number), flow.pair.shape[-1], "weights")
        assert forward(layer, flow, draw, _nothing_inside) is None, "a channel-wise layer holds no others"

    def through(self, path: str, layer: Layer) -> None:
        """Take all channels through a channel-wise layer."""
        self.grid = self.grid[0], *layer.output_grid(self.grid[1:])
        self.joint = self.joint or layer.joins
        if self.held is not None:
            for number, flow in enumerate(self.held):
                self._forward(path, layer, number, flow)
            return
        self.layers.append((path, layer))
        self.keep()

    def keep(self) -> None:
        """Keep the batches, if they are small enough, and let go of what they came from."""
        if self.held is None and 8.0 * self.points * self.draws.batch * BATCHES <= KEPT:
            self.held = list(self)
            self.layers, self.source = [], _kept

    def copy(self) -> Population:
        """A population that layers may work on."""
        held = None if self.held is None else [flow.copy() for flow in self.held]
        return Population(self.draws, self.source, self.grid, self.joint, list(self.layers), held)

    def covariances(self) -> tuple[Covariance, NoiseCovariance, float]:
        """Second moments of signal and noise over the channels.

        Returns
        -------
        signal : Covariance
        noise : NoiseCovariance
        error : float
            Standard error of the signal's, relative, in Frobenius' norm.
        """
        images, height, width = self.grid
        grid = self.grid
        if height * width == 1:
            size = tile_size(images)
            grid = images // size, size, 1
        first, second = pairs(grid[0])
        size = grid[1] * grid[2]
        dtype = np.float64 if self.points <= DOUBLE_POINTS else np.float32
        blocks = np.zeros((first.size, size, size))
        parts, positions = (1, self.points) if self.joint else (images, height * width)
        noise_blocks = np.zeros((parts, positions, positions))
        diagonal, row_sums = np.zeros((2, self.points))
        reference: np.ndarray | None = None
        squares = 0.0
        for flow in self:
            x, dx = (part.astype(dtype, copy=False) for part in flow.points())
            if reference is None:
                reference = flow.log_scale.copy()
            share, noise_share = np.exp(2.0 * (flow.log_scale - reference)) / (BATCHES * x.shape[1])
            rows = x.reshape(grid[0], size, -1)
            for p, (i, j) in enumerate(zip(first, second, strict=True)):
                product = rows[i] @ rows[j].T
                product *= share
                squares += (1.0 + (i != j)) * float(np.vdot(product, product))
                blocks[p] += product
            for part, values in zip(noise_blocks, dx.reshape(parts, positions, -1), strict=True):
                part += noise_share * (values @ values.T)
            diagonal += share * np.einsum("pc,pc->p", x, x, dtype=np.float64)
            row_sums += share * (x @ x.sum(0, dtype=np.float64))
        assert reference is not None, "there are batches"
        norm = sum(
            (1.0 + (i != j)) * float(np.vdot(b, b)) for b, i, j in zip(blocks, first, second, strict=True)
        )
        spread = max(squares * BATCHES / norm - 1.0, 0.0) if norm else 0.0
        signal = Covariance(blocks, grid, 2.0 * reference[0], diagonal, row_sums)
        noise = NoiseCovariance(noise_blocks, parts, (height, width), 2.0 * reference[1])
        return signal, noise, math.sqrt(spread / (BATCHES - 1))

    def means(self, log_scale: float) -> np.ndarray:
        """Mean over the channels at every point, in units of the root of that scale."""
        found = np.zeros(self.points)
        for flow in self:
            values = flow.points()[0]
            found += math.exp(flow.log_scale[0] - 0.5 * log_scale) * values.mean(1, dtype=np.float64)
        return found / BATCHES

    def moments(self, at_input: tuple[float, float]) -> tuple[dict[str, float], dict[str, float]]:
        """Moments of a station but for ranks, and their standard errors; those of logarithms."""
        found, scales = [], []
        for flow in self:
            found.append(_moments(flow))
            scales.append(flow.log_scale)
        table, log_scales = np.array(found), np.array(scales)
        powers = np.array([[1.0, 2.0, 2.0, 4.0, 0.0], [0.0, 0.0, 0.0, 0.0, 2.0]])
        table *= np.exp((log_scales - log_scales[0]) @ powers)
        means = table.mean(axis=0)
        values = dict(zip(_NAMES, map(log, means), strict=True))
        for name, scale in zip(_NAMES, log_scales[0] @ powers, strict=True):
            values[name] += float(scale)
        values["log_chi"] = log_chi(values["log_mu2_noise"], values["log_mu2_signal"], at_input)
        relative = np.divide(table, means, out=np.ones_like(table), where=means > 0.0) - 1.0
        chi = 0.5 * (relative[:, 4] - relative[:, 2])
        errors = np.column_stack([relative, chi]).std(axis=0, ddof=1) / math.sqrt(BATCHES)
        return values, dict(zip((*_NAMES, "log_chi"), errors.tolist(), strict=True))

    def rank_errors(self, signal: np.ndarray, noise: np.ndarray) -> dict[str, float]:
        """Relative standard errors of the effective ranks, given the leading eigenvectors."""
        found, reference = [], None
        parts = 1 if self.joint else self.grid[0]
        for flow in self:
            of_parts = zip(flow.points(), (signal.reshape(1, -1), noise.reshape(parts, -1)), strict=True)
            reference = flow.log_scale if reference is None else reference
            scales = np.repeat(np.exp(2.0 * (flow.log_scale - reference)), 2)
            found.append(scales * np.concatenate([_trace_and_share(*each) for each in of_parts]))
        table = np.array(found)
        relative = table / table.mean(axis=0)
        errors = relative[:, ::2] - relative[:, 1::2]
        deviations = errors.std(axis=0, ddof=1) / math.sqrt(BATCHES)
        return dict(zip(("reff_signal", "reff_noise"), deviations.tolist(), strict=True))


def _trace_and_share(values: np.ndarray, vector: np.ndarray) -> np.ndarray:
    """Trace of the centred covariance of channels, and its part along a centred vector of norm 1.

    Parameters
    ----------
    values : ndarray, shape (points, channels)
    vector : ndarray, shape (parts, points / parts)
        Parts have nothing in common.
    """
    parts = values.reshape(*vector.shape, -1)
    sums = parts.sum(axis=1, dtype=np.float64)
    along = np.einsum("ip,ipc->ic", vector.astype(np.float32), parts)
    total = float(np.vdot(values, values)) - float(np.vdot(sums, sums)) / len(values)
    return np.array([total, float(np.vdot(along, along))])


_NAMES = ("log_nu1_abs_signal", "log_nu2_signal", "log_mu2_signal", "log_mu4_signal", "log_mu2_noise")


def _moments(flow: Flow) -> list[float]:
    """Moments of the channels of a batch, in its units, in the order of `_NAMES`."""
    sums = np.zeros(5)
    signal, noise = flow.points()
    for begin in range(0, signal.shape[1], 64):  # as float64, a few channels at a time
        x, dx = (part[:, begin : begin + 64].astype(np.float64) for part in (signal, noise))
        sums[:2] += np.abs(x).sum(), np.vdot(x, x)
        x -= x.mean(axis=0)
        x *= x
        sums[2:] += x.sum(), np.vdot(x, x), np.vdot(dx, dx)
    return (sums / signal.size).tolist()


def _nothing_inside(stack: str, flow: Flow) -> Iterator:
    raise AssertionError("a channel-wise layer holds no others")


def of_gaussian(signal: Covariance, noise: NoiseCovariance, draws: Draws, path: str) -> Population:
    """Channels of covariance K, and noise of covariance D; `path` names the stream.

    Raises
    ------
    ValueError
        If there are more points than `MOST_POINTS`.
    """
    points = signal.points
    if points > MOST_POINTS:
        raise ValueError(
            f"Channels are drawn from a covariance of at most {MOST_POINTS:,} points (images times "
            f"positions), "
            f'not {points:,}: give fewer or smaller images, or use method="sampled".'
        )
    images = noise.seen
    grid = (images, *noise.grid)
    factor = _factor(signal.unscaled())
    factors = [_factor(np.array(block)) for block in noise.blocks]
    log_scale = 0.5 * np.array([signal.log_scale, noise.log_scale])

    def source(batch: int) -> Flow:
        rng, half = draws.rng(path, batch), draws.batch // 2
        pair = np.empty((2, *grid, 2 * half), dtype=np.float32)
        rows = pair[0].reshape(points, 2 * half)
        rows[:, :half] = factor @ rng.standard_normal((points, half), dtype=np.float32)
        np.negative(rows[:, :half], out=rows[:, half:])
        blocks = pair[1].reshape(noise.images, -1, 2 * half)
        for number, block in enumerate(blocks):
            of_image = factors[number % len(factors)]
            block[...] = of_image @ rng.standard_normal(block.shape, dtype=np.float32)
        return Flow(pair, log_scale.copy())

    found = Population(draws, source, grid, noise.joint)
    found.keep()
    return found


def of_images(images: np.ndarray, conv: Conv, draws: Draws, path: str) -> Population:
    """Channels behind the first Conv: its weights on the images and on white noise, the same for both."""
    grid = (len(images), *conv.output_grid((images.shape[1], images.shape[2])))
    deviations = np.repeat(np.sqrt(conv.tap_weights).ravel(), images.shape[-1])
    seen = patches(images, conv).reshape(math.prod(grid), -1).astype(np.float32)
    deviations = (deviations * math.sqrt(conv.weights.gain / seen.shape[1])).astype(np.float32)
    bias = np.float32(math.sqrt(conv.weights.bias_variance))

    def source(batch: int) -> Flow:
        rng, half = draws.rng(path, batch), draws.batch // 2
        weights = deviations[:, None] * rng.standard_normal((len(deviations), half), dtype=np.float32)
        pair = np.empty((2, *grid, 2 * half), dtype=np.float32)
        rows, noise = pair.reshape(2, -1, 2 * half)
        np.matmul(seen, weights, out=rows[:, :half])
        if bias:
            rows[:, :half] += bias * rng.standard_normal(half, dtype=np.float32)
        np.negative(rows[:, :half], out=rows[:, half:])
        both = np.hstack([weights, -weights])
        # The channels that see the same noise are those of several pairs, and of none of them both.
        for begin in range(0, 2 * half, SHARED_NOISE):
            drawn = rng.standard_normal(images.shape, dtype=np.float32)
            taps = np.concatenate(list(seen_by_taps(conv, drawn)), axis=-1).reshape(len(seen), -1)
            noise[:, begin : begin + SHARED_NOISE] = taps @ both[:, begin : begin + SHARED_NOISE]
        return Flow(pair, np.zeros(2))

    found = Population(draws, source, grid)
    found.keep()
    return found


def summed(shortcut: Population, branch: Population, log_factor: float) -> Population:
    """The sum of the channels of a shortcut and, times a factor, of a branch with weights of its own.

    Raises
    ------
    ValueError
        If their grids differ.
    """

    def source(batch: int) -> Flow:
        flow = branch.batch(batch).copy()
        flow.log_scale += log_factor
        flow.add(shortcut.batch(batch).copy())
        return flow

    found = Population(shortcut.draws, source, branch.grid, shortcut.joint or branch.joint)
    found.keep()
    return found


def _factor(covariance: np.ndarray) -> np.ndarray:
    """A matrix F with F F' = covariance, up to `JITTER`, in single precision; the covariance is overwritten.

    Its factor is found in one of its triangles, so that large ones take no more memory than they have.
    """
    diagonal = covariance.diagonal().copy()
    if len(covariance) == 1:
        return np.sqrt(diagonal.clip(0.0))[:, None].astype(np.float32)
    dead = diagonal <= 0.0
    level = float(diagonal.mean()) or 1.0
    for times in (1.0, 1e2, 1e4, 1e6):
        covariance.flat[:: len(diagonal) + 1] = diagonal + times * JITTER * level
        # Of the transposed view, whose lower triangle is untouched: the upper one here.
        _, failed = dpotrf(covariance.T, lower=0, clean=0, overwrite_a=1)
        if not failed:
            factor = covariance.astype(np.float32)
            for row in range(len(factor)):
                factor[row, row + 1 :] = 0.0
            factor[dead] = 0.0
            return factor
        for row in range(len(diagonal)):
            covariance[row, :row] = covariance[:row, row]
    covariance.flat[:: len(diagonal) + 1] = diagonal
    values, vectors = np.linalg.eigh(covariance)
    return (vectors * np.sqrt(values.clip(0.0))).astype(np.float32)
