"""Gauss rules for the weight by which batch norm mixes Gaussians.

With q = |y|^2 / M for y ~ N(0, S) over the M points of a batch, writing 1/(q + eps) as an
exponential integral gives, for every f that is homogeneous of degree two,

    E[f(y) / (q + eps)] = int_0^inf w(s) E[f(y_s)] ds,    y_s ~ N(0, S_s),
    w(s) = exp(-s eps) det(I + 2 s S / M)^(-1/2),         S_s = S (I + 2 s S / M)^(-1),

exact at a finite batch. Other degrees bring a power of s: s for degree four (mu4) and
(pi s)^(-1/2) for degree one (nu1). Here the weight is put on a fine logarithmic grid, which needs
only the eigenvalues of S, and the Lanczos recursion turns it into a Gauss rule in the variable
x = c s / (1 + c s), c = 2 tr(S^2) / (M tr S), in which the integrands are almost polynomials.
The trapezoidal rule on the grid converges exponentially: its own error is at rounding.

At finite width S itself is the covariance of some number n of samples of a mean covariance T. Then, up to
O(1/n^2), with t = 2 s / M (the deterministic equivalents of random matrix theory, e.g. Couillet and
Debbah, 2011)

    E S (I + t S)^(-1) = kappa T (I + t kappa T)^(-1),    1 / kappa = 1 + (t / n) tr T (I + t kappa T)^(-1),
    E log det(I + t S) = log det(I + t kappa T) + n (kappa - 1 - log kappa).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy.linalg.lapack import dstev

GRID_STEP = 0.25
GRID_REACH = 40.0
MAX_NODES = 64


@dataclass(frozen=True)
class Rule:
    """Nodes s and weights: ``sum(weights * f(nodes))`` is the integral of ``s^power w(s) f(s)``.

    `error` is the largest relative error of the rule on the damped eigenvalues, weighted by their
    share of the trace.
    """

    nodes: np.ndarray
    weights: np.ndarray
    error: float


@dataclass(frozen=True)
class Damping:
    """kappa and ``t = 2 kappa s / M`` at every node: S_s = kappa S (I + t S)^(-1); shape (nodes,)."""

    kappa: np.ndarray
    t: np.ndarray

    def of(self, values: np.ndarray) -> np.ndarray:
        """Eigenvalues of S_s at every node, shape (nodes, r), from those of S."""
        return self.kappa[:, None] * values / (1.0 + np.outer(self.t, values))


class BatchNormWeight:
    """The weight w(s) of one covariance.

    Parameters
    ----------
    eigenvalues : ndarray, shape (r,)
        Non-negative eigenvalues of the centred covariance S.
    counts : ndarray, shape (r,)
        Multiplicity of each; not whole numbers where one value stands for a whole bulk.
    points : int
        M.
    epsilon : float
        In the units of S.
    samples : float
        n, of how many samples S is the covariance; the eigenvalues are those of its mean T.
    """

    def __init__(
        self,
        eigenvalues: np.ndarray,
        counts: np.ndarray,
        points: int,
        epsilon: float,
        samples: float = np.inf,
    ) -> None:
        self.eigenvalues = eigenvalues
        self.counts = counts
        self.points = points
        self.epsilon = epsilon
        self.samples = samples
        trace = counts @ eigenvalues
        grid = np.arange(-GRID_REACH, GRID_REACH + GRID_STEP, GRID_STEP)
        self._s = np.exp(grid) / (trace / points + epsilon)
        kappa = self.shrinkage(self._s)
        damping = 1.0 + np.outer(kappa * self._s, 2.0 / points * eigenvalues)
        self._log_weight = -0.5 * np.log(damping) @ counts - epsilon * self._s
        if samples < np.inf:
            lost = (1.0 - 1.0 / damping) @ counts / samples  # 1 - kappa, without cancellation
            log_kappa = np.where(lost < 0.5, np.log1p(-np.minimum(lost, 0.5)), np.log(kappa))
            self._log_weight += 0.5 * samples * (lost + log_kappa)
        self._share = counts * eigenvalues / trace
        self._damped = self._share * kappa[:, None] / damping
        # Where epsilon rules, the weight ends at 1 / epsilon, far below the scale of the damping.
        self._c = max(2.0 * (counts @ eigenvalues**2) / (points * trace), 1e-4 * epsilon)

    def shrinkage(self, s: np.ndarray) -> np.ndarray:
        """The factor kappa at each s; 1 when S is known exactly."""
        kappa = np.ones_like(s)
        if self.samples == np.inf:
            return kappa
        t = 2.0 / self.points * np.outer(s, self.eigenvalues)
        kappa = kappa * 0.0
        # kappa + (1/n) sum t kappa lambda / (1 + t kappa lambda) = 1 is rising and concave: Newton's steps
        # from 0 approach the root from below.
        for _ in range(60):
            damping = 1.0 + kappa[:, None] * t
            excess = kappa + (kappa[:, None] * t / damping) @ self.counts / self.samples - 1.0
            step = -excess / (1.0 + (t / damping**2) @ self.counts / self.samples)
            kappa = kappa + step
            if np.all(np.abs(step) <= 1e-14 * kappa):
                break
        return kappa

    def damping(self, s: np.ndarray) -> Damping:
        """What the weight makes of S at each s."""
        kappa = self.shrinkage(s)
        return Damping(kappa, 2.0 / self.points * s * kappa)

    def integral(self, power: float = 0.0) -> float:
        """Integral of ``s^power w(s)`` on the fine grid."""
        return float(GRID_STEP * np.sum(np.exp(self._log_weight + (1.0 + power) * np.log(self._s))))

    def inverse_square_of_shared_weights(self, values: np.ndarray) -> float:
        """E (p / q)^2 / (E p / q)^2 of a channel whose Gaussian weights w make p as well as its variance q.

        p = sum_k w_k^2 and q = eps + sum_k values_k w_k^2 / M; the values are all eigenvalues, and a 0 for
        every weight that q does not see. Sums of 1 / (1 + 2 s value / M) under the weight.
        """
        weight = GRID_STEP * np.exp(self._log_weight) * self._s
        left = 1.0 / (1.0 + 2.0 / self.points * np.outer(self._s, values))
        once, squares = left.sum(1), (left**2).sum(1)
        return float((weight * self._s) @ (once**2 + 2.0 * squares) / (weight @ once) ** 2)

    def mean_damping(self, values: np.ndarray) -> np.ndarray:
        """Mean of ``t / (1 + t value)``, t = 2 s / M, under the weight, for each value."""
        weight = np.exp(self._log_weight) * self._s
        t = 2.0 / self.points * self._s
        return (weight / weight.sum()) @ (t[:, None] / (1.0 + np.outer(t, values)))

    def rule(self, power: float, decay: float, tolerance: float, quadratic: bool = False) -> Rule:
        """Gauss rule for ``s^power w(s) f(s)`` with as few nodes as the tolerance allows.

        Parameters
        ----------
        power : float
        decay : float
            f falls like s^(-decay) for large s.
        tolerance : float
            Bound on `Rule.error`, unless it would take more than `MAX_NODES` nodes.
        quadratic : bool
            Whether f holds squares of s times damped eigenvalues; the rule is tested on these then.
        """
        rest = 1.0 / (1.0 + self._c * self._s)
        log_mass = self._log_weight + (1.0 + power) * np.log(self._s) + decay * np.log(rest)
        mass = GRID_STEP * np.exp(log_mass)
        keep = mass > 1e-300
        mass, x, rest = mass[keep], (self._c * self._s * rest)[keep], rest[keep]
        # Tested on the damped eigenvalues, brought to the decay that is asked for.
        exact = self._damped[keep] / rest[:, None]
        exact = mass @ (self._squares(exact, x) if quadratic else exact)
        for diagonal, below in _jacobi_matrices(x, mass):
            # As scipy.linalg.eigh_tridiagonal, whose checks take ten times as long as these small matrices.
            at_x, vectors, _ = dstev(diagonal, below) if below.size else (diagonal, np.ones((1, 1)), 0)
            at_x = np.clip(at_x, x[0], x[-1])
            weights = mass.sum() * vectors[0] ** 2
            nodes = at_x / (1.0 - at_x) / self._c
            kappa = self.shrinkage(nodes)
            damped = np.outer(kappa * nodes, 2.0 / self.points * self.eigenvalues)
            damped = self._share * kappa[:, None] / (1.0 + damped)
            if quadratic:
                found = weights @ self._squares(damped / (1.0 - at_x)[:, None], at_x)
            else:
                found = (weights / (1.0 - at_x)) @ damped
            error = float(np.abs(found - exact).sum() / exact.sum())
            if error <= tolerance:
                break
        weights = weights / (1.0 - at_x) ** decay
        used = weights > 0.0  # a node between two values of the grid may have none
        return Rule(nodes[used], weights[used], error)

    def _squares(self, tested: np.ndarray, x: np.ndarray) -> np.ndarray:
        """Squares of s times damped eigenvalues, up to factors, from the damped ones over 1 - x."""
        return self._share * (x[:, None] * tested / np.where(self._share > 0.0, self._share, 1.0)) ** 2


def _jacobi_matrices(x: np.ndarray, mass: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield the Jacobi matrices (diagonal, below it) of the discrete measure `mass` on `x`, growing."""
    basis = np.sqrt(mass / mass.sum())[None, :]
    diagonal: list[float] = []
    below: list[float] = []
    while len(diagonal) < MAX_NODES:
        vector = x * basis[-1]
        diagonal.append(float(vector @ basis[-1]))
        yield np.array(diagonal), np.array(below)
        for _ in range(2):  # orthogonalising twice is enough
            vector = vector - (basis @ vector) @ basis
        norm = float(np.linalg.norm(vector))
        if norm < 1e-14:
            return
        below.append(norm)
        basis = np.vstack([basis, vector / norm])
