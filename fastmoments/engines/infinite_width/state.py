"""Where the signal stands at infinite width: two covariances, a law, and what goes with them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import DTypeLike

from ...covariances.scales import log, log_mean
from ...covariances.storage import Covariance, NoiseCovariance
from ...maps.channels import Channels
from ...maps.laws import DATA, GAUSSIAN
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
    is the mean over channels relative to the root of their mean square, where an activation made it known.
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
    mean_share: float | None = None
    channels: Channels | None = None
    population: Population | None = None
    mixture: Mixture | None = None

    def __setattr__(self, name: str, value: object) -> None:
        """Set an attribute; another law forgets the mean."""
        if name == "law" and getattr(self, "law", None) != value:
            object.__setattr__(self, "mean_share", None)
        object.__setattr__(self, name, value)

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
        known = dict(self.known)
        return State(None, signal, noise, known, self.law, self.overlap, self.mean_share, self.channels)

    def taken(self) -> tuple[dict, dict]:
        """Arrays and plain values of the state, the inverse of `State.restored`."""
        signal, noise = self.covariance, self.noise
        arrays = {
            "signal": signal.blocks, "diagonal": signal.diagonal, "row_sums": signal.row_sums,
            "noise": noise.blocks,
        }  # fmt: skip
        if self.overlap is not None:
            arrays |= {"overlap": self.overlap.features, "sources": self.overlap.sources}
        channels: dict | None = None
        if self.channels is not None:
            laws, channels = self.channels.taken()
            arrays |= laws
        described = {
            "grid": signal.grid, "log_scales": [signal.log_scale, noise.log_scale],
            "noise_grid": noise.grid, "images": noise.images, "known": self.known, "law": self.law,
            "mean_share": self.mean_share,
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
        told, share = described["channels"], described["mean_share"]
        channels = None if told is None else Channels.restored(arrays, told)
        return cls(None, signal, noise, described["known"], described["law"], overlap, share, channels)

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
