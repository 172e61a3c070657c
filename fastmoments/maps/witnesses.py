"""Channels that were drawn at some points: witnesses of what the copula leaves out (see `copula_error`)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

#: Relative error of the tables of the copula.
TABLES = 1e-3
#: Standard errors that are told beside a deviation.
SURE = 1.645


@dataclass(frozen=True)
class Witnesses:
    """Channels at some of the points, and how far the copula was found to be from them.

    Attributes
    ----------
    points : ndarray of int, shape (n,)
    values, controls : float32, shape (n, channels)
        x, and u.
    variance : ndarray, shape (n, n)
        Covariance of u.
    log_scale : float
        Of that, and of the channels.
    merges : int
        So many so far.
    kept : float
        Share 1 - w of the shortcut in mu2 at the last of them.
    spread : float
        1 - 1 / r_eff behind it.
    open : ndarray, shape (2,)
        Deviations o of log mu2 and of log(r_eff - 1).
    found, doubt : ndarray, shape (3,)
        Deviations d of log mu2, log(r_eff - 1) and log mu2 of the noise; their variances by the drawing.
    """

    points: np.ndarray
    values: np.ndarray
    controls: np.ndarray
    variance: np.ndarray
    log_scale: float
    merges: int
    kept: float
    spread: float
    open: np.ndarray
    found: np.ndarray
    doubt: np.ndarray

    def taken(self) -> tuple[dict, dict]:
        """Arrays and plain values, the inverse of `Witnesses.restored`."""
        parts = {name: getattr(self, name) for name in self.__dataclass_fields__}
        arrays = {name: part for name, part in parts.items() if isinstance(part, np.ndarray)}
        return arrays, {name: part for name, part in parts.items() if name not in arrays}

    @classmethod
    def restored(cls, arrays: dict, described: dict) -> Witnesses:
        """Witnesses from their arrays and plain values."""
        return cls(**arrays, **described)

    @property
    def errors(self) -> dict[str, float]:
        """Estimated errors of logarithms, by their names as moments; that of the rank is relative."""
        mu2, rank, noise = self.found
        sure = SURE * np.sqrt(self.doubt)
        return {
            "log_nu2_signal": TABLES,
            "log_mu2_signal": TABLES + math.hypot(mu2, sure[0]),
            "log_mu2_noise": TABLES + math.hypot(noise, sure[2]),
            "log_chi": TABLES + 0.5 * math.hypot(noise - mu2, math.hypot(sure[0], sure[2])),
            "reff_signal": TABLES + self.spread * math.hypot(rank, sure[1]),
        }
