"""Engine: the moments of random nets of finite width, by simulation; the ground truth of the others.

Signal and noise travel together as one float32 array, beside a logarithm of the scale of each, so
that neither depth nor growth overflows; moments are summed in float64. Nothing is approximated but
by rounding, and nothing is refused: any stack of layers can be simulated.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import singledispatch
from itertools import product

import numpy as np
from scipy.linalg import eigh

from ...covariances.scales import log
from ...nets.layers import BatchNorm, Conv, ReLU
from ...nets.network import LOCS, Network, Residual, unit_locs
from ..protocol import Station, input_log_variances, log_chi, recorded_depths

DRAWS = ("auto", "weights", "gram")

#: Share of the mean square below which a variance is float32 rounding: the channel is constant.
ROUNDING = 2.0**-40

# Elements worked on at a time: float64 copies for the sums, and one tap of a convolution.
_BLOCK, _CHUNK = 2**16, 2**20

# For `draw="auto"`, in float32 operations: a normal deviate and an element gathered from a Gram matrix
# (measured). Beyond the limit of rows the memory of a Gram matrix would show.
_NORMAL, _GATHER, _GRAM_LIMIT = 500, 100, 4096


def sampled(
    network: Network, images: np.ndarray, *, width: int, nets: int, seed: int = 0, every: int = 1,
    draw: str = "auto", reff_locs=("act",), first: int = 0,
) -> Iterator[Station]:  # fmt: skip
    """Simulate random nets and yield their stations, net after net, in walking order.

    Parameters
    ----------
    network : Network
    images : ndarray, shape (n, h, w, c)
        Normalised; (n, 1, 1, features) for a fully connected net. The noise is N(0, I) of the same
        shape, drawn anew for each net.
    width : int
        Channels behind every Conv.
    nets : int
        How many. Each has a random stream of its own: net k is the same whatever their number.
    seed : int
    every : int
        Depths between stations.
    draw : {"auto", "weights", "gram"}
        How a Conv is drawn. "weights": its weights, applied to signal and noise. "gram": its output
        channels, which given the input are independent Gaussian vectors over the points of signal
        and noise, with the Gram matrix of the patches as covariance; the same law, other numbers.
        "auto": per layer, whichever takes fewer operations; in a wide fully connected net "gram"
        up to about one point to four channels.
    reff_locs : sequence of str
        Where effective ranks are taken. A unit that has none of these stations is measured at its
        last.
    first : int
        Net to begin with, to go on after an interruption.

    Returns
    -------
    iterator of Station
        `moments` holds all of `moments.ENGINE_MOMENTS` (effective ranks where asked) of this one
        net. `error` is the resolution of float32 relative to the deviation of the signal from its
        mean, the largest so far: from 1e-2 the variance that chi and the effective rank rest on is
        mostly rounding.

    Raises
    ------
    ValueError
        At once, if a parameter is out of range or the images do not vary; during the walk, if the two
        sides of a residual unit differ in shape.
    ArithmeticError
        During the walk, if signal or noise of a net has died out, so that chi or a rank is undefined.

    Notes
    -----
    Batch norm divides the noise by the standard deviation of the signal; the noise neither flows
    through the statistics nor is centred. A channel that is constant over the points, up to float32
    rounding, becomes 0 under ``epsilon=0``, signal and noise.
    Source of the setting: Labatie, ICML 2019, with the reference's conventions (see `moments`).
    """
    for name, value, least in (
        ("width", width, 1),
        ("nets", nets, 1),
        ("seed", seed, 0),
        ("every", every, 1),
    ):
        if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
            raise ValueError(f"{name} must be a whole number of at least {least}, not {value!r}.")
    if draw not in DRAWS:
        raise ValueError(f"draw must be one of {', '.join(DRAWS)}, not {draw!r}.")
    if not set(reff_locs) <= set(LOCS):
        raise ValueError(f"reff_locs may name {', '.join(LOCS)}, not {', '.join(reff_locs)}.")
    images = np.asarray(images, dtype=np.float64)
    if images.ndim != 4 or images.size == 0 or not np.isfinite(images).all():
        raise ValueError(f"images must be finite numbers of shape (n, h, w, c), not {images.shape}.")
    if math.prod(images.shape[:3]) < 2:
        raise ValueError("images must hold at least two points, or nothing varies: give two images.")
    at_input = input_log_variances(images)
    depths = frozenset(recorded_depths(network.depth, every))
    return _stations(
        network, images, width, range(first, nets), seed, depths, draw, frozenset(reff_locs), at_input
    )


@dataclass
class Flow:
    """Signal and noise on their way through one net.

    Attributes
    ----------
    pair : ndarray of float32, shape (2, n, h, w, channels)
        Signal and noise, each of order one, in units of ``exp(log_scale)``.
    log_scale : ndarray of float64, shape (2,)
    """

    pair: np.ndarray
    log_scale: np.ndarray

    @classmethod
    def start(cls, images: np.ndarray, rng: np.random.Generator) -> Flow:
        """Images and the noise on them."""
        exponent = math.frexp(np.abs(images).max())[1]
        signal = np.ldexp(images, -exponent).astype(np.float32)
        noise = rng.standard_normal(images.shape, dtype=np.float32)
        return cls(np.stack([signal, noise]), np.array([exponent * math.log(2.0), 0.0]))

    def copy(self) -> Flow:
        """Copy to memory of its own, since layers work in place."""
        return Flow(self.pair.copy(), self.log_scale.copy())

    def points(self) -> np.ndarray:
        """View of shape (2, points, channels)."""
        return self.pair.reshape(2, -1, self.pair.shape[-1])

    def rescale(self) -> None:
        """Bring signal and noise back to order one, by powers of two and so without rounding."""
        for part, values in enumerate(self.pair):
            exponent = math.frexp(max(values.max(), -values.min()))[1]
            if abs(exponent) > 8:
                np.ldexp(values, -exponent, out=values)
                self.log_scale[part] += exponent * math.log(2.0)

    def change_scale(self, log_scale: np.ndarray) -> None:
        """Express the same signal and noise in other units."""
        factor = np.exp(self.log_scale - log_scale).astype(np.float32)
        self.pair *= factor.reshape(2, 1, 1, 1, 1)
        self.log_scale = log_scale.copy()

    def add(self, other: Flow) -> None:
        """Merge with another flow, in units that suit the larger."""
        if self.pair.shape != other.pair.shape:
            raise ValueError(
                f"Residual: the branch ends in (height, width, channels) {self.pair.shape[2:]}, the shortcut "
                f"in {other.pair.shape[2:]}; put a Conv with the same strides into the shortcut or the stem."
            )
        common = np.maximum(self.log_scale, other.log_scale)
        self.change_scale(common)
        other.change_scale(common)
        self.pair += other.pair
        self.rescale()


@dataclass(frozen=True)
class Draw:
    """What the layers of one net are drawn with."""

    rng: np.random.Generator
    width: int
    how: str


@singledispatch
def forward(layer, flow: Flow, draw: Draw) -> None:
    """Carry a flow through one layer, in place; fresh weights come from `draw`."""
    raise TypeError(f"{layer!r} cannot be simulated.")


@forward.register
def _(layer: ReLU, flow: Flow, draw: Draw) -> None:
    flow.pair *= flow.pair[0] > 0


@forward.register
def _(layer: BatchNorm, flow: Flow, draw: Draw) -> None:
    values = flow.points()
    mean, variance = _mean_and_variance(values[0])
    variance[variance <= ROUNDING * np.mean(variance + mean * mean)] = 0.0
    # All channels are divided by one common scale, which goes into the logarithm, and then by what is left.
    log_variance, log_epsilon = log(variance.mean()) + 2.0 * flow.log_scale[0], log(layer.epsilon)
    common = 0.5 * np.logaddexp(log_variance, log_epsilon)
    if common == -math.inf:
        flow.pair[...] = 0.0
        return
    square = variance * math.exp(2.0 * (flow.log_scale[0] - common)) + math.exp(log_epsilon - 2.0 * common)
    inverse = np.divide(1.0, np.sqrt(square), out=np.zeros_like(square), where=square > 0)
    values[0] -= mean.astype(np.float32)
    values *= inverse.astype(np.float32)
    flow.log_scale -= common


@forward.register
def _(layer: Conv, flow: Flow, draw: Draw) -> None:
    how = _cheaper(layer, flow.pair.shape, draw.width) if draw.how == "auto" else draw.how
    # The gain goes into the scales, so a bias counts in units of sqrt(gain) * exp(log_scale).
    log_gain = 0.5 * math.log(layer.gain)
    log_bias = 0.5 * log(layer.bias_variance) - log_gain
    if log_bias > flow.log_scale[0]:
        flow.change_scale(np.array([log_bias, flow.log_scale[1]]))
    deviation = math.exp(log_bias - flow.log_scale[0])
    flow.pair = (_by_gram if how == "gram" else _by_weights)(layer, flow.pair, deviation, draw)
    flow.log_scale += log_gain
    flow.rescale()


def _by_weights(conv: Conv, pair: np.ndarray, bias_deviation: float, draw: Draw) -> np.ndarray:
    """Draw the weights (mean variance 1 / fan in) and biases of a convolution and apply them."""
    fan_in = conv.kernel_size**2 * pair.shape[-1]
    weights = draw.rng.standard_normal((fan_in, draw.width), dtype=np.float32)
    if conv.tap_variances is None:
        weights *= np.float32(fan_in**-0.5)
    else:
        deviations = np.sqrt(np.repeat(conv.tap_weights.ravel(), pair.shape[-1]) / fan_in)
        weights *= deviations[:, None].astype(np.float32)
    flat = convolve(conv, pair.reshape(-1, *pair.shape[2:]), weights)
    output = flat.reshape(2, -1, *flat.shape[1:])
    if bias_deviation > 0:
        output[0] += np.float32(bias_deviation) * draw.rng.standard_normal(draw.width, dtype=np.float32)
    return output


def _by_gram(conv: Conv, pair: np.ndarray, bias_deviation: float, draw: Draw) -> np.ndarray:
    """Draw the output channels of a convolution given its input: i.i.d. N(0, Gram matrix of the patches).

    Signal and noise share weights, so the covariance is that of all points of both.
    """
    images, height, width = 2 * pair.shape[1], *pair.shape[2:4]
    pixels = pair.reshape(-1, pair.shape[-1]).astype(np.float64)
    gram = pixels @ pixels.T / pixels.shape[1]
    if not conv.pointwise:
        gram = _patch_gram(conv, gram, images, height, width)
    rows = len(gram)
    gram[: rows // 2, : rows // 2] += bias_deviation**2
    normal = draw.rng.standard_normal((rows, draw.width), dtype=np.float32)
    output = _factor(gram).astype(np.float32) @ normal
    return output.reshape(2, -1, conv.output_size(height), conv.output_size(width), draw.width)


def _patch_gram(conv: Conv, gram: np.ndarray, images: int, height: int, width: int) -> np.ndarray:
    """Gram matrix of the patches: the mean over taps of that of the pixels, the same tap on both sides."""
    place = np.arange(images * height * width).reshape(images, height, width, 1)
    outside = place.size  # one more row and column, of zeros, stands for the padding
    gram = np.pad(gram, (0, 1))
    seen = [tap.ravel() for tap in _taps(conv, place, fill=outside)]
    weights = conv.tap_weights.ravel() / len(seen)
    return sum(weight * gram[np.ix_(rows, rows)] for weight, rows in zip(weights, seen, strict=True))


def _factor(covariance: np.ndarray) -> np.ndarray:
    """Return a matrix F with F F' = covariance."""
    try:
        return np.linalg.cholesky(covariance)
    except np.linalg.LinAlgError:  # singular, as images of mean zero are
        values, vectors = eigh(covariance)
        return vectors * np.sqrt(values.clip(0.0))


