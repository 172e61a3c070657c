"""Batch norm at a finite batch: the spectrum of the centred covariance, and the map.

The formula is in `quadrature`: batch norm turns one Gaussian into a weighted set of Gaussians S_s.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ..covariances.eigenpairs import leading_pairs
from ..covariances.scales import log
from ..covariances.storage import Covariance, NoiseCovariance, pairs
from ..nets.activations import PiecewiseLinear
from .activation import coefficients, mask_target, settle
from .marginals import Marginals, roots_and_inverses
from .moving_statistics import move_statistics
from .overlap import Overlap
from .quadrature import BatchNormWeight, Damping

#: Up to this many points batch norm uses every eigenpair; above, the leading ones and a bulk.
DENSE_POINTS = 320
#: The leading ones have at least this share of the trace; so many they are at least, and at most.
SHARE, LEAST_RANK, MOST_RANK = 5e-3, 8, 64
#: Spare vectors of the iteration for them, and its products per layer, at most: a layer that hardly turns
#: the eigenvectors needs one (`eigenpairs.leading_pairs`: residual), the first has nothing to start from.
SPARE, ITERATIONS, WARM_UP, RESIDUAL = 8, 2, 4, 1e-2
#: Error allowed to the quadrature of batch norm (`quadrature.Rule.error`): with every eigenpair, and
#: where the bulk's error is larger anyway.
TOLERANCE, BULK_TOLERANCE = 1e-7, 1e-5
#: Epsilon relative to the variance of the signal beyond which nothing is left of the batch variance q in
#: q + epsilon, so that a larger one only divides more.
MOST_EPSILON = 1e13


@dataclass(frozen=True)
class Spectrum:
    """Eigenpairs of a centred covariance S, and a bulk B = S - U values U' known by its diagonals.

    Attributes
    ----------
    values : shape (r,)
    vectors : shape (points, r)
    bulk : shape (points,)
        Diagonal of B; zero when the eigenpairs are all there.
    bulk_rate : shape (points,)
        (B^2)_pp / B_pp, the eigenvalue that the bulk has as seen from a point.
    edge : float
        Largest eigenvalue of the bulk.
    turned : shape (r,)
        How far the eigenvectors are from the end of their iteration (`eigenpairs.leading_pairs`).
    block : shape (points, k)
        The vectors of the iteration, spare ones included: to start the next from.
    """

    values: np.ndarray
    vectors: np.ndarray
    bulk: np.ndarray
    bulk_rate: np.ndarray
    edge: float
    turned: np.ndarray
    block: np.ndarray

    def bulk_damping(self, damping: Damping) -> np.ndarray:
        """Factor on either side of B at every node, shape (nodes, points).

        Zero where every eigenpair is there: what is left of B is rounding then, which nothing would damp.
        """
        if not self.bulk.any():
            return np.zeros((damping.t.size, self.bulk.size))
        return np.sqrt(damping.kappa)[:, None] / np.sqrt(1.0 + np.outer(damping.t, self.bulk_rate))

    def bulk_error(self, weight: BatchNormWeight, damped: np.ndarray) -> float:
        """Estimate of the relative Frobenius error of the mean of S (I + t S)^(-1) that the bulk brings.

        To first order in t the bulk errs by t (B^2 - (rate B + B rate) / 2), whose norm is at most about
        t `edge` |B|. An eigenvector that is turned by delta couples to the bulk by `edge` delta, which is
        damped on one side only, so that t lambda / (1 + t lambda) of it is wrong.

        Parameters
        ----------
        weight : BatchNormWeight
            Over which t is averaged.
        damped : shape (r,)
            Mean of the damped eigenvalues.
        """
        square = float(self.bulk @ self.bulk_rate)
        if not square:
            return 0.0
        rate = self.edge * float(weight.mean_damping(np.array([self.edge]))[0])
        turned = self.edge * self.turned * self.values * weight.mean_damping(self.values)
        wrong = rate**2 * square + 2.0 * float(turned @ turned)
        return math.sqrt(wrong / (float(damped @ damped) + square))

    @property
    def weighted_values(self) -> tuple[np.ndarray, np.ndarray]:
        """Eigenvalues and multiplicities, the bulk as one value with its first two moments."""
        mass = float(self.bulk.sum())
        if mass <= 0.0:
            return self.values, np.ones_like(self.values)
        rate = float(self.bulk @ self.bulk_rate) / mass
        return np.append(self.values, rate), np.append(np.ones_like(self.values), mass / rate)

    def variances(self, damping: Damping) -> np.ndarray:
        """Diagonal of the damped S at every node, shape (nodes, points)."""
        bulk = damping.kappa[:, None] * self.bulk / (1.0 + np.outer(damping.t, self.bulk_rate))
        return damping.of(self.values) @ (self.vectors**2).T + bulk


def spectrum(signal: Covariance, start: np.ndarray | None, rank: int | None) -> Spectrum:
    """Spectrum of the centred signal covariance, in the scale of its blocks.

    All pairs up to `DENSE_POINTS` points or when `rank` reaches them, else the leading ones by a block
    iteration from `start` and a bulk that is described point by point: `rank` of them, or by `SHARE`.
    """
    points = signal.points
    nothing = np.zeros(points)
    if (rank is None and points <= DENSE_POINTS) or (rank or 0) + SPARE >= points:
        centred = signal.centred_product(np.eye(points))
        values, vectors = np.linalg.eigh(0.5 * (centred + centred.T))
        return Spectrum(np.maximum(values, 0.0), vectors, nothing, nothing, 0.0, nothing, vectors[:, :0])
    if start is not None and not start.shape[1]:
        start = None
    count = SPARE + (rank or LEAST_RANK)
    if rank is None and start is not None:
        count = max(count, start.shape[1])
    iterations = ITERATIONS if start is not None else ITERATIONS + WARM_UP
    rounding = 100.0 * float(np.finfo(signal.blocks.dtype).eps)
    diagonal = signal.centred_diagonal
    while True:
        values, block, turned = leading_pairs(
            signal.centred_product, start, count, iterations, points, residual=RESIDUAL, floor=rounding
        )
        leading = int(np.count_nonzero(values >= SHARE * diagonal.sum()))
        if rank is not None or leading <= count - SPARE or count >= MOST_RANK + SPARE:
            break
        start, count = block, min(leading + 2 * SPARE, MOST_RANK + SPARE)
    kept = rank or min(max(leading, LEAST_RANK), MOST_RANK)
    edge = float(values[min(kept, values.size - 1)])
    block = block[:, : kept + SPARE]
    values, vectors, turned = values[:kept], block[:, :kept], turned[:kept]
    bulk = diagonal - vectors**2 @ values
    if bulk.sum() <= rounding * values.sum():  # the rank is below what was asked for
        return Spectrum(values, vectors, nothing, nothing, 0.0, turned, block)
    square = signal.centred_square_diagonal() - vectors**2 @ values**2
    bulk = np.maximum(bulk, rounding * diagonal.mean())
    return Spectrum(values, vectors, bulk, np.maximum(square, 0.0) / bulk, edge, turned, block)


@dataclass(frozen=True)
class Normalised:
    """What batch norm leaves beside the covariances.

    Attributes
    ----------
    station : Marginals
        Behind the batch norm, before the ReLU.
    known : dict
        `Marginals.known` of where the signal stands now.
    rank : float
        Effective rank of the signal behind the batch norm, which keeps the eigenvectors.
    vectors : ndarray, shape (points, r)
        To start the search for eigenpairs at the next layer.
    error : float
        Estimate of the relative error of the covariance: the largest of the quadrature's, the bulk's
        (`Spectrum.bulk_error`) and that of the trace, which is known exactly.
    inverse_square : float
        E (q + eps)^-2 / (E (q + eps)^-1)^2: one and the relative variance over channels of the factor on the
        noise.
    kurtosis : float
        Excess of the fourth moment at a point over that of a Gaussian, mean over points by squared variance.
    absolute_share : ndarray, shape (points,), or None
        E |y| behind the batch norm, before the activation, relative to that of a Gaussian of the same mean
        square; None without `detail`.
    between : NoiseCovariance or None
        Behind the batch norm, before the activation, where the noise moves the statistics.
    """

    station: Marginals
    known: dict[str, float | None]
    rank: float
    vectors: np.ndarray
    error: float
    inverse_square: float
    kurtosis: float
    absolute_share: np.ndarray | None = None
    between: NoiseCovariance | None = None


def normalise(
    signal: Covariance,
    noise: NoiseCovariance,
    epsilon: float,
    activation: PiecewiseLinear | None,
    *,
    start: np.ndarray | None = None,
    rank: int | None = None,
    detail: bool = True,
    overlap: Overlap | None = None,
    samples: float = math.inf,
    gamma: float = 1.0,
    moving: bool = False,
) -> Normalised:
    """Batch norm of a Gaussian signal at a finite batch, and the activation behind it, in place.

    The batch norm is exact but for the quadrature (`TOLERANCE`) and, above `DENSE_POINTS` points,
    the bulk of the spectrum, whose relative error per layer is of the order of 1e-4 in K; see
    `quadrature` for the formula. The noise is divided by the standard deviation; it does not flow
    through it, unless `moving`. What it has in common with the signal is taken into account in its
    mean variance (see `overlap`).

    Parameters
    ----------
    signal, noise : overwritten
    epsilon : float
    activation : PiecewiseLinear or None
    start : ndarray, shape (points, k), optional
        Where the search for leading eigenpairs starts: `Normalised.vectors` of an earlier call.
    rank : int, optional
        Leading eigenpairs to use; left out, all up to `DENSE_POINTS` points, else as many as matter.
    detail : bool
        Whether nu1 and mu4 of the station are wanted.
    overlap : Overlap, optional
        Of signal and noise.
    samples : float
        Of how many samples S is the covariance (`quadrature`), at finite width; `signal` is its mean.
    gamma : float
        Scale of what is normalised; being homogeneous, the activation passes it on.
    moving : bool
        Whether the noise moves the batch's mean and variance (`moving_statistics`); takes every eigenpair.

    Raises
    ------
    ValueError
        If epsilon is 0 and the batch has a rank below 3: the noise variance is infinite then.
    """
    points = signal.points
    spectral = spectrum(signal, start, points if moving else rank)
    trace = float(np.dot(*spectral.weighted_values))
    if trace <= 0.0:
        raise ValueError(
            "BatchNorm needs a signal that varies over the points of the batch; give more or larger images, "
            "or less stride."
        )
    in_units, log_square = epsilon * math.exp(min(-signal.log_scale, 700.0)), 2.0 * log(gamma)
    beyond = log(epsilon) - signal.log_scale - log(MOST_EPSILON * trace / points)
    if beyond > 0.0:
        in_units, log_square = MOST_EPSILON * trace / points, log_square - beyond
    weight = _weight(spectral, points, in_units, samples)
    tolerance = BULK_TOLERANCE if spectral.bulk.any() else TOLERANCE
    rule = weight.rule(0.0, 1.0, tolerance)
    inverse_variance = weight.integral()
    damping = weight.damping(rule.nodes)
    variances = spectral.variances(damping)
    diagonal = rule.weights @ variances
    level = float(diagonal.mean())
    exact = 1.0 - weight.epsilon * inverse_variance  # int w tr(S_s) / M, by parts
    error = max(rule.error, abs(level / exact - 1.0) if exact > 1e-6 else 0.0)
    fourth = _fourth_moment(spectral, weight, tolerance)
    kurtosis = fourth / float((diagonal * diagonal).mean()) - 3.0
    known, absolute_share = {}, None
    if detail:
        absolute = _absolute(spectral, weight, tolerance)
        known = {"log_mu4_signal": log(fourth), "log_nu1_abs_signal": log(float(absolute.mean()))}
        absolute_share = _relative(absolute, np.sqrt(2.0 / math.pi * diagonal))
    values = spectral.weighted_values[0]
    leading = rule.weights @ damping.of(values)
    damped = leading[: spectral.values.size] / inverse_variance
    error = math.hypot(error, spectral.bulk_error(weight, damped))

    if overlap is not None:
        noise.log_scale += log(_unshared(signal, noise, spectral, weight, overlap))
    between: NoiseCovariance | None = None
    if moving:
        noise.log_scale += log_square - signal.log_scale
        pairs_of_signal = spectral.values, spectral.vectors
        between, rounded = move_statistics(noise, *pairs_of_signal, weight, activation, tolerance)
        error = max(error, rounded)
    else:
        noise.log_scale += log(inverse_variance) - signal.log_scale
        noise.log_scale += log_square
    for name, power in (("log_nu1_abs_signal", 0.5), ("log_mu4_signal", 2.0)):
        if name in known:
            known[name] += power * log_square
    here = between or noise
    log_noise = here.log_scale + log(here.mean_variance())
    station = Marginals(log(level) + log_square, diagonal / level, np.zeros(points), log_noise, known)

    # The weights bring the mean variance to 1; the nodes of the noise follow those of the signal.
    nodes, weights, mask_nodes = rule.nodes, rule.weights / level, 0
    mask = np.empty((0, 0, 0))
    if activation is not None and not moving:
        mask = mask_target(signal, noise, activation)
    if mask.size:
        masks = weight.rule(0.0, 0.0, tolerance)
        mask_nodes = masks.nodes.size
        nodes = np.append(nodes, masks.nodes)
        weights = np.append(weights, masks.weights / masks.weights.sum())
        variances = np.vstack([variances, spectral.variances(weight.damping(masks.nodes))])
    damping = weight.damping(nodes)
    after = _mix(signal, spectral, damping, variances, weights, mask_nodes, activation, mask)

    signal.log_scale, signal.diagonal = station.log_scale, station.diagonal
    signal.row_sums = station.row_sums  # type: ignore[assignment]
    now: dict[str, float | None] = dict(known)
    if activation is not None:
        now = settle(signal, noise, after, activation)
        if detail:
            now["log_nu1_abs_signal"] = known["log_nu1_abs_signal"] + log(activation.absolute_moment)
    rank_behind = level * points / float(leading.max())
    inverse_square = weight.integral(1.0) / inverse_variance**2
    return Normalised(
        station, dict(now), rank_behind, spectral.block, error, inverse_square, kurtosis, absolute_share,
        between,
    )  # fmt: skip


def _relative(values: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Values relative to others, 0 where these are."""
    return np.divide(values, others, out=np.zeros_like(values), where=others > 0.0)


