"""What each kind of layer does to signal and noise of one random net.

Signal and noise travel together as one float32 array, beside a logarithm of the scale of each, so
that neither depth nor growth overflows; sums are of float64.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import singledispatch

import numpy as np
from scipy.linalg import eigh

from ...covariances.scales import log
from ...maps.taps import seen_by_taps
from ...nets.activations import Nonlinearity, PiecewiseLinear
from ...nets.drawing import drawn_weights
from ...nets.layers import Layer
from ...nets.linear import Conv
from ...nets.network import Place, Residual
from ...nets.norms import BatchNorm

#: Share of the mean square below which a variance is float32 rounding: the channel is constant; so it is with
#: what is left of noise.
ROUNDING = 2.0**-40

# Elements worked on at a time: float64 copies for the sums, and one tap of a convolution.
BLOCK, _CHUNK = 2**16, 2**20

# For `draw="auto"`, in float32 operations: a normal deviate and an element gathered from a Gram matrix
# (measured). Beyond the limit of rows the memory of a Gram matrix would show.
_NORMAL, _GATHER, _GRAM_LIMIT = 500, 100, 4096


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
        """View of shape (2, points, channels), of the same memory: for layers that work in place."""
        self.pair = np.ascontiguousarray(self.pair)  # a reshape of anything else is a copy
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


#: Carries a flow through one of a layer's stacks, stopping behind every layer in it.
Inside = Callable[[str, Flow], Iterator[tuple[Place, Flow]]]


@singledispatch
def forward(layer: Layer, flow: Flow, draw: Draw, inside: Inside) -> Iterator[tuple[Place, Flow]] | None:
    """Carry a flow through one layer, in place; fresh weights come from `draw`.

    Parameters
    ----------
    layer : Layer
    flow : Flow
    draw : Draw
    inside : callable
        For a layer that holds others: carries a flow through the stack of a name.

    Returns
    -------
    iterator or None
        Of a layer that holds others: to be exhausted, its stops handed on.
    """
    raise TypeError(f"{type(layer).__name__} cannot be simulated.")


@forward.register
def _(layer: PiecewiseLinear, flow: Flow, draw: Draw, inside: Inside) -> None:
    above, below = layer.slopes
    flow.pair *= np.where(flow.pair[0] > 0, np.float32(above), np.float32(below))


@forward.register
def _(layer: Nonlinearity, flow: Flow, draw: Draw, inside: Inside) -> None:
    if flow.log_scale[0] > 0.5 * math.log(np.finfo(np.float64).max):
        raise ArithmeticError(
            f"{type(layer).__name__} of a signal of size exp({flow.log_scale[0]:.0f}) is out of the range of "
            "numbers; use a gain that keeps the signal's size."
        )
    signal = flow.pair[0].astype(np.float64) * math.exp(flow.log_scale[0])
    flow.pair[1] *= layer.slope(signal).astype(np.float32)
    value = layer.value(signal)
    exponent = math.frexp(np.abs(value).max())[1]
    flow.pair[0] = np.ldexp(value, -exponent)
    flow.log_scale[0] = exponent * math.log(2.0)
    flow.rescale()


@forward.register
def _(layer: BatchNorm, flow: Flow, draw: Draw, inside: Inside) -> None:
    values = flow.points()
    mean, variance = _mean_and_variance(values[0])
    variance[variance <= ROUNDING * np.mean(variance + mean * mean)] = 0.0
    if layer.statistics == "population":
        variance[:] = variance.mean()
    inverse, common = inverse_deviations(variance, layer.epsilon, flow.log_scale[0])
    values[0] -= mean.astype(np.float32)
    values *= inverse
    if layer.noise == "through":
        if layer.epsilon == 0.0 and values.shape[1] == 2:
            raise ValueError(
                'BatchNorm(noise="through") with epsilon 0 maps any two points to 1 and -1, so that no noise '
                "is left; use an epsilon above 0, or more images."
            )
        _move_statistics(values[0], values[1], math.exp(2.0 * (flow.log_scale[0] - common)))
    flow.log_scale += log(layer.gamma) - common
    if layer.beta:
        if log(abs(layer.beta)) > flow.log_scale[0]:
            flow.change_scale(np.array([log(abs(layer.beta)), flow.log_scale[1]]))
        flow.points()[0] += np.float32(layer.beta * math.exp(-flow.log_scale[0]))


@forward.register
def _(layer: Conv, flow: Flow, draw: Draw, inside: Inside) -> None:
    width = layer.channels or draw.width
    how = _cheaper(layer, flow.pair.shape, width) if draw.how == "auto" else draw.how
    draw_by = _by_gram if how == "gram" else _by_weights
    if layer.groups != 1:
        draw_by = _by_groups
    # The gain goes into the scales, so a bias counts in units of sqrt(gain) * exp(log_scale).
    log_gain = 0.5 * math.log(layer.weights.gain)
    log_bias = 0.5 * log(layer.weights.bias_variance) - log_gain
    if log_bias > flow.log_scale[0]:
        flow.change_scale(np.array([log_bias, flow.log_scale[1]]))
    deviation = math.exp(log_bias - flow.log_scale[0])
    flow.pair = draw_by(layer, flow.pair, deviation, draw.rng, width)
    flow.log_scale += log_gain
    flow.rescale()


@forward.register
def _(layer: Residual, flow: Flow, draw: Draw, inside: Inside) -> Iterator[tuple[Place, Flow]]:
    skip = flow.copy()
    yield from inside("branch", flow)
    yield from inside("shortcut", skip)
    flow.log_scale += log(layer.scale)
    flow.add(skip)


def inverse_deviations(variance: np.ndarray, epsilon: float, log_scale: float) -> tuple[np.ndarray, float]:
    """1 / sqrt(variance + epsilon) as float32 numbers of order one, times ``exp(-the second)``; 0 for 1 / 0.

    All variances are divided by one common scale, which goes into the logarithm, and then by what is left.
    They are in units of ``exp(2 log_scale)``.
    """
    log_epsilon = log(epsilon)
    common = 0.5 * float(np.logaddexp(log(float(variance.mean())) + 2.0 * log_scale, log_epsilon))
    if common == -math.inf:
        return np.zeros(variance.shape, np.float32), 0.0
    square = variance * math.exp(2.0 * (log_scale - common)) + math.exp(log_epsilon - 2.0 * common)
    inverse = np.divide(1.0, np.sqrt(square), out=np.zeros_like(square), where=square > 0)
    return inverse.astype(np.float32), common


def _move_statistics(signal: np.ndarray, noise: np.ndarray, unit: float) -> None:
    """Let the noise of normalised channels move the batch's mean and variance, in place.

    Of y = (z - mean z) / sqrt(var z + epsilon) the derivative along dz is
    (dz - mean dz - y mean(y dz)) / sqrt(var z + epsilon), for any epsilon.

    Parameters
    ----------
    signal, noise : ndarray of float32, shape (points, channels)
        y, in units of ``sqrt(unit)``, and dz / sqrt(var z + epsilon).
    unit : float
    """
    size = (noise * noise).mean(axis=0, dtype=np.float64)
    noise -= noise.mean(axis=0, dtype=np.float64).astype(np.float32)
    along = sum((y * dy).sum(axis=0) for y, dy in zip(blocks(signal), blocks(noise), strict=True)) / len(
        noise
    )
    noise -= signal * (unit * along).astype(np.float32)
    noise[:, (noise * noise).mean(axis=0, dtype=np.float64) <= ROUNDING * size] = 0.0


def _by_weights(
    conv: Conv, pair: np.ndarray, bias_deviation: float, rng: np.random.Generator, width: int
) -> np.ndarray:
    """Draw the weights (mean variance 1 / fan in) and biases of a convolution and apply them."""
    weights = drawn_weights(conv, pair.shape[-1], width, rng)
    flat = convolve(conv, pair.reshape(-1, *pair.shape[2:]), weights)
    output = flat.reshape(2, -1, *flat.shape[1:])
    if bias_deviation > 0:
        output[0] += np.float32(bias_deviation) * rng.standard_normal(width, dtype=np.float32)
    return output


def _by_groups(
    conv: Conv, pair: np.ndarray, bias_deviation: float, rng: np.random.Generator, width: int
) -> np.ndarray:
    """Draw the weights of a convolution of channels in groups and apply them.

    Parameters
    ----------
    conv : Conv
    pair : ndarray of float32, shape (2, n, h, w, channels)
    bias_deviation : float
    rng : Generator
    width : int
        Channels behind it, unless it is depthwise.

    Raises
    ------
    ValueError
        If the groups do not divide the channels before and behind.
    """
    if conv.channelwise:
        return _depthwise(conv, pair, bias_deviation, rng)
    assert isinstance(conv.groups, int)
    for name, channels in (("before", pair.shape[-1]), ("behind", width)):
        if channels % conv.groups:
            raise ValueError(
                f"Conv: {conv.groups} groups do not divide the {channels} channels {name} it; use a divisor, "
                "another width, or channels."
            )
    alone = replace(conv, groups=1)
    parts = np.split(pair, conv.groups, axis=-1)
    share = width // conv.groups
    return np.concatenate([_by_weights(alone, part, bias_deviation, rng, share) for part in parts], axis=-1)


def _depthwise(conv: Conv, pair: np.ndarray, bias_deviation: float, rng: np.random.Generator) -> np.ndarray:
    """Weights of mean variance 1 / k^2, of every channel its own."""
    channels = pair.shape[-1]
    deviations = np.sqrt(conv.tap_weights.reshape(-1, 1) / conv.kernel_size**2)
    weights = (deviations * rng.standard_normal((len(deviations), channels))).astype(np.float32)
    total = np.float32(0.0)
    for part, weight in zip(seen_by_taps(conv, pair.reshape(-1, *pair.shape[2:])), weights, strict=True):
        total = total + part * weight
    output = np.asarray(total).reshape(2, -1, *np.shape(total)[1:])
    if bias_deviation > 0:
        output[0] += np.float32(bias_deviation) * rng.standard_normal(channels, dtype=np.float32)
    return output


def _by_gram(
    conv: Conv, pair: np.ndarray, bias_deviation: float, rng: np.random.Generator, width: int
) -> np.ndarray:
    """Draw the output channels of a convolution given its input: i.i.d. N(0, Gram matrix of the patches).

    Signal and noise share weights, so the covariance is that of all points of both.
    """
    images, height, columns = 2 * pair.shape[1], *pair.shape[2:4]
    pixels = pair.reshape(-1, pair.shape[-1]).astype(np.float64)
    gram = pixels @ pixels.T / pixels.shape[1]
    if not conv.pointwise:
        gram = _patch_gram(conv, gram, images, height, columns)
    rows = len(gram)
    gram[: rows // 2, : rows // 2] += bias_deviation**2
    normal = rng.standard_normal((rows, width), dtype=np.float32)
    output = _factor(gram).astype(np.float32) @ normal
    return output.reshape(2, -1, conv.output_size(height), conv.output_size(columns), width)


def _patch_gram(conv: Conv, gram: np.ndarray, images: int, height: int, width: int) -> np.ndarray:
    """Gram matrix of the patches: the mean over taps of that of the pixels, the same tap on both sides."""
    place = np.arange(images * height * width).reshape(images, height, width, 1)
    outside = place.size  # one more row and column, of zeros, stands for the padding
    gram = np.pad(gram, (0, 1))
    seen = [tap.ravel() for tap in seen_by_taps(conv, place, fill=outside)]
    weights = conv.tap_weights.ravel() / len(seen)
    return sum(weight * gram[np.ix_(rows, rows)] for weight, rows in zip(weights, seen, strict=True))


def _factor(covariance: np.ndarray) -> np.ndarray:
    """Return a matrix F with F F' = covariance."""
    try:
        return np.linalg.cholesky(covariance)
    except np.linalg.LinAlgError:  # singular, as images of mean zero are
        values, vectors = eigh(covariance)
        return vectors * np.sqrt(values.clip(0.0))


def _cheaper(conv: Conv, shape: tuple[int, ...], width: int) -> str:
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
        for seen, tap in zip(seen_by_taps(conv, images[first : first + step]), taps, strict=True):
            total += seen.reshape(-1, channels) @ tap
    return output


def _mean_and_variance(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and variance over points of every channel, in float64."""
    mean = values.mean(axis=0, dtype=np.float64)
    return mean, sum(((x - mean) ** 2).sum(axis=0) for x in blocks(values)) / len(values)


def blocks(values: np.ndarray) -> Iterator[np.ndarray]:
    """Rows of a tall matrix as float64, as many at a time as fit in cache."""
    rows = max(1, BLOCK // values.shape[1])
    for first in range(0, len(values), rows):
        yield values[first : first + rows].astype(np.float64)
