"""Comparisons of moments with those of simulated nets, one by one and all of a net: what `verify` gives."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass

import numpy as np
from scipy.stats import t as student

#: What is compared unless told otherwise, each at its main station; the further ones at finite width only.
MOMENTS = ("chi", "mu2_signal", "mu4_signal", "nu1_abs_signal", "nu2_signal")
FURTHER = ("mu2_noise", "reff_signal", "reff_noise")

#: Powers of moments that are linear in the noise variance: of these the mean is taken, not of a logarithm.
LINEAR = {"chi": 2, "mu2_noise": 1}

#: Probability that a correct net is found to disagree anywhere.
LEVEL = 1e-3


@dataclass(frozen=True)
class Comparison:
    """One moment at one station, analytic and from simulations.

    Attributes
    ----------
    moment, loc : str
        Of a module of PyTorch `loc` is the path of a module or function in it.
    depth : int
    analytic, sampled : float
        Natural logarithms: moments are positive, may lie beyond float64, and at finite width are
        nearly log-normal over nets.
    standard_error : float
        Of `sampled`; numerical errors of both sides included.
    width : int, optional
        Of the nets; None of those that are extrapolated to infinite width.
    of : {"mean", "sigma"}
        Sigma is the deviation over nets of the logarithm; of a rank, of the rank itself.
    z : float
        (analytic - sampled) / standard_error.
    """

    moment: str
    loc: str
    depth: int
    analytic: float
    sampled: float
    standard_error: float
    width: int | None = None
    of: str = "mean"

    @property
    def z(self) -> float:
        """Distance in standard errors."""
        return (self.analytic - self.sampled) / self.standard_error

    def to_dict(self) -> dict:
        """The comparison in plain values; logarithms are named so."""
        values = asdict(self)
        for name in ("analytic", "sampled"):
            values[f"log_{name}"] = values.pop(name)
        return {**values, "z": self.z}


@dataclass(frozen=True)
class Verification:
    """Comparisons and what they were made from.

    Attributes
    ----------
    rows : tuple of Comparison
    threshold : float
        Largest ``|z|`` that counts as agreement.
    architecture, data : dict
        As of a `Scan`.
    method : str
        "infinite" or "finite"; "measured" of a module of PyTorch.
    widths : tuple of int
    nets : int
        Per width.
    seconds : float
        Of all scans together.
    """

    rows: tuple[Comparison, ...]
    threshold: float
    architecture: dict
    data: dict
    method: str
    widths: tuple[int, ...]
    nets: int
    seconds: float

    @property
    def agrees(self) -> bool:
        """Whether every comparison lies within the threshold."""
        return all(abs(row.z) <= self.threshold for row in self.rows)

    def to_dict(self) -> dict:
        """The verification in plain values, schema fastmoments.verification/1."""
        return {
            "schema": "fastmoments.verification/1",
            "architecture": self.architecture,
            "data": self.data,
            "method": self.method,
            "widths": list(self.widths),
            "nets": self.nets,
            "threshold": self.threshold,
            "agrees": self.agrees,
            "comparisons": [row.to_dict() for row in self.rows],
            "seconds": round(self.seconds, 3),
        }


def usual_threshold(comparisons: int, nets: int) -> float:
    """Student's quantile at the level `LEVEL` over the number of comparisons (Bonferroni)."""
    return float(student.isf(0.5 * LEVEL / comparisons, nets - 1))


def known_moments(moments: object) -> tuple[str, ...]:
    """Names of moments."""
    known = MOMENTS + FURTHER
    names = tuple(moments) if isinstance(moments, Iterable) and not isinstance(moments, str) else ()
    if not names or not all(name in known for name in names):
        raise ValueError(f"moments must be a sequence of some of {', '.join(known)}, not {moments!r}.")
    return names


def is_rank(name: str) -> bool:
    """Whether a moment is a rank, which engines give as it is, not as its logarithm."""
    return name.startswith("reff")


def mean_logarithm(name: str, at: dict[str, list[float]]) -> tuple[float, float]:
    """Mean logarithm of a moment over nets, and its standard error with the resolution of float32."""
    values = np.log(at[name]) if is_rank(name) else np.array(at[name])
    rounding = max(at["error"])
    if name not in LINEAR:
        return float(values.mean()), math.hypot(values.std(ddof=1) / math.sqrt(values.size), rounding)
    power, top = LINEAR[name], values.max()
    powers = np.exp(power * (values - top))
    relative = powers.std(ddof=1) / (powers.mean() * math.sqrt(values.size))
    return float(top + math.log(powers.mean()) / power), math.hypot(relative / power, rounding)


def extrapolate(
    widths: Sequence[float], means: Sequence[float], errors: Sequence[float]
) -> tuple[float, float]:
    """Fit means = m + a / width by weighted least squares.

    Parameters
    ----------
    widths, means, errors : sequences of float, all of one length >= 2
        `errors` are the standard errors of `means`.

    Returns
    -------
    m, standard error of m : float
    """
    inverse, weight = 1.0 / np.asarray(widths, float), np.asarray(errors, float) ** -2
    centre = np.average(inverse, weights=weight)
    spread = np.sum(weight * (inverse - centre) ** 2)
    slope = np.sum(weight * (inverse - centre) * np.asarray(means)) / spread
    variance = 1.0 / weight.sum() + centre**2 / spread
    return float(np.average(means, weights=weight) - slope * centre), math.sqrt(variance)
