"""Convolutional plain nets at finite width: the laws of nu2 and of mu2 of the noise.

Both are means over points (image, position) of quantities that are martingales at a point, up to the
averages that convolutions take. So their logarithms diffuse as those of fully connected nets do, only that
the points are weighted by what later convolutions make of them, g^(k) = (A')^k 1 / M, A the mean over taps:

    Var log nu2     = (1/N) sum_l sum_pq p_p p_q (4 J2(c_pq) - 1),     p = g^(L-l) * diag K, of sum 1,
    Var log mu2(dx) = (1/N) sum_l sum_pq r_p r_q (4 k0(c_pq) - 1),     r = g^(L-l) * diag D, of sum 1,

c the correlations of the signal before the ReLU of layer l at infinite width. The noises of two positions
stay nearly independent, because a convolution averages over 9 of them: their own correlation, of order
1 / 9N, is left out. Only averages over pairs of points enter, so a few images stand for a batch, pairs within
an image being weighted by its true share. The means themselves are those of the whole batch.

Of a layer's relative increment x, with E x = 0, E x^2 = v, E x^3 = s v^2 and E x^4 = 3 v^2 up to O(1/N^3),

    E log(1 + x) = -v / 2 + (s / 3 - 3 / 4) v^2,    Var log(1 + x) = v + (5 / 2 - s) v^2.

v is the term of the sums above. s is that of a collapsed signal, where all points see one Gaussian z of each
channel: x is the mean of 2 relu(z)^2 - 1 for nu2 (v = 5 / N, s = 44 / 25), of 2 [z > 0] - 1 for the noise
(v = 1 / N, s = 0). Without the second order the mean of log nu2 at l = 200, N = 128 is 0.05 too high.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from ..covariance import NoiseCovariance
from ..layers import Conv
from ..maps import convolve, convolve_diagonal, first_convolution, rectify
from .arc_cosine import ArcCosine, correlations
from .law import Law

#: E x^3 / (E x^2)^2 of increments x, with z a standard Gaussian: of z^2, 2 relu(z)^2 and 2 [z > 0].
SKEWNESS = {"square": 2.0, "rectified": 44.0 / 25.0, "mask": 0.0}

#: Points that stand for a batch, at most; at least two images are taken.
MOST_POINTS = 1200


def stations(network, images: np.ndarray, width: int, depths: frozenset, log_input: float) -> Iterator:
    """Yield (depth, loc, laws) of every station wanted, in walking order.

    Parameters
    ----------
    network : Network
        A stem of one Conv, then units of Conv and ReLU, all of one kernel, stride 1.
    images : shape (n, h, w, c)
    width : int
    depths : set of int
    log_input : float
        Not used: chi is not covered.
    """
    stem, convs = network.stem[0], [unit[0] for unit in network.units]
    positions = math.prod(stem.output_size(side) for side in images.shape[1:3])
    count = max(2, min(len(images), MOST_POINTS // positions))
    noise = NoiseCovariance.white(count, *images.shape[1:3])
    signal = first_convolution(images[:count], noise, stem)
    # Second moments of signal and noise by position, over the whole batch: linear in all layers.
    shape = (1, *images.shape[1:3])
    levels = np.array([np.mean(images**2, axis=(0, 3)).ravel(), np.ones(math.prod(shape))])
    levels = np.array([convolve_diagonal(level, shape, stem) for level in levels])
    weights = _Weights(signal.grid, len(images), convs)
    means = np.log(stem.gain * levels.mean(1))
    c = correlations(signal.dense())[0]
    sampled = _law(weights.pairs(2.0 * c * c, signal.diagonal, 0) / width, SKEWNESS["square"])
    # Shift of the mean and variance of log nu2 and of log mu2 of the noise, by the depth where they are seen.
    sums = np.stack([sampled, np.zeros_like(sampled)])
    if 0 in depths:
        yield 0, "input", _laws(means, sums[..., 0])
    for depth, conv in enumerate(convs, 1):
        if depth in depths:
            yield depth, "input", _laws(means, sums[..., depth - 1])
        grid = (1, *signal.grid[1:])
        convolve(signal, noise, conv, activate=False)
        levels /= levels.mean(1, keepdims=True)
        levels = np.array([convolve_diagonal(level, grid, conv) for level in levels])
        means += np.log(conv.gain * levels.mean(1))
        arc = ArcCosine.of(correlations(signal.dense())[0])
        if depth in depths:
            sampled = _law(weights.pairs(2.0 * arc.c**2, signal.diagonal, depth) / width, SKEWNESS["square"])
            fresh = np.stack([sampled[:, depth], np.zeros(2)])
            yield depth, "conv", _laws(means, sums[..., depth - 1] + fresh)
        rectified = weights.pairs(4.0 * arc.j2 - 1.0, signal.diagonal, depth) / width
        masked = weights.pairs(4.0 * arc.k0 - 1.0, np.tile(levels[1], count), depth) / width
        sums += _law(rectified, SKEWNESS["rectified"]), _law(masked, SKEWNESS["mask"])
        rectify(signal, noise)
        means -= math.log(2.0)
        if depth in depths:
            yield depth, "act", _laws(means, sums[..., depth])


def _law(v: np.ndarray, skewness: float) -> np.ndarray:
    """Mean and variance of log(1 + x) for increments x of these variances; shape (2, ...), up to O(v^3)."""
    return np.stack([-0.5 * v + (skewness / 3.0 - 0.75) * v**2, v + (2.5 - skewness) * v**2])


def _laws(means: np.ndarray, sums: np.ndarray) -> dict[str, Law]:
    names = ("log_nu2_signal", "log_mu2_noise")
    return {
        name: Law(float(mean + shift), float(variance))
        for name, mean, (shift, variance) in zip(names, means, sums, strict=True)
    }


class _Weights:
    """Weights of pairs of points in what is seen at every depth.

    Parameters
    ----------
    grid : (images, height, width)
        Of the images that stand for the batch.
    batch : int
        Images in the batch.
    convs : sequence of Conv
        All alike.
    """

    def __init__(self, grid: tuple[int, int, int], batch: int, convs: list[Conv]):
        images, positions = grid[0], grid[1] * grid[2]
        later = np.ones((len(convs) + 1, positions))
        if convs:
            unit = np.eye(positions).reshape(-1, *grid[1:])
            average = np.stack([convolve_diagonal(one.ravel(), (1, *grid[1:]), convs[0]) for one in unit])
            for k in range(len(convs)):  # average[a, b]: what of point a is seen at point b
                later[k + 1] = average @ later[k]
        self.later = np.tile(later, images)
        same, other = images / batch, (1.0 - 1.0 / batch) * images / (images - 1)
        image = np.repeat(np.arange(images), positions)
        self.share = np.where(image[:, None] == image, same, other)
        #: Whether all later points see all points alike, so that one row of weights serves every depth.
        self.even = bool(np.ptp(later) < 1e-12)

    def pairs(self, matrix: np.ndarray, sizes: np.ndarray, depth: int) -> np.ndarray:
        """Weighted mean of a matrix over pairs, for what is seen at every depth: 0 before `depth`."""
        found = np.zeros(len(self.later))
        rows = self.later[: 1 if self.even else len(self.later) - depth] * sizes
        # Divided by the same sum over the weights alone: few images are off their batch's mean size.
        weights = np.einsum("kp,kp->k", rows @ self.share, rows)
        found[depth:] = np.einsum("kp,kp->k", rows @ (matrix * self.share), rows) / weights
        return found
