"""State of the kernel of a plain net between two layers, and the means of its stations.

The state holds the mean kernel (M, M), at infinite width and of a typical net, the covariance (M, M) of
its log-diagonal over nets, the lognormal moments of the angles of pairs, and those of the noise. The mean of
mu2 is closed by angles, those of the other moments follow from martingales; variances of the diagonal's
moments and of the noise diffuse, those of mu2, mu4 and r_eff come from a backward pass over the layers.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ..closures import CLOSURES, Closures
from ..shared.hermite_forms import GaussianField
from ..shared.lognormal import Lognormal, chi_moment
from ..shared.marchenko_pastur import sampled_spectrum
from ..shared.matrices import centred, mean_of_pairs
from ..shared.relu_moments import correlations
from .angle_closure import AngleMoments
from .noise_diffusion import NoiseDiffusion
from .noise_rank import noise_rank


@dataclass(frozen=True)
class LayerState:
    """Mean and fluctuations of the kernel K after one layer.

    Attributes
    ----------
    kernel : shape (M, M)
        At infinite width, of He layers.
    typical : shape (M, M)
        The same in a typical net, whose spectrum sampling has spread.
    angles : AngleMoments
    noise : NoiseDiffusion
        Moments of the angles between points, and of the noise's variances and correlations.
    diagonal : shape (M, M)
        Covariance over nets of log K_ii and log K_jj.
    """

    kernel: np.ndarray
    typical: np.ndarray
    angles: AngleMoments
    noise: NoiseDiffusion
    diagonal: np.ndarray


def with_sampled_spectrum(kernel: np.ndarray, width: int, field: GaussianField | None = None) -> np.ndarray:
    """A covariance whose centred spectrum its sampling by N channels has spread, its eigenvectors kept.

    The spread is a Marchenko-Pastur law of ratio alpha M / N (`shared.marchenko_pastur`). For Gaussian
    channels alpha is 1; for others it is what gives the sampling noise E of S its size,

        N E tr E^2 = E |a|^4 - tr S^2 = alpha ((tr S)^2 + tr S^2),

    a the centred activation of a channel, which is 2.4 where all points are nearly alike. Done in every
    layer, this is the path of a typical net. That the eigenvectors turn is left out: heuristic.

    Parameters
    ----------
    kernel : shape (M, M)
    width : int
    field : GaussianField, optional
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
    moved = sampled_spectrum(values, excess * len(values) / width) - values
    return kernel + (vectors * moved) @ vectors.T


def sampled(at: LayerState, width: int, closures: Closures = CLOSURES) -> LayerState:
    """The channels of a linear layer after `at`."""
    c = correlations(at.kernel)[0]
    diagonal = at.diagonal + 2.0 * c * c / width
    return LayerState(
        at.kernel, at.typical, at.angles.sampled(width), at.noise.sampled(width, closures), diagonal
    )