def _weight(spectral: Spectrum, points: int, epsilon: float, samples: float) -> BatchNormWeight:
    values, counts = spectral.weighted_values
    complete = values.size == counts.sum()
    if epsilon == 0.0 and complete and np.count_nonzero(values > 1e-10 * values.max()) < 3:
        raise ValueError(
            "BatchNorm with epsilon 0 needs a batch of rank 3 or more, because the inverse batch variance "
            "has no mean below that; use an epsilon above 0 or at least 4 different images."
        )
    return BatchNormWeight(values, counts, points, epsilon, samples)


def _fourth_moment(spectral: Spectrum, weight: BatchNormWeight, tolerance: float) -> float:
    """Of a batch-normalised Gaussian, mean over points."""
    rule = weight.rule(1.0, 2.0, tolerance)
    squares = spectral.variances(weight.damping(rule.nodes)) ** 2
    return 3.0 * float(rule.weights @ squares.mean(1))


def _absolute(spectral: Spectrum, weight: BatchNormWeight, tolerance: float) -> np.ndarray:
    """Mean absolute value of a batch-normalised Gaussian at every point."""
    rule = weight.rule(-0.5, 0.5, tolerance)
    roots = np.sqrt(spectral.variances(weight.damping(rule.nodes)))
    # sqrt(2/pi) of a Gaussian's mean absolute value, times 1/sqrt(pi) of the exponential integral.
    return math.sqrt(2.0) / math.pi * (rule.weights @ roots)


