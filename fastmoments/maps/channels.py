"""The law of a channel that is no Gaussian, point by point, on a grid (see `post_activation`)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.interpolate import CubicSpline

from ..covariances.storage import Covariance, NoiseCovariance
from ..nets.activations import PiecewiseLinear
from .witnesses import Witnesses

#: Of the grid: how far it reaches, and the step before the first merge; nodes to a standard deviation of what
#: is added; least such deviation, relative to that of the sum, that is resolved.
REACH, FIRST_STEP, NODES, LEAST_WIDTH = 8.5, 0.05, 4.0, 0.01
#: Gregory's weights at the end of a half line, relative to the step; 1 further inside.
GREGORY = np.array([19087, 84199, 37738, 75242, 55031, 61343]) / 60480
IDENTITY = (1.0, 1.0)
#: Largest excess of the fourth moment, either way, that a first order describes.
MOST_KURTOSIS = 1.0


@dataclass(frozen=True)
class Channels:
    """The law of a channel at every point: phi(z), with z of a density on a grid; scales apart.

    Attributes
    ----------
    step : float
        Of the grid, in units of a point that `scales` gives; z = 0 stands at index `zero`.
    zero : int
    density : ndarray, shape (points or 1, n)
        Of z; of integral 1.
    energy : ndarray, shape (points or 1, n)
        E[dz^2 | z] times the density, up to a factor: noise before phi.
    slopes : (above 0, below)
        Of phi; (1, 1) before an activation.
    summands : Summands or None
        Of what z is the sum, as long as an activation may follow.
    witnesses : Witnesses or None
        Channels that were drawn, behind the first merge.
    """

    step: float
    zero: int
    density: np.ndarray
    energy: np.ndarray
    slopes: tuple[float, float] = IDENTITY
    summands: Summands | None = None
    witnesses: Witnesses | None = None

    @property
    def grid(self) -> np.ndarray:
        """The z of the nodes, shape (n,)."""
        return self.step * (np.arange(self.density.shape[1]) - self.zero)

    @property
    def kurtosis(self) -> float:
        """Excess of the fourth moment over that of a Gaussian of the same variance, mean over points."""
        return float((self.mean(4) / np.maximum(self.mean(2), 1e-300) ** 2).mean()) - 3.0

    @property
    def halves(self) -> tuple[np.ndarray, np.ndarray]:
        """Quadrature weights of z > 0 and of z < 0, shape (n,) each."""
        n = self.density.shape[1]
        positive, negative = np.zeros((2, n))
        positive[self.zero :] = self.step
        negative[: self.zero + 1] = self.step
        positive[self.zero : self.zero + GREGORY.size] *= GREGORY
        negative[self.zero - np.arange(GREGORY.size)] *= GREGORY
        return positive, negative

    def taken(self) -> tuple[dict, dict]:
        """Arrays and plain values, the inverse of `Channels.restored`."""
        arrays = {"density": self.density, "energy": self.energy}
        described = {"step": self.step, "zero": self.zero, "slopes": self.slopes, "witnesses": None}
        if self.witnesses is not None:
            seen, described["witnesses"] = self.witnesses.taken()
            arrays |= {f"witnesses {name}": array for name, array in seen.items()}
        return arrays, described

    @classmethod
    def restored(cls, arrays: dict, described: dict) -> Channels:
        """The laws from their arrays and plain values."""
        slopes = tuple(described["slopes"])
        seen: Witnesses | None = None
        if described["witnesses"] is not None:
            begin = "witnesses "
            own = {name.removeprefix(begin): arrays[name] for name in arrays if name.startswith(begin)}
            seen = Witnesses.restored(own, described["witnesses"])
        step, zero = described["step"], described["zero"]
        return cls(step, zero, arrays["density"], arrays["energy"], slopes, witnesses=seen)

    def activated(self, activation: PiecewiseLinear) -> Channels:
        """Behind an activation."""
        return Channels(self.step, self.zero, self.density, self.energy, activation.slopes)

    def mean(self, power: int) -> np.ndarray:
        """E |phi(z)|^power, shape (points or 1,)."""
        weights = sum(
            half * abs(slope) ** power for half, slope in zip(self.halves, self.slopes, strict=True)
        )
        return self.density @ (weights * np.abs(self.grid) ** power)

    @property
    def mean_share(self) -> np.ndarray:
        """E phi(z) relative to the root of E phi(z)^2, shape (points or 1,)."""
        weights = sum(half * slope for half, slope in zip(self.halves, self.slopes, strict=True))
        return self.density @ (weights * self.grid) / np.sqrt(np.maximum(self.mean(2), 1e-300))

    def passed(self, slopes: tuple[float, float]) -> np.ndarray:
        """Share of the noise energy of z that passes an activation of such slopes, shape (points or 1,)."""
        positive, negative = self.halves
        total = self.energy @ (positive + negative)
        found = self.energy @ (slopes[0] ** 2 * positive + slopes[1] ** 2 * negative)
        return np.divide(found, total, out=np.zeros_like(found), where=total > 0.0)

    def refined(self, step: float) -> Channels:
        """On a grid of at most that step."""
        times = math.ceil(self.step / step)
        if times == 1:
            return self
        n = self.density.shape[1]
        new = np.arange((n - 1) * times + 1) / times
        density, energy = (
            CubicSpline(np.arange(n), each, axis=1)(new) for each in (self.density, self.energy)
        )
        return Channels(self.step / times, self.zero * times, density, energy, self.slopes)

    def plus(self, share: np.ndarray, noise_share: np.ndarray, fresh: Channels | None = None) -> Channels:
        """The law of the sum with what is fresh and Gaussian, or nearly.

        Parameters
        ----------
        share, noise_share : ndarray, shape (points,)
            Of the Gaussian in the second moment of the sum, and of its noise in that of the noise.
        fresh : Channels, optional
            Its law (`nearly_gaussian`); a Gaussian if left out.
        """
        from ..kernels import post_activation as kernels
        from ..kernels.threads import spread

        points = share.size
        widths = np.sqrt(np.clip(share, LEAST_WIDTH**2, 1.0))
        second = self.mean(2)
        scales = np.sqrt(np.maximum(1.0 - share, 0.0) / np.maximum(second, 1e-300))
        finest = float(widths.min()) / NODES
        steepest = max(abs(slope) for slope in self.slopes) * float(scales.max())
        source = self.refined(finest / steepest) if steepest > 0.0 else self
        low = REACH * (float(widths.max()) if self.slopes[1] == 0.0 else 1.0)
        zero = max(math.ceil(low / finest), GREGORY.size)
        size = zero + math.ceil(REACH / finest) + 1
        density, energy = np.zeros((points, size)), np.zeros((points, size))
        kurtosis = 0.0 if fresh is None else fresh.kurtosis
        n = source.density.shape[1]
        spread(
            kernels.smooth, source.grid, source.zero, *source.halves, np.array(source.slopes),
            np.broadcast_to(scales, points).copy(), widths, noise_share, kurtosis,
            np.broadcast_to(source.density, (points, n)), np.broadcast_to(source.energy, (points, n)),
            finest, zero, density, energy,
        )  # fmt: skip
        density /= finest * density.sum(1, keepdims=True)
        return Channels(finest, zero, density, energy)


@lru_cache(maxsize=1)
def gaussian() -> Channels:
    """A Gaussian channel, the noise independent of it: the same law at all points."""
    return nearly_gaussian(0.0)


def nearly_gaussian(kurtosis: float) -> Channels:
    """A channel that is Gaussian but for the excess of its fourth moment, as a batch norm leaves it.

    To first order: the density is the Gaussian one times 1 + kurtosis He_4 / 24. An excess beyond
    `MOST_KURTOSIS` is taken as that.
    """
    kurtosis = min(max(kurtosis, -MOST_KURTOSIS), MOST_KURTOSIS)
    zero = math.ceil(REACH / FIRST_STEP)
    z = FIRST_STEP * (np.arange(2 * zero + 1) - zero)
    density = np.exp(-0.5 * z * z) / math.sqrt(2.0 * math.pi)
    bent = density * (1.0 + kurtosis / 24.0 * ((z * z - 6.0) * z * z + 3.0))
    return Channels(FIRST_STEP, zero, bent[None], bent[None])


@dataclass(frozen=True)
class Summands:
    """What a sum was made of.

    Attributes
    ----------
    channels : Channels
        Of the shortcut.
    share : ndarray, shape (points,)
        Of the branch in the second moment of the sum.
    signal : Covariance
    noise : NoiseCovariance
        Those of the shortcut, in its memory.
    """

    channels: Channels
    share: np.ndarray
    signal: Covariance
    noise: NoiseCovariance
