"""Station by station through one given net."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator

import numpy as np

from ...covariances.scales import log
from ...images.batches import Batch
from ...nets.layers import Layer
from ...nets.network import Network, Place
from ..protocol import Checkpoints, Station, Wanted, log_chi
from .costs import refuse_too_large
from .field import Field
from .propagation import field_of
from .route import passed, places, weights_of
from .stationary import stationary_part

#: What a station says of its law.
GAUSSIAN, ACTIVATED = "gaussian", "activated"


class GivenRun:
    """The stations of one given net, as an iterable.

    Parameters
    ----------
    network : Network
        With weights.
    batch : Batch
        Images, or the mean and covariance of Gaussian ones.
    storage, check, seed
        As of `GivenNetwork`.
    depths, reff_locs
        As of `Plan`.

    Yields
    ------
    Station
        Effective ranks are of the covariances of channels, over inputs and positions. Behind activations
        there is no nu1 nor mu4. With a check `sampled` are the moments of samples, `drawn` their standard
        errors, and `error` is the largest relative error by these.

    Raises
    ------
    ValueError
        At once: if the net has no weights or is not covered; during the walk, if weights are of other
        shapes, or a layer is not the same at all positions and storage is stationary.
    ArithmeticError
        During the walk, if signal or noise has died out or is out of the range of numbers.
    """

    def __init__(
        self, network: Network, batch: Batch, *, storage: str = "dense", check: int = 0, seed: int = 0,
        depths: Collection[int] | None = None, reff_locs: Collection[str] = ("act",),
    ) -> None:  # fmt: skip
        self.network, self.weights = network, weights_of(network)
        self.batch, self.storage, self.check, self.seed = batch, storage, check, seed
        _, height, width, channels = batch.shape
        if batch.flattened and batch.covariance is not None and batch.covariance.ndim == 4:
            raise ValueError(
                f"{network.name} has no positions, so a covariance must not be by displacement; give that of "
                f"features, of shape ({channels}, {channels})."
            )
        stationary = batch.stationary
        refuse_too_large(network, ((height, width), channels), "stationary" if stationary else storage)
        self.wanted = Wanted(network, depths, reff_locs)

    def attach(self, journal: Checkpoints) -> list[Station]:
        """It begins anew."""
        return journal.keep(lambda station: False)

    def __iter__(self) -> Iterator[Station]:
        """Yield the stations."""
        field = inputs(self.batch, self.storage)
        at_input = log_variances(field)
        sampled: dict[tuple[str, str | None], tuple[dict, dict]] = {}
        if self.check:
            from .check import sampled_moments

            sampled = sampled_moments(self.network, field, self.wanted, self.check, self.seed, at_input)
        for place in self._places(field):
            with np.errstate(all="ignore"):
                moments = moments_of(field, self.wanted.ranked(place), at_input)
            if not all(map(math.isfinite, moments.values())):
                raise ArithmeticError(
                    f"At depth {self.wanted.depth} ({place.loc or place.path}) signal or noise has died out "
                    "or is out of the range of numbers; use other inputs or weights."
                )
            found, errors = sampled.get((place.path, place.loc), ({}, {}))
            stream = field.here
            yield self.wanted.station(
                place, moments, grid=stream.grid, channels=stream.channels, sampled=found, drawn=errors,
                error=max((relative(moments, found, name) for name in found), default=0.0),
                law=GAUSSIAN if stream.gaussian else ACTIVATED,
            )  # fmt: skip

    def _places(self, field: Field) -> Iterator[Place]:
        """Move the field through the net, stopping at every place wanted."""

        def passing(layers: list[tuple[str, Layer]]) -> Iterator[str]:
            return (path for path, _ in passed(layers, field, self.weights))

        return places(self.network, self.wanted, passing)


def inputs(batch: Batch, storage: str) -> Field:
    """The field of the inputs, with white noise of variance 1."""
    if batch.covariance is not None:
        mean, covariance = batch.values[0], batch.covariance
        if batch.stationary:
            return field_of(mean[0, 0], covariance)
        covariance = covariance.reshape(*mean.shape, *mean.shape)
        if storage == "dense":
            return field_of(mean, covariance)
        away = mean - mean.mean((0, 1))
        height, width, channels = mean.shape
        full = stationary_part(covariance + np.multiply.outer(away, away))
        return field_of(mean.mean((0, 1)), full.reshape(height, width, channels, channels))
    images = batch.values
    if storage == "dense":
        mean = images.mean(0)
        flat = (images - mean).reshape(len(images), -1)
        return field_of(mean, (flat.T @ flat / len(flat)).reshape(*mean.shape, *mean.shape))
    mean = images.mean((0, 1, 2))
    return field_of(mean, by_displacement(images - mean))


def by_displacement(images: np.ndarray) -> np.ndarray:
    """Mean of x_c(p + d) x_c'(p) over images and positions, around all borders; shape (h, w, c, c)."""
    waves = np.fft.rfft2(images, axes=(1, 2))
    spectrum = np.einsum("nhwc,nhwd->hwcd", waves, waves.conj(), optimize=True)
    size = images.shape[0] * images.shape[1] * images.shape[2]
    return np.fft.irfft2(spectrum, s=images.shape[1:3], axes=(0, 1)) / size


