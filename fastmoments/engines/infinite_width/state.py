"""Where the signal stands at infinite width: two covariances, a law, and what goes with them."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import DTypeLike

from ...covariances.scales import log, log_mean
from ...covariances.storage import Covariance, NoiseCovariance
from ...maps.channels import Channels
from ...maps.laws import CENTRED, DATA, GAUSSIAN
from ...maps.marginals import Marginals, marginals
from ...maps.overlap import Overlap
from .population import Population

if TYPE_CHECKING:
    from .mixture import Mixture


def known_of(law: str) -> dict[str, float | None]:
    """`Marginals.known` of a law: of a Gaussian the diagonal tells all, of any other second moments only."""
    return {} if law == GAUSSIAN else {"log_nu1_abs_signal": None, "log_mu4_signal": None}


@dataclass
class State:
    """Where the signal stands.

    `images` are the images themselves until the first layer has seen them: the covariance at their
    full size is only formed when something needs it. `known` as in `Marginals`.
    `overlap` is what the first weights made signal and noise share, as long as it is followed. `mean_share`
    is the mean over channels relative to the root of their mean square, one for all points or one for each,
    and None where it is not known. `absolute_share` is E |x| relative to that of a Gaussian of the same mean
    square, where it is not 1 and known.
    `channels` is the law of a channel at every point, where `law` is not enough (`Channels.of`).
    `population` are drawn channels, which stand instead of the covariances where there is no formula;
    `mixture` are channels of several laws, which stand instead of them behind a Concat.
    """

    images: np.ndarray | None
    signal: Covariance | None
    noise: NoiseCovariance
    known: dict[str, float | None] = field(default_factory=dict)

    law: str = DATA
    overlap: Overlap | None = None
    mean_share: np.ndarray | None = None
    absolute_share: np.ndarray | None = None
    channels: Channels | None = None
    population: Population | None = None
    mixture: Mixture | None = None

    def become(
        self, law: str, mean_share: np.ndarray | None = None, absolute_share: np.ndarray | None = None
    ) -> None:
        """Take a law and its means, which are 0 of a centred one and else not known, unless given."""
        self.law, self.absolute_share = law, absolute_share
        self.mean_share = np.zeros(1) if mean_share is None and law in CENTRED else mean_share

    @property
    def means(self) -> np.ndarray | None:
        """Mean over channels at every point, in units of the root of the covariance's scale."""
        return None if self.mean_share is None else self.mean_share * np.sqrt(self.covariance.diagonal)

    def set_means(self, means: np.ndarray | None, log_scale: float) -> None:
        """Set the mean over channels at every point, given in units of the root of that scale."""
        if means is None:
            self.mean_share = None
            return
        roots = np.sqrt(self.covariance.diagonal)
        share = np.divide(means, roots, out=np.zeros_like(roots), where=roots > 0.0)
        if share.any():
            share *= math.exp(min(0.5 * (log_scale - self.covariance.log_scale), 700.0))
        self.mean_share = np.clip(share, -1.0, 1.0)

    @property
    def grid(self) -> tuple[int, int]:
        """Positions (height, width) of an image."""
        if self.mixture is not None:
            return self.mixture.grid
        return self.noise.grid if self.population is None else self.population.grid[1:]

    @property
    def covariance(self) -> Covariance:
        """Of the signal, which has been formed."""
        assert self.signal is not None, "the covariance of the images is formed when something needs it"
        return self.signal

    def copy(self, memory: State | None) -> State:
        """A state of its own memory, for the shortcut of a residual unit; in that of `memory` if it fits."""
        if self.population is not None:
            own = self.population.copy()
            return State(None, None, self.noise, dict(self.known), self.law, population=own)
        if self.mixture is not None:
            return State(None, None, self.noise, law=self.law, mixture=self.mixture.copy())
        fits = memory is not None and memory.signal is not None
        free = (memory.covariance.blocks, memory.noise.blocks) if memory and fits else (None, None)
        signal, noise = self.covariance.copy(free[0]), self.noise.copy(free[1])
        found = State(None, signal, noise, dict(self.known), self.law, self.overlap)
        found.mean_share, found.absolute_share = self.mean_share, self.absolute_share
        found.channels = self.channels
        return found

    def taken(self) -> tuple[dict, dict]:
        """Arrays and plain values of the state, the inverse of `State.restored`."""
        signal, noise = self.covariance, self.noise
        arrays = {
            "signal": signal.blocks, "diagonal": signal.diagonal, "row_sums": signal.row_sums,
            "noise": noise.blocks,
        }  # fmt: skip
        for name in ("mean_share", "absolute_share"):
            if getattr(self, name) is not None:
                arrays[name] = getattr(self, name)
        if self.overlap is not None:
            arrays |= {"overlap": self.overlap.features, "sources": self.overlap.sources}
        channels: dict | None = None
        if self.channels is not None:
            laws, channels = self.channels.taken()
            arrays |= laws
        described = {
            "grid": signal.grid, "log_scales": [signal.log_scale, noise.log_scale],
            "noise_grid": noise.grid, "images": noise.images, "known": self.known, "law": self.law,
            "channels": channels,
        }  # fmt: skip
        return arrays, described

    @classmethod
    def restored(cls, arrays: dict, described: dict) -> State:
        """A state from its arrays and plain values."""
        log_scale, log_noise_scale = described["log_scales"]
        signal = Covariance(
            arrays["signal"], tuple(described["grid"]), log_scale, arrays["diagonal"], arrays["row_sums"]
        )
        noise_grid = tuple(described["noise_grid"])
        noise = NoiseCovariance(arrays["noise"], described["images"], noise_grid, log_noise_scale)
        overlap = Overlap(arrays["overlap"], arrays["sources"]) if "overlap" in arrays else None
        told = described["channels"]
        found = cls(None, signal, noise, described["known"], described["law"], overlap)
        found.channels = None if told is None else Channels.restored(arrays, told)
        found.mean_share, found.absolute_share = arrays.get("mean_share"), arrays.get("absolute_share")
        return found

    def form(self, tile: int | None, dtype: DTypeLike) -> None:
        """Form the covariance of the images, if no layer has done so."""
        if self.images is not None:
            factor = 1.0 / self.images.shape[-1]
            self.noise.own()
            self.signal = Covariance.from_features(self.images, factor, tile=tile, dtype=dtype)
            self.known = dict(image_moments(self.images))
            self.images = None

    def marginals(self) -> Marginals:
        """The station where the signal stands."""
        if self.images is not None:
            return image_marginals(self.images, self.noise)
        return marginals(self.covariance, self.noise, self.known)


def image_marginals(images: np.ndarray, noise: NoiseCovariance) -> Marginals:
    """The station of the images themselves, without forming their covariance."""
    flat = images.reshape(-1, images.shape[-1])
    channels = flat.shape[1]
    diagonal = np.einsum("pc,pc->p", flat, flat) / channels
    row_sums = flat @ flat.sum(0) / channels
    log_noise = noise.log_scale + log(noise.mean_variance())
    return Marginals(0.0, diagonal, row_sums, log_noise, image_moments(images))


def image_moments(images: np.ndarray) -> dict[str, float]:
    """The moments of the images that their covariance does not give."""
    centred = images - images.mean((0, 1, 2))
    return {
        "log_nu1_abs_signal": log_mean(np.abs(images)),
        "log_mu4_signal": log_mean(centred**4),
    }