def _cheaper(conv: Conv, shape: tuple, width: int) -> str:
    """Choose the draw that takes fewer operations, counted in float32 (those in float64 twice)."""
    _, images, height, columns, channels = shape
    before = 2 * images * height * columns
    after = 2 * images * conv.output_size(height) * conv.output_size(columns)
    taps = conv.kernel_size**2
    by_weights = (2 * after + _NORMAL) * taps * channels * width
    by_gram = 2 * before**2 * channels + 2 * after**3 / 3 + (2 * after + _NORMAL) * after * width
    if not conv.pointwise:
        by_gram += _GATHER * taps * after**2
    return "gram" if by_gram < by_weights and max(before, after) <= _GRAM_LIMIT else "weights"


def convolve(conv: Conv, images: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Convolve with given weights; gain and bias of the layer are not applied.

    Images of shape (n, h, w, channels in) and weights of shape (k * k * channels in, channels out),
    ordered by row, column, channel; a few images at a time, so that the copies stay in cache.
    """
    count, height, width, channels = images.shape
    shape = (count, conv.output_size(height), conv.output_size(width), weights.shape[1])
    output = np.zeros(shape, dtype=np.float32)
    taps = weights.reshape(-1, channels, shape[3])
    step = max(1, _CHUNK // (shape[1] * shape[2] * max(channels, shape[3])))
    for first in range(0, count, step):
        total = output[first : first + step].reshape(-1, shape[3])
        for seen, tap in zip(_taps(conv, images[first : first + step]), taps, strict=True):
            total += seen.reshape(-1, channels) @ tap
    return output


def _taps(conv: Conv, images: np.ndarray, fill=0) -> Iterator[np.ndarray]:
    """Yield what each tap sees at every output position, shape (n, output h, output w, channels)."""
    across = [conv.padded_index(size) for size in images.shape[1:3]]
    padded = images[:, across[0]][:, :, across[1]]
    padded[:, across[0] < 0] = fill
    padded[:, :, across[1] < 0] = fill
    height, width = (conv.output_size(size) for size in images.shape[1:3])
    offsets = range(0, conv.kernel_size * conv.dilation, conv.dilation)
    for top, left in product(offsets, offsets):
        rows = slice(top, top + (height - 1) * conv.stride + 1, conv.stride)
        yield padded[:, rows, left : left + (width - 1) * conv.stride + 1 : conv.stride]


def _stations(network, images, width, nets, seed, depths, how, reff_locs, at_input) -> Iterator[Station]:
    for net in nets:
        # The child that SeedSequence(seed).spawn gives this net, without its predecessors.
        rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(net,)))
        flow, error = Flow.start(images, rng), 0.0
        for depth, loc, locs in _walk(network, flow, Draw(rng, width, how), depths):
            ranked = loc in (reff_locs.intersection(locs) or {locs[-1]})
            with np.errstate(all="ignore"):
                moments = _moments(flow, ranked, at_input)
            if any(math.isnan(value) for value in moments.values()):
                raise ArithmeticError(
                    f"Net {net}: at depth {depth} ({loc}) signal or noise has died out in float32 or is not "
                    "finite, so moments are undefined; use a larger width, or other layers."
                )
            contrast = moments["log_nu2_signal"] - moments["log_mu2_signal"]
            error = max(error, float(np.exp(0.5 * contrast)) * 2.0**-24)
            yield Station(depth, loc, moments, net, error)


def _walk(network, flow, draw, depths) -> Iterator[tuple[int, str, tuple]]:
    """Move the flow through the net, stopping at each (depth, loc, all locs of the unit) wanted."""
    for layer in network.stem:
        forward(layer, flow, draw)
    if 0 in depths:
        yield 0, "input", ("input",)
    for depth, unit in enumerate(network.units, 1):
        locs = unit_locs(unit)
        wanted = set(locs) if depth in depths else set()
        for loc in _through(unit, flow, draw):
            if loc in wanted:
                wanted.remove(loc)
                yield depth, loc, locs


def _through(unit: tuple, flow: Flow, draw: Draw) -> Iterator[str]:
    """Move the flow through a unit, naming every place it comes to."""
    yield "input"
    residual = unit[0] if isinstance(unit[0], Residual) else None
    skip = flow.copy() if residual else None
    for layer in residual.branch if residual else unit:
        forward(layer, flow, draw)
        yield unit_locs((layer,))[-1]
    if residual:
        for layer in residual.shortcut:
            forward(layer, skip, draw)
        flow.log_scale += log(residual.scale)
        flow.add(skip)
        yield "merge"


def _moments(flow: Flow, ranked: bool, at_input: tuple[float, float]) -> dict[str, float]:
    signal, noise = flow.points()
    mean = signal.mean(axis=0, dtype=np.float64)
    sums = np.zeros(5)
    for x, dx in zip(_blocks(signal), _blocks(noise), strict=True):
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
        for first in range(0, points, _BLOCK // 8):
            centred = values[first : first + _BLOCK // 8] - mean.astype(values.dtype)
            spread += centred.T @ centred
    trace = float(np.trace(spread))
    if not 0 < trace < math.inf:
        return math.nan
    last = len(spread) - 1
    return trace / float(eigh(spread, eigvals_only=True, subset_by_index=[last, last])[0])


def _mean_and_variance(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and variance over points of every channel, in float64."""
    mean = values.mean(axis=0, dtype=np.float64)
    return mean, sum(((x - mean) ** 2).sum(axis=0) for x in _blocks(values)) / len(values)


def _blocks(values: np.ndarray) -> Iterator[np.ndarray]:
    """Rows of a tall matrix as float64, as many at a time as fit in cache."""
    rows = max(1, _BLOCK // values.shape[1])
    for first in range(0, len(values), rows):
        yield values[first : first + rows].astype(np.float64)
