"""Observables of a station: what every engine yields, and how it follows from the covariances.

Scales grow without bound with depth (a residual net doubles its signal in every unit), so an
engine hands over logarithms; `scan` turns them into the linear curves.

Source of the definitions: Labatie, ICML 2019, and the reference's conventions: moments over the
data distribution (image and position) and averaged over channels; ``mu4`` is the raw fourth
central moment; ``chi`` is normalised by its value on the images themselves.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

#: What an engine may put into `Station.moments`. The ``log_`` ones have a linear curve of the same
#: name without the prefix; an engine leaves out what it does not know at a station.
ENGINE_MOMENTS = (
    "log_nu1_abs_signal",
    "log_nu2_signal",
    "log_mu2_signal",
    "log_mu4_signal",
    "log_mu2_noise",
    "log_chi",
    "reff_signal",
    "reff_noise",
)


@dataclass(frozen=True)
class Station:
    """Moments at one place in the net.

    Attributes
    ----------
    depth : int
        Unit, from 1; 0 for the input of a net without units.
    loc : str
        One of ``layers.LOCS``.
    moments : dict of str to float
        Natural logarithms and effective ranks, by the names in `ENGINE_MOMENTS`.
    net : int
        Which random net; 0 for analytic engines.
    error : float
        Largest estimate so far of the relative error of one layer; 0 where the map is exact.
    sigmas : dict of str to float
        Standard deviations of the moments over random nets, where an analytic engine knows them. The moments
        are means over nets then.
    """

    depth: int
    loc: str
    moments: dict[str, float]
    net: int = 0
    error: float = 0.0
    sigmas: dict[str, float] = field(default_factory=dict)


def recorded_depths(depth: int, every: int = 1) -> list[int]:
    """Depths at which stations are taken: every multiple of `every`, and the last."""
    if depth == 0:
        return [0]
    return sorted({*range(every, depth + 1, every), depth})


def input_log_variances(images: np.ndarray) -> tuple[float, float]:
    """Logarithms of mu2 of signal and noise on the images themselves, which normalise chi.

    Parameters
    ----------
    images : ndarray, shape (n, h, w, c)

    Raises
    ------
    ValueError
        If the images do not vary over the points of the batch, so that chi has no meaning.
    """
    largest = float(np.abs(images).max())
    scaled = images / (largest or 1.0)
    variance = float(np.mean(np.var(scaled, axis=(0, 1, 2))))
    if variance <= 1e-28 * float(np.mean(scaled * scaled)):
        raise ValueError(
            "The images do not vary over the points of the batch, so their signal has no variance; "
            "use at least two different images."
        )
    return math.log(variance) + 2.0 * math.log(largest), 0.0


def log_chi(log_mu2_noise: float, log_mu2_signal: float, at_input: tuple[float, float]) -> float:
    """Normalised sensitivity chi, as a logarithm: half the growth of noise over signal variance."""
    signal_0, noise_0 = at_input
    return 0.5 * ((log_mu2_noise - noise_0) - (log_mu2_signal - signal_0))
