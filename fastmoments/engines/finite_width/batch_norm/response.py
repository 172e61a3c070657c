"""Response of batch norm and ReLU to a covariance that is itself a sample: moments, slopes, memories.

The channels y of a layer are N(0, S) given S, the Gram matrix of N channels before. S fluctuates
about its mean: off the diagonal by a relative variance q per pair, so that S acts like a covariance of
1/q samples of the mean (`quadrature`), and on the diagonal by whole factors (`norm_diffusion`). Everything
here is for one batch of M points, M x M matrices, exact to O(1/N) but for the closure that all pairs have
the same q.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ....kernels.mixtures import rectified_mixture
from ....maps.batch_norm import TOLERANCE
from ....maps.quadrature import BatchNormWeight
from ..closures import CLOSURES, Closures
from ..shared.matrices import centred, mean_of_pairs
from ..shared.relu_moments import correlation_of_squares, correlations


@dataclass(frozen=True)
class BatchNormResponse:
    """Response of batch norm and ReLU to a mean covariance S: moments, derivatives and sampling variances.

    Attributes
    ----------
    log_inverse : float
        Logarithm of E 1 / (q + eps): the factor on the noise variance.
    shared : float
        What the noise variance before batch norm loses to what it shares with the signal by the weights
        of the first layer.
    directions : float
        The same for a signal-noise covariance that is alike in all directions, in units of its variance;
        2 for epsilon 0.
    inverse_square : float
        E (q + eps)^-2 / (E (q + eps)^-1)^2.
    inverse_order_2 : float
        Of its excess over 1, the share that is of order 2 in the channel's amplitude: 2 sum_k h_k^2 with h_k
        the derivative of `log_inverse` by the logarithm of eigenvalue k.
    inverse_with_variance : float
        Relative covariance of 1 / (q + eps) and q over channels.
    mu2, nu1, mu4 : float
        mu2, nu1 and mu4 after batch norm.
    inverse_slope : shape (M,)
        Derivative of `log_inverse` by log S_ii.
    leading_kurtosis : float
        E g^4 / (E g^2)^2 of the channels' projection on the leading eigenvector of S.
    kernel : shape (M, M)
        E relu(z) relu(z)', not centred.
    memory : float
        f: how much of a relative fluctuation of S_ij, i != j, is left in the centred kernel.
    group_memory : float
        The same for fluctuations that all points of a group share.
    signal_noise_memory : float
        The same for the covariance of signal and noise.
    masks, squared_masks : float
        Means over pairs of k0 and k0^2.
    kurtosis, pair_kurtosis : float
        E z_i^4 / (E z_i^2)^2 over points; E z_i^2 z_j^2 / (E z^2)^2 over pairs: N times the relative
        variance of a sampled S_ij.
    response : shape (M, M)
        d log S'_ii / d log S_kk of the diagonals, S' the centred kernel.
    fresh : shape (M, M)
        N times the covariance given S of log S'_ii and log S'_jj, relative to log tr S': that of log S'_ii is
        E a_i^4 / (E a_i^2)^2 - 1 of the centred activation a, and two are correlated as the squares of two
        rectified Gaussians of the covariance int w S_s of degree 4 (heuristic: one covariance for all s).
    values, vectors : shape (M,), (M, M)
        Eigenvalues and eigenvectors of S.
    others : list of GaussianMixture
        Of nu1 and mu4.
    """

    log_inverse: float
    shared: float
    directions: float
    inverse_square: float
    inverse_order_2: float
    inverse_with_variance: float
    mu2: float
    nu1: float
    mu4: float
    inverse_slope: np.ndarray
    kernel: np.ndarray
    memory: float
    group_memory: float
    signal_noise_memory: float
    masks: float
    squared_masks: float
    leading_kurtosis: float
    kurtosis: float
    pair_kurtosis: float
    response: np.ndarray
    fresh: np.ndarray
    values: np.ndarray
    vectors: np.ndarray
    others: list[GaussianMixture]

    @cached_property
    def slopes(self) -> tuple[np.ndarray, np.ndarray]:
        """Derivatives of log nu1 and log mu4 after batch norm by log S_ii, each of shape (M,)."""
        absolute, fourth = self.others
        return _slope(absolute, self.vectors, 0.5), _slope(fourth, self.vectors, 2.0)


@dataclass(frozen=True)
class GaussianMixture:
    """The Gaussians of one quadrature rule: weights of its nodes, ``t = 2 s / M``, their damped spectra."""

    weights: np.ndarray
    t: np.ndarray
    variances: np.ndarray
    damped: np.ndarray

    @classmethod
    def of(cls, weight: BatchNormWeight, vectors: np.ndarray, power: float, decay: float) -> GaussianMixture:
        """The Gauss rule for s^power of functions that fall like s^-decay (`BatchNormWeight.rule`)."""
        rule = weight.rule(power, decay, TOLERANCE)
        damped = weight.damping(rule.nodes).of(weight.eigenvalues)
        return cls(rule.weights, 2.0 / weight.points * rule.nodes, damped @ (vectors**2).T, damped)

    def covariances(self, vectors: np.ndarray) -> np.ndarray:
        """The covariance of every node, shape (nodes, M, M)."""
        found = np.empty((len(self.damped), *vectors.shape))
        for each, damped in zip(found, self.damped, strict=True):
            roots = vectors * np.sqrt(damped)
            np.matmul(roots, roots.T, out=each)  # of a matrix with itself: half the operations
        return found


def batch_norm_response(
    covariance: np.ndarray,
    epsilon: float,
    pair_variance: float,
    signal_noise: np.ndarray | None = None,
    group: int = 1,
    closures: Closures = CLOSURES,
) -> BatchNormResponse:
    """Send a centred mean covariance through batch norm and ReLU.

    Parameters
    ----------
    covariance : shape (M, M)
        Mean of the centred covariance S.
    epsilon : float
        In the units of S.
    pair_variance : float
        q, relative variance of S_ij over nets; 0 at infinite width.
    signal_noise : shape (M, M), optional
        E C C', C the covariance of signal and noise that the first weights bring about, per noise point
        (as `maps.overlap` follows it at infinite width).
    group : int
        Points of an image, which stand one after the other.

    Raises
    ------
    ValueError
        If epsilon is 0 and the batch has a rank below 3.
    """
    points = len(covariance)
    values, vectors = np.linalg.eigh(covariance)
    values = np.maximum(values, 0.0)
    if epsilon == 0.0 and np.count_nonzero(values > 1e-10 * values[-1]) < 3:
        raise ValueError(
            "BatchNorm with epsilon 0 needs a batch of rank 3 or more, because the inverse batch variance "
            "has no mean below that; use an epsilon above 0 or at least 4 different images."
        )
    weight = _weight(values, epsilon, pair_variance)
    inverse = weight.integral()
    damping = weight.mean_damping(values)
    shares = 0.0 if signal_noise is None else np.sum(vectors * (signal_noise @ vectors), axis=0)
    mix = GaussianMixture.of(weight, vectors, 0.0, 1.0)
    variances = mix.weights @ mix.variances
    level, diagonal = float(variances.mean()), np.diag(covariance)

    pairs, own = mix.covariances(vectors), np.arange(points)
    inside = mix.variances
    if group > 1:
        blocks = pairs.reshape(len(pairs), points, points // group, group).sum(3)
        inside = np.take_along_axis(blocks, (own // group)[None, :, None], 2)[:, :, 0]
    # An error d becomes (I + t S)^-1 d (I + t S)^-1 in S_s, and (I + t S)^-1 = I - t S_s.
    kernel, masks, *survives, squares = rectified_mixture(pairs, mix.weights, mix.t, mix.t[:, None] * inside)
    masks /= mix.weights.sum()
    behind = np.diag(centred(kernel))
    # Of an error relative to the points' deviations, before and after.
    relative = np.sqrt(np.maximum(diagonal, 0.0) / np.maximum(behind, 1e-300))
    # No error grows; where one point dominates, a mean over pairs would say so.
    alone, together = (
        min(mean_of_pairs(each * np.outer(relative, relative)), closures.most_memory) for each in survives
    )

    absolute, fourth = _of_other_degrees(weight, vectors)
    per_point = 3.0 * (fourth.weights @ fourth.variances**2)
    mu4 = float(per_point.mean())
    kurtosis = mu4 / level**2

    def top(mix: GaussianMixture, power: float) -> float:
        return float(mix.weights @ mix.damped[:, -1] ** power)

    inverse_square = weight.integral(1.0) / inverse**2
    by_values = -0.5 * mix.weights @ (mix.t[:, None] * mix.damped) / inverse
    fourth_ratio, slope = _centred_relu(np.sqrt(variances))
    deviations = np.sqrt(np.maximum(fourth_ratio * per_point / (3.0 * variances**2) - 1.0, 0.0))
    # Batch norm holds strong modes: squares are correlated as in the covariance that degree 4 sees.
    held = (vectors * (fourth.weights @ fourth.damped)) @ vectors.T
    fresh = np.outer(deviations, deviations) * correlation_of_squares(correlations(held)[0])
    return BatchNormResponse(
        log_inverse=math.log(inverse),
        shared=float(np.sum(damping * shares)),
        directions=float(damping @ values),
        inverse_square=inverse_square,
        inverse_order_2=min(2.0 * float(by_values @ by_values) / max(inverse_square - 1.0, 1e-300), 1.0),
        inverse_with_variance=level / (max(float(diagonal.mean()), 1e-300) * inverse) - 1.0,
        mu2=level,
        nu1=_absolute(absolute),
        mu4=mu4,
        kernel=kernel,
        memory=alone,
        group_memory=together,
        signal_noise_memory=alone * math.sqrt(float(behind.sum()) / (0.5 * points * level)),
        masks=mean_of_pairs(masks),
        squared_masks=mean_of_pairs(masks**2),
        kurtosis=kurtosis,
        pair_kurtosis=(points - kurtosis) / max(points - 1, 1),
        inverse_slope=-0.5 * mix.weights @ (mix.t[:, None] * mix.variances) / inverse,
        leading_kurtosis=3.0 * top(fourth, 2.0) / top(mix, 1.0) ** 2,
        response=slope[:, None] * _response(mix, squares),
        fresh=_apart(fresh, behind),
        values=values,
        vectors=vectors,
        others=[absolute, fourth],
    )


def shared_weights_ratio(through: BatchNormResponse, epsilon: float, inputs: int) -> float:
    """E nu^4 / q^2 / (E nu^2 / q)^2 over E q^-2 / (E 1 / q)^2 behind the layer that sees the images.

    There a channel is w x and its noise w dx, of the same weights on so many inputs: one whose q is small by
    chance has a small nu^2 = |w|^2 as well. For many inputs it is next to 1.
    """
    values = np.zeros(inputs)
    seen = min(inputs, len(through.values))
    values[:seen] = through.values[-seen:]
    together = _weight(through.values, epsilon, 0.0).inverse_square_of_shared_weights(values)
    return together / through.inverse_square


def _weight(values: np.ndarray, epsilon: float, pair_variance: float) -> BatchNormWeight:
    samples = 1.0 / pair_variance if pair_variance > 0.0 else math.inf
    return BatchNormWeight(values, np.ones(len(values)), len(values), epsilon, samples)


def _of_other_degrees(weight: BatchNormWeight, vectors: np.ndarray) -> list[GaussianMixture]:
    """The Gaussians for functions of degree 1 and 4, of nu1 and mu4."""
    return [GaussianMixture.of(weight, vectors, power - 1.0, power) for power in (0.5, 2.0)]


def _absolute(mix: GaussianMixture) -> float:
    """nu1 by its Gaussians."""
    return math.sqrt(2.0) / math.pi * float(mix.weights @ np.sqrt(mix.variances).mean(1))


def _centred_relu(roots: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """E a^4 / (E a^2)^2 and d log E a^2 / d log sigma^2 for a = relu(sigma g) - m, at every sigma.

    m, the mean over the other points, is that of a Gaussian of their mean deviation.
    """
    moments = [1.0, 1.0 / math.sqrt(2.0 * math.pi), 0.5, math.sqrt(2.0 / math.pi), 1.5]  # of relu(g)
    mean = float(roots.mean()) * moments[1]
    first, second, third, fourth = (moments[k] * roots**k for k in (1, 2, 3, 4))
    square = second - 2.0 * first * mean + mean**2
    quartic = fourth - 4.0 * third * mean + 6.0 * second * mean**2 - 4.0 * first * mean**3 + mean**4
    return quartic / square**2, (second - first * mean) / square


def _slope(mix: GaussianMixture, vectors: np.ndarray, power: float) -> np.ndarray:
    """Derivatives by log S_kk, at fixed correlations, of log int w mean_i (S_s)_ii^power.

    With S_s = (S^-1 + t)^-1 they are of (S_s)_ii and of log w

        (S_s)_ii delta_ik - t (S_s)_ik^2    and    - t (S_s)_kk / 2.
    """
    t = mix.t[:, None]
    terms = mix.variances**power
    squares = t[:, :, None] * mix.covariances(vectors) ** 2
    own = terms - np.einsum("si,sik->sk", mix.variances ** (power - 1.0), squares)
    change = power / terms.shape[1] * own - 0.5 * t * mix.variances * terms.mean(1, keepdims=True)
    return mix.weights @ change / float(mix.weights @ terms.mean(1))


def _apart(fluctuation: np.ndarray, norms: np.ndarray) -> np.ndarray:
    """Of logarithms of norms, relative to that of their sum, which the next batch norm divides by."""
    apart = np.eye(len(norms)) - norms / max(float(norms.sum()), 1e-300)
    return apart @ fluctuation @ apart.T


def _response(mix: GaussianMixture, squares: np.ndarray) -> np.ndarray:
    """Derivatives by log S_kk of log int w (S_s)_ii, likewise; `squares` is int w t (S_s)_ik^2."""
    total = mix.weights @ mix.variances
    change = -0.5 * (mix.weights[:, None] * mix.variances).T @ (mix.t[:, None] * mix.variances) - squares
    np.einsum("ii->i", change)[...] += total
    return change / total[:, None]