@dataclass(frozen=True)
class StationMeans:
    """What the walk forward knows of a station, as if every gain was 2: all but what varies with mu2 or mu4.

    Attributes
    ----------
    rectified : bool
        After a ReLU; Gaussian if not.
    mu2, fourth : float
        Means of mu2 and of the squared variance of a point.
    second, absolute, noise : Lognormal
        Of log nu2, log nu1 and log mu2 of the noise.
    fresh : dict of str to float
        What a linear layer that samples its input adds to the variances of the backward pass.
    excess : float or None
        Median of r_eff - 1 of the signal; None if ranks are not asked for.
    noise_rank : Lognormal or None
    """

    rectified: bool
    mu2: float
    fourth: float
    second: Lognormal
    absolute: Lognormal
    noise: Lognormal
    fresh: dict[str, float]
    excess: float | None = None
    noise_rank: Lognormal | None = None
    closures: Closures = CLOSURES

    @classmethod
    def of(
        cls,
        at: LayerState,
        *,
        rectified: bool,
        fresh: dict[str, float] | None = None,
        ranks: int | None = None,
        closures: Closures = CLOSURES,
    ) -> StationMeans:
        """Of a place; with ranks in a net of width `ranks`."""
        own = np.diag(at.kernel)
        root = np.sqrt(own)
        covariance = centred(np.outer(root, root) * at.angles.mean_correlation())
        second, half = own / own.sum(), root / root.sum()
        absolute = math.sqrt((1.0 if rectified else 2.0) / math.pi) * float(root.mean())
        # E sqrt(K_ii) is below the root of E K_ii.
        shrink = -0.125 * float(half @ np.diag(at.diagonal))
        of_half = 0.25 * float(half @ at.diagonal @ half)
        excess, rank = (None, None) if ranks is None else _ranks(at, ranks, closures)
        return cls(
            rectified,
            mu2=float(np.trace(covariance)) / len(own),
            fourth=float(np.mean(np.diag(covariance) ** 2)),
            second=Lognormal.of_mean(float(own.mean()), float(second @ at.diagonal @ second)),
            absolute=Lognormal(math.log(absolute) + shrink - 0.5 * of_half, of_half),
            noise=Lognormal(-0.5 * at.noise.variance(), at.noise.variance()),
            fresh=fresh or {},
            closures=closures,
            excess=excess,
            noise_rank=rank,
        )

    @classmethod
    def of_next_layer(cls, at: LayerState, width: int, closures: Closures = CLOSURES) -> StationMeans:
        """After a linear layer that samples `at`."""
        covariance = centred(at.kernel)
        squares = np.diag(covariance) / np.sum(np.diag(covariance) ** 2)
        spectrum = float(np.sum(covariance**2)) / float(np.trace(covariance)) ** 2
        fourth = 4.0 * float(squares @ covariance**2 @ squares)
        fresh = {"log_mu2_signal": 2.0 * spectrum / width, "log_mu4_signal": 2.0 * fourth / width}
        return cls.of(sampled(at, width, closures), rectified=False, fresh=fresh, closures=closures)

    def laws(self, variances: dict[str, float], log_gain: float, log_input: float) -> dict[str, Lognormal]:
        """The laws of the station, with the variances of the backward pass.

        Parameters
        ----------
        variances : dict
            As of `covariance_backward.deviations`.
        log_gain : float
            Logarithm of what the gains make of variances.
        log_input : float
            Logarithm of mu2 of the images, which normalises chi.
        """
        spread = max(variances["log_mu2_signal"] + self.fresh.get("log_mu2_signal", 0.0), 0.0)
        log_mu2 = Lognormal(_log(self.mu2) - 0.5 * spread, spread)
        laws = {
            "log_nu1_abs_signal": _shifted(self.absolute, 0.5 * log_gain),
            "log_nu2_signal": _shifted(self.second, log_gain),
            "log_mu2_signal": _shifted(log_mu2, log_gain),
            "log_mu2_noise": _shifted(self.noise, log_gain),
            "log_chi": chi_moment(self.noise, log_mu2, log_input, variances["shared"]),
        }
        if not self.rectified:
            fourth = variances["log_mu4_signal"] + self.fresh.get("log_mu4_signal", 0.0)
            # A mean square of a lognormal variable is that much above the square of its mean.
            laws["log_mu4_signal"] = Lognormal(_log(3.0 * self.fourth) - spread + 2.0 * log_gain, fourth)
        if self.excess is not None and self.noise_rank is not None:
            variance = min(max(variances["reff_signal"], 0.0), self.closures.most_log_rank_variance)
            mean = self.excess * math.exp(0.5 * variance)
            laws["reff_signal"] = Lognormal(1.0 + mean, math.expm1(variance) * mean**2)
            laws["reff_noise"] = self.noise_rank
        return laws


def _shifted(law: Lognormal, by: float) -> Lognormal:
    return Lognormal(law.mean + by, law.variance)


def _log(value: float) -> float:
    return math.log(value) if value > 0.0 else -math.inf


def _ranks(at: LayerState, width: int, closures: Closures) -> tuple[float, Lognormal]:
    """Effective ranks: that of the signal has a lognormal excess over 1, whose median a typical net has."""
    values = np.maximum(np.linalg.eigvalsh(centred(at.typical)), 0.0)
    noise = at.noise
    mean, deviation = noise_rank(
        len(values),
        noise.point_variance - noise.pair_covariance,
        mean_of_pairs(noise.squared_correlation),
        2.0 / width,
        noise.alignment.first,
        closures,
    )
    excess = float(values.sum() / values[-1]) - 1.0 if values[-1] > 0.0 else 0.0
    return excess, Lognormal(mean, deviation**2)
