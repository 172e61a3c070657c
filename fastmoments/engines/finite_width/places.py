"""Places in a plain net at finite width: their laws, and what decides them.

The mean of mu2 is closed by pairs, that of the other moments follows from martingales. Variances of the
diagonal's moments and of the noise diffuse; those of mu2, mu4 and the effective rank come from a backward
pass, made at up to `NODES` depths, between which they are interpolated.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.interpolate import PchipInterpolator

from .arc_cosine import correlations
from .chaos import Field
from .law import Law, law_of_chi
from .log_diffusion import NoiseDiffusion
from .matrices import centred, mean_of_pairs
from .pair_closure import Pairs
from .plain_noise_rank import plain_noise_rank
from .spectral_spread import spread

#: Depths at which the backward pass is made.
NODES = 16


@dataclass(frozen=True)
class Place:
    """A net behind one of its layers.

    Attributes
    ----------
    kernel : shape (M, M)
        At infinite width, of He layers.
    typical : shape (M, M)
        The same in a typical net, whose spectrum sampling has spread.
    pairs, noise
        Laws of the covariance and of the noise.
    diagonal : shape (M, M)
        Covariance over nets of log K_ii and log K_jj.
    """

    kernel: np.ndarray
    typical: np.ndarray
    pairs: Pairs
    noise: NoiseDiffusion
    diagonal: np.ndarray


def nodes_of(depths: frozenset, most: int = NODES) -> list[int]:
    """Depths of the adjoint pass: about evenly spaced in the logarithm, 0 and both ends included."""
    wanted = sorted(depths)
    if len(wanted) > most:
        places = np.unique(np.round(np.geomspace(1, max(wanted), most)).astype(int)).tolist()
    else:
        places = sorted({*wanted, *(max(depth - 1, 0) for depth in wanted)})
        if len(places) > most:
            places = wanted
    return sorted({0, *places})


def curves_through(depths: list[int], found: list[dict[str, float]]):
    """A function of depth that gives the numbers in `found`, between whose depths they are interpolated."""
    if len(depths) == 1:
        return lambda depth: found[0]
    curves = {name: PchipInterpolator(depths, [each[name] for each in found]) for name in found[0]}
    return lambda depth: {name: float(curve(depth)) for name, curve in curves.items()}


#: Of what `functionals` are the gradients.
FUNCTIONALS = ("log_mu2_signal", "log_mu4_signal", "reff_signal")


def functionals(kernel: np.ndarray) -> np.ndarray:
    """Gradients by the covariance of log mu2, log mean S_pp^2 and log (r_eff - 1), shape (3, M, M)."""
    covariance = centred(kernel)
    points, trace = len(covariance), float(np.trace(covariance))
    values, vectors = np.linalg.eigh(covariance)
    centre = np.eye(points) - 1.0 / points
    variances = np.diag(covariance)
    rank = rank_gradient(trace, float(values[-1]), vectors[:, -1])
    return np.array([centre / trace, centred(np.diag(2.0 * variances / np.sum(variances**2))), rank])


def rank_gradient(trace: float, value: float, vector: np.ndarray) -> np.ndarray:
    """Gradient of log (r_eff - 1) by the covariance, shape (M, M), from trace and leading eigenpair."""
    points, leading, rest = len(vector), np.outer(vector, vector), trace - value
    if rest <= 1e-12 * trace:
        return np.zeros((points, points))
    return (np.eye(points) - 1.0 / points - leading) / rest - leading / value


def spread_by_sampling(kernel: np.ndarray, width: int, field: Field | None = None) -> np.ndarray:
    """A covariance whose centred spectrum its sampling by N channels has spread, its eigenvectors kept.

    The spread is a Marchenko-Pastur law of ratio alpha M / N (`spectral_spread`). For Gaussian channels alpha
    is 1; for others it is what gives the sampling noise E of S its size,

        N E tr E^2 = E |a|^4 - tr S^2 = alpha ((tr S)^2 + tr S^2),

    a the centred activation of a channel, which is 2.4 where all points are nearly alike. Done in every
    layer, this is the path of a typical net. That the eigenvectors turn is left out: heuristic.

    Parameters
    ----------
    kernel : shape (M, M)
    width : int
    field : Field, optional
        Of which the channels are rectified; Gaussian channels if left out.
    """
    covariance = centred(kernel)
    values, vectors = np.linalg.eigh(covariance)
    values = np.maximum(values, 0.0)
    trace, square = float(values.sum()), float(values @ values)
    if trace <= 0.0:
        return kernel
    excess = 1.0
    if field is not None:
        of_norms = field.variance(np.eye(len(values)) - 1.0 / len(values))
        excess = (of_norms + trace**2 - square) / (trace**2 + square)
    moved = spread(values, excess * len(values) / width) - values
    return kernel + (vectors * moved) @ vectors.T


def sampled(at: Place, width: int) -> Place:
    """The channels of a linear layer behind `at`."""
    c = correlations(at.kernel)[0]
    diagonal = at.diagonal + 2.0 * c * c / width
    return Place(at.kernel, at.typical, at.pairs.sampled(width), at.noise.sampled(width), diagonal)


@dataclass(frozen=True)
class Forward:
    """What the walk forward knows of a station, as if every gain was 2: all but what varies with mu2 or mu4.

    Attributes
    ----------
    rectified : bool
        Behind a ReLU; Gaussian if not.
    mu2, fourth : float
        Means of mu2 and of the squared variance of a point.
    second, absolute, noise : Law
        Of log nu2, log nu1 and log mu2 of the noise.
    fresh : dict of str to float
        What a linear layer that samples its input adds to the variances of the backward pass.
    excess : float or None
        Median of r_eff - 1 of the signal; None if ranks are not asked for.
    noise_rank : Law or None
    """

    rectified: bool
    mu2: float
    fourth: float
    second: Law
    absolute: Law
    noise: Law
    fresh: dict[str, float]
    excess: float | None = None
    noise_rank: Law | None = None

    @classmethod
    def of(
        cls, at: Place, *, rectified: bool, fresh: dict | None = None, ranks: int | None = None
    ) -> Forward:
        """Of a place; with ranks in a net of width `ranks`."""
        own = np.diag(at.kernel)
        root = np.sqrt(own)
        covariance = centred(np.outer(root, root) * at.pairs.mean_correlation())
        second, half = own / own.sum(), root / root.sum()
        absolute = math.sqrt((1.0 if rectified else 2.0) / math.pi) * float(root.mean())
        # E sqrt(K_ii) is below the root of E K_ii.
        shrink = -0.125 * float(half @ np.diag(at.diagonal))
        of_half = 0.25 * float(half @ at.diagonal @ half)
        return cls(
            rectified,
            mu2=float(np.trace(covariance)) / len(own),
            fourth=float(np.mean(np.diag(covariance) ** 2)),
            second=Law.logarithm(float(own.mean()), float(second @ at.diagonal @ second)),
            absolute=Law(math.log(absolute) + shrink - 0.5 * of_half, of_half),
            noise=Law(-0.5 * at.noise.variance(), at.noise.variance()),
            fresh=fresh or {},
            **({} if ranks is None else _ranks(at, ranks)),
        )

    @classmethod
    def of_next_layer(cls, at: Place, width: int) -> Forward:
        """Behind a linear layer that samples `at`."""
        covariance = centred(at.kernel)
        squares = np.diag(covariance) / np.sum(np.diag(covariance) ** 2)
        spectrum = float(np.sum(covariance**2)) / float(np.trace(covariance)) ** 2
        fourth = 4.0 * float(squares @ covariance**2 @ squares)
        fresh = {"log_mu2_signal": 2.0 * spectrum / width, "log_mu4_signal": 2.0 * fourth / width}
        return cls.of(sampled(at, width), rectified=False, fresh=fresh)

    def laws(self, variances: dict[str, float], log_gain: float, log_input: float) -> dict[str, Law]:
        """The laws of the station, with the variances of the backward pass.

        Parameters
        ----------
        variances : dict
            As of `adjoint.deviations`.
        log_gain : float
            Logarithm of what the gains make of variances.
        log_input : float
            Logarithm of mu2 of the images, which normalises chi.
        """
        spread = max(variances["log_mu2_signal"] + self.fresh.get("log_mu2_signal", 0.0), 0.0)
        log_mu2 = Law(_log(self.mu2) - 0.5 * spread, spread)
        laws = {
            "log_nu1_abs_signal": _shifted(self.absolute, 0.5 * log_gain),
            "log_nu2_signal": _shifted(self.second, log_gain),
            "log_mu2_signal": _shifted(log_mu2, log_gain),
            "log_mu2_noise": _shifted(self.noise, log_gain),
            "log_chi": law_of_chi(self.noise, log_mu2, log_input, variances["shared"]),
        }
        if not self.rectified:
            fourth = variances["log_mu4_signal"] + self.fresh.get("log_mu4_signal", 0.0)
            # A mean square of a lognormal variable is that much above the square of its mean.
            laws["log_mu4_signal"] = Law(_log(3.0 * self.fourth) - spread + 2.0 * log_gain, fourth)
        if self.excess is not None:
            variance = min(max(variances["reff_signal"], 0.0), 50.0)
            mean = self.excess * math.exp(0.5 * variance)
            laws["reff_signal"] = Law(1.0 + mean, math.expm1(variance) * mean**2)
            laws["reff_noise"] = self.noise_rank
        return laws


def _shifted(law: Law, by: float) -> Law:
    return Law(law.mean + by, law.variance)


def _log(value: float) -> float:
    return math.log(value) if value > 0.0 else -math.inf


def _ranks(at: Place, width: int) -> dict:
    """Effective ranks: that of the signal has a lognormal excess over 1, whose median a typical net has."""
    values = np.maximum(np.linalg.eigvalsh(centred(at.typical)), 0.0)
    noise = at.noise
    mean, deviation = plain_noise_rank(
        len(values),
        noise.total - noise.common,
        mean_of_pairs(noise.coherence),
        2.0 / width,
        noise.overlap.first,
    )
    return {
        "excess": float(values.sum() / values[-1]) - 1.0 if values[-1] > 0.0 else 0.0,
        "noise_rank": Law(mean, deviation**2),
    }
