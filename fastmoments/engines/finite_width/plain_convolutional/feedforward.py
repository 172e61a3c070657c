"""Stations of convolutional plain nets at finite width: nu2, mu2, mu2 of the noise, chi and r_eff.

nu2 and mu2 of the noise are means over points (image, position) of quantities that are martingales at a
point, up to the averages that convolutions take. So their logarithms diffuse as those of fully connected nets
do, only that the points are weighted by what later convolutions make of them, g^(k) = (A')^k 1 / M, A the
mean over taps:

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

The mean of mu2 is that of infinite width, that of its logarithm half its variance lower, and chi is made of
both; the variances and r_eff are in `covariance_backward`. The mean of r_eff is that of infinite width.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterator

import numpy as np

from ....maps.activation import activate
from ....maps.convolution import convolve, convolve_diagonal
from ....nets.activations import ReLU
from ....nets.linear import Conv
from ...infinite_width.walk import InfiniteWidthWalk
from ..closures import Closures
from ..shared.depth_interpolation import backward_depths, interpolated_between
from ..shared.lognormal import Laws, Lognormal, Passing, Step, chi_moment
from ..shared.noise_draw import draw_variance, inputs_seen
from ..shared.relu_moments import ReluMoments, correlations
from ..shared.units import Task, convolutions, stem_of
from .covariance_backward import deviations
from .representation import Representation

#: Points that stand for a batch, at most; at least two images are taken, of no more positions than these.
MOST_POINTS, MOST_POSITIONS = 1600, 1024

#: Depths at which the backward pass is made.
NODES = 8


def stations(task: Task) -> Iterator[Step]:
    """Yield (depth, loc, laws) of every station wanted, in walking order.

    The network is a stem of one Conv, then units of Conv and ReLU, all of one kernel and stride 1.
    """
    network, images, width, depths, log_input, closures = task
    stem, convs = stem_of(network), [conv for unit in network.units for conv in convolutions(unit)]
    assert stem is not None, "a plain convolutional net is covered with a stem only"
    sums, variances = yield from _deviations(stem, convs, images, width, depths, closures)
    for station in InfiniteWidthWalk(network, images, depths=depths):
        depth, loc, moments = station.depth, station.loc, station.moments
        if loc is None:
            continue
        behind = depth if loc == "act" or not depth else depth - 1
        at = variances(behind)
        (nu2, noise), (nu2_variance, noise_variance) = sums[depth, loc]
        mu2 = at["log_mu2_signal"] + (variances(depth)["sampled"] if loc == "conv" else 0.0)
        laws: Laws = {
            "log_nu2_signal": Lognormal(moments["log_nu2_signal"] + nu2, nu2_variance),
            "log_mu2_signal": Lognormal(moments["log_mu2_signal"] - 0.5 * mu2, mu2),
            "log_mu2_noise": Lognormal(moments["log_mu2_noise"] + noise, noise_variance),
        }
        laws["log_chi"] = chi_moment(laws["log_mu2_noise"], laws["log_mu2_signal"], log_input, at["shared"])
        if "reff_signal" in moments:
            rank = moments["reff_signal"]
            laws["reff_signal"] = Lognormal(rank, (rank - 1.0) ** 2 * at["reff_signal"])
        yield depth, loc, laws


#: By depth and station: shifts of the means (2,) and variances (2,) of log nu2 and log mu2 of the noise.
_Sums = dict[tuple[int, str], np.ndarray]


def _deviations(
    stem: Conv, convs: list[Conv], images: np.ndarray, width: int, depths: frozenset[int], closures: Closures
) -> Generator[Passing, None, tuple[_Sums, Callable[[int], dict[str, float]]]]:
    """What sampling does, over the depth; yields (layer, None, None) on its way.

    Returns
    -------
    sums : dict
        By depth and station: shifts of the means (2,) and variances (2,) of log nu2 and log mu2 of the noise.
    variances : callable
        Of the depth, of an activation: `covariance_backward.deviations` over the width.
    """
    standing = Representation.of(stem, images, MOST_POINTS)
    signal, noise = standing.signal.copy(), standing.noise.copy()
    (count, *sides), grid = standing.grid, (1, *standing.grid[1:])
    level = convolve_diagonal(np.ones(math.prod(images.shape[1:3])), (1, *images.shape[1:3]), stem)
    weights = _Weights(standing, convs)
    c = correlations(signal.dense())[0]
    sampled = _law(weights.pairs(2.0 * c * c, signal.diagonal, 0) / width, closures.skewness_square)
    # The noises of two points after the stem have the correlation of random vectors of its inputs.
    points = len(images) * math.prod(sides)
    first = 2.0 * (1.0 / points + (1.0 - 1.0 / points) * standing.chance) / width
    # Shift of the mean and variance of log nu2 and of log mu2 of the noise, by the depth where they are seen.
    drawn = draw_variance(inputs_seen(images.shape, stem, weights.later[:, : math.prod(sides)]))
    sums = np.stack([sampled, _law(first + drawn, closures.skewness_square)])
    found: _Sums = {(0, "input"): sums[..., 0].T}
    levels: list[np.ndarray] = []
    for depth, conv in enumerate(convs, 1):
        yield depth, None, None
        found[depth, "input"] = sums[..., depth - 1].T
        convolve(signal, noise, conv, None)
        level = convolve_diagonal(level / level.mean(), grid, conv)
        levels.append(np.tile(level, count))
        relu = ReluMoments.of(correlations(signal.dense())[0])
        sampled = _law(
            weights.pairs(2.0 * relu.c**2, signal.diagonal, depth) / width, closures.skewness_square
        )
        found[depth, "conv"] = (sums[..., depth - 1] + np.stack([sampled[:, depth], np.zeros(2)])).T
        rectified = weights.pairs(4.0 * relu.j2 - 1.0, signal.diagonal, depth) / width
        masked = weights.pairs(4.0 * relu.k0 - 1.0, levels[-1], depth) / width
        sums = sums + np.stack(
            [_law(rectified, closures.skewness_rectified), _law(masked, closures.skewness_mask)]
        )
        activate(signal, noise, ReLU())
        found[depth, "act"] = sums[..., depth].T

    def masks(layer: int, depth: int) -> np.ndarray:
        seen = weights.later[depth - layer] * levels[layer - 1]
        return seen / seen.sum()

    nodes = backward_depths(depths, NODES)
    at = yield from deviations(standing, convs, masks, nodes)
    scaled = [{name: value / width for name, value in each.items()} for each in at]
    return found, interpolated_between(nodes, scaled)


def _law(v: np.ndarray, skewness: float) -> np.ndarray:
    """Mean and variance of log(1 + x) for increments x of these variances; shape (2, ...), up to O(v^3)."""
    return np.stack([-0.5 * v + (skewness / 3.0 - 0.75) * v**2, v + (2.5 - skewness) * v**2])


class _Weights:
    """Weights of pairs of points in what is seen at every depth.

    Parameters
    ----------
    standing : Representation
    convs : sequence of Conv
        All alike.
    """

    def __init__(self, standing: Representation, convs: list[Conv]):
        grid = standing.grid
        images, positions = grid[0], grid[1] * grid[2]
        later = np.ones((len(convs) + 1, positions))
        if convs:
            average = standing.average(convs[0])
            for k in range(len(convs)):
                later[k + 1] = later[k] @ average
        self.later = np.tile(later, images)
        #: Share of a pair of points in a mean over pairs.
        self.share = np.repeat(np.repeat(standing.of_images, positions, 0), positions, 1)
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