def _mix(
    signal: Covariance, spectral: Spectrum, damping: Damping, variances: np.ndarray, weights: np.ndarray,
    mask_nodes: int, activation: PiecewiseLinear | None, mask: np.ndarray,
) -> np.ndarray:  # fmt: skip
    """Run the kernel over the blocks; the sums (pairs, 2, size) of the result."""
    from ..kernels import blocks as kernels
    from ..kernels.threads import spread

    dtype = signal.blocks.dtype
    roots, inverses = roots_and_inverses(variances, dtype)
    first, second = pairs(signal.grid[0])
    after = np.zeros((first.size, 2, signal.blocks.shape[1]))
    beside = (
        signal.means,
        spectral.vectors,
        spectral.values,
        damping.of(spectral.values),
        spectral.bulk_damping(damping),
    )
    spread(
        kernels.normalise, *coefficients(activation, dtype), signal.blocks, first, second,
        *(np.ascontiguousarray(array, dtype=dtype) for array in beside),
        roots, inverses, weights.astype(dtype), mask_nodes, activation is not None, mask, after,
    )  # fmt: skip
    return after


def _unshared(
    signal: Covariance, noise: NoiseCovariance, spectral: Spectrum, weight: BatchNormWeight, overlap: Overlap
) -> float:
    """Factor on the noise variance behind batch norm for its overlap with the signal (`overlap`)."""
    shares, total = overlap.shares(spectral.vectors)
    lost = float(shares @ weight.mean_damping(spectral.values))
    if spectral.bulk.any():
        rate = np.array([float(spectral.bulk @ spectral.bulk_rate) / float(spectral.bulk.sum())])
        lost += max(total - float(shares.sum()), 0.0) * float(weight.mean_damping(rate)[0])
    exponent = -signal.log_scale - noise.log_scale
    if abs(exponent) > 300.0:
        lost, exponent = 1.0, exponent + log(lost)
    return 1.0 - lost * math.exp(exponent) / noise.mean_variance()