def log_variances(field: Field) -> tuple[float, float]:
    """Logarithms of mu2 of signal and noise.

    Raises
    ------
    ValueError
        If one of them is 0.
    """
    signal, noise = field.of_channels()
    found = log(float(np.trace(signal)) / len(signal)), log(float(np.trace(noise)) / len(noise))
    if not all(map(math.isfinite, found)):
        raise ValueError("The inputs do not vary, so their signal has no variance; use a covariance above 0.")
    return found


def moments_of(field: Field, ranked: bool, at_input: tuple[float, float]) -> dict[str, float]:
    """The moments of a station, by their names in `protocol.ENGINE_MOMENTS`."""
    stream, (signal, noise) = field.here, field.of_channels()
    mean, variance = stream.mean, np.maximum(np.diagonal(field.own[0][0]), 0.0)
    mu2, mu2_noise = np.trace(signal) / len(signal), np.trace(noise) / len(noise)
    found = {"nu2_signal": float(np.mean(mean * mean + variance)), "mu2_signal": float(mu2)}
    if stream.gaussian:
        found |= _of_gaussians(mean, variance, mean - field.per_unit(field.per_channel()[0]))
    moments = {f"log_{name}": log(value) for name, value in found.items()}
    moments["log_mu2_noise"] = log(float(mu2_noise))
    moments["log_chi"] = log_chi(moments["log_mu2_noise"], moments["log_mu2_signal"], at_input)
    if ranked:
        moments |= {"reff_signal": _rank(signal), "reff_noise": _rank(noise)}
    return moments


def _of_gaussians(mean: np.ndarray, variance: np.ndarray, away: np.ndarray) -> dict[str, float]:
    """E |x| and the fourth moment about the channel's mean, from which the unit's is `away`."""
    from scipy.special import erf

    deviation = np.sqrt(np.maximum(variance, 1e-300))
    a = mean / deviation
    size = math.sqrt(2.0 / math.pi) * deviation * np.exp(-0.5 * a * a) + mean * erf(a / math.sqrt(2.0))
    fourth = 3.0 * variance**2 + 6.0 * variance * away**2 + away**4
    return {"nu1_abs_signal": float(size.mean()), "mu4_signal": float(fourth.mean())}


def _rank(covariance: np.ndarray) -> float:
    """Trace over largest eigenvalue."""
    if not np.isfinite(covariance).all():
        return math.nan
    largest = float(np.linalg.eigvalsh(covariance)[-1])
    return float(np.trace(covariance)) / largest if largest > 0.0 else math.nan


def relative(moments: dict[str, float], sampled: dict[str, float], name: str) -> float:
    """Relative error of a moment by a sample; of a logarithm the difference."""
    away = abs(moments[name] - sampled[name])
    return away if name.startswith("log_") else away / sampled[name]
