"""What the moments of a station need of a covariance: its diagonal and its row sums."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from ..covariances.scales import log, log_mean
from ..covariances.storage import Covariance, NoiseCovariance


@dataclass
class Marginals:
    """What the moments of a station need of its signal: everything but the blocks.

    `known` holds moments that do not follow from the diagonal of a Gaussian: of a law that is not
    Gaussian, None where there is no closed form.
    """

    log_scale: float
    diagonal: np.ndarray
    row_sums: np.ndarray | None
    log_noise: float
    known: Mapping[str, float | None] = field(default_factory=dict)

    def moments(self) -> dict[str, float]:
        """Moments by the names of `engines.protocol.ENGINE_MOMENTS`, without chi and r_eff."""
        assert self.row_sums is not None, "a station that is wanted has its row sums"
        means = np.asarray(self.row_sums / self.diagonal.size)
        centred = np.maximum(self.diagonal - 2.0 * means + means.mean(), 0.0)
        values: dict[str, float | None] = {
            "log_nu1_abs_signal": 0.5 * self.log_scale + log_mean(np.sqrt(2.0 / math.pi * self.diagonal)),
            "log_nu2_signal": self.log_scale + log_mean(self.diagonal),
            "log_mu2_signal": self.log_scale + log_mean(centred),
            "log_mu4_signal": 2.0 * self.log_scale + log_mean(3.0 * centred**2),
            "log_mu2_noise": self.log_noise,
        }
        values.update(self.known)
        return {name: value for name, value in values.items() if value is not None}


def marginals(signal: Covariance, noise: NoiseCovariance, known: Mapping[str, float | None]) -> Marginals:
    """The station a signal stands at."""
    log_noise = noise.log_scale + log(noise.mean_variance())
    return Marginals(signal.log_scale, signal.diagonal, signal.row_sums, log_noise, known)


def roots_and_inverses(
    variances: np.ndarray, dtype: np.dtype | type[np.floating] = np.float64
) -> tuple[np.ndarray, np.ndarray]:
    """Square roots and their inverses, the inverse of 0 being 0, in the precision of the blocks."""
    roots = np.sqrt(variances).astype(dtype)
    return roots, np.divide(1.0, roots, out=np.zeros_like(roots), where=roots >= np.finfo(dtype).tiny)
