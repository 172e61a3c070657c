"""Stations of fully connected nets with batch norm in every layer, with and without skips, at finite width.

Between two units a net is known by the population covariance T of its channels, x_c ~ N(0, T), and by how
T fluctuates from net to net:

* off the diagonal by a relative variance q of every pair, which does not accumulate with depth;
* on the diagonal by whole factors, whose law diffuses (`norm_diffusion`) and whose fluctuation V over nets
  decides the deviations of mu4, nu1 and r_eff;
* the covariance of signal and noise by zeta / N: the common part of the noise is normalised with the signal,
  so that a batch norm passes (1 - 2 zeta / N) of its variance;
* the noise's variances, whose logarithms diffuse, and the correlations of two points' noises, of mean
  square r.

A unit is a chain of (batch norm, ReLU, layer), added to its input or not; how fluctuations pass through it
is in `shared.fluctuations`. Orders: means to O(1/N) at any depth; deviations to leading order.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from ....nets.layers import BatchNorm
from ....nets.network import Network
from ..closures import CLOSURES, Closures
from ..shared.fluctuations import FluctuationMatrices, FluctuationState, NoiseGain
from ..shared.lognormal import Laws, Lognormal, Step
from ..shared.marchenko_pastur import sampled_spectrum
from ..shared.matrices import centred, with_diagonal, with_means
from ..shared.relu_moments import correlations
from ..shared.units import convolutions, layers_of, residual_of, stem_of
from .finite_channel_variance import FiniteChannelVariance, finite_channel_variance
from .kernel_state import KernelState, NoiseState, of_images, resampled
from .merge import merged_noise, merged_norms, merged_with_signal, signal_noise_shares
from .noise_rank import noise_rank, participation_ratio
from .noise_sampling import NoiseFluctuationState, NoiseSampling
from .norm_diffusion import diffused
from .response import BatchNormResponse, batch_norm_response
from .stations import (
    activated_moments,
    by_norms,
    gaussian_variances,
    log_gaussian_means,
    noise_before_masks,
    normalised_moments,
    of_log_means,
    with_chi,
)


@dataclass
class _Layer:
    """A layer of a branch on its way: what it does to fluctuations, and what it adds to them."""

    through: BatchNormResponse
    channels: NoiseSampling
    masks: float
    pairs: float


class _Observed(NamedTuple):
    """Fluctuations of the Gram matrix of the first activations, and its mean, as sampled."""

    pairs: float
    correlation: float
    norms: np.ndarray
    covariance: np.ndarray


def stations(
    network: Network,
    images: np.ndarray,
    width: int,
    depths: frozenset[int],
    log_input: float,
    closures: Closures = CLOSURES,
) -> Iterator[Step]:
    """Yield (depth, loc, laws) of every station wanted, in walking order.

    Parameters
    ----------
    network : Network
        Units of one kind (`engine.kind`).
    images : shape (n, features)
    width : int
    depths : set of int
    log_input : float
        Logarithm of mu2 of the images, which normalises chi.
    """
    stem = stem_of(network)
    state = None if stem is None else of_images(images, stem.weights.gain)
    activation: Laws = {}  # after the last ReLU: the input of the next unit of a net without skips
    for depth, unit in enumerate(network.units, 1):
        residual, layers = residual_of(unit), layers_of(unit)
        epsilons = [layer.epsilon for layer in layers if isinstance(layer, BatchNorm)]
        gains = [conv.weights.gain for conv in convolutions(layers)]
        wanted = depth in depths
        walk = _Walk(width, log_input, depth, wanted, depth + 1 in depths, closures)
        if residual is not None:
            assert state is not None, "a residual net is covered with a stem only"
            yield from walk.gaussian("input", state)
            state = yield from walk.unit(state, epsilons, gains, residual.scale)
            yield from walk.gaussian("merge", state)
        else:
            # The unit begins with its linear layer, whose input is the images, the stem or an activation.
            if state is None:
                state = of_images(images, gains[0])
            elif depth > 1:
                if wanted:
                    yield depth, "input", activation
                state = _scaled(state, gains[0])
            else:
                yield from walk.gaussian("input", state)
                state = resampled(state, gains[0], width, closures)
            yield from walk.gaussian("conv", state)
            state = yield from walk.unit(state, epsilons, [1.0], None)
            activation = walk.activation


def _scaled(state: KernelState, gain: float) -> KernelState:
    """The population after a linear layer of this gain, if it was one of gain 1."""
    noise = replace(state.noise, log_mean=state.noise.log_mean + math.log(gain))
    return replace(state, covariance=gain * state.covariance, second=gain * state.second, noise=noise)


def _of_typical_net(squared: np.ndarray, pair_variance: float) -> np.ndarray:
    """Squared correlations of a net, from those of the mean covariance: sampling adds q to each of a pair."""
    squared = np.minimum(squared + pair_variance, 1.0)
    np.fill_diagonal(squared, 1.0)
    return squared


class _Walk:
    """Through one unit, yielding its stations."""

    def __init__(
        self, width: int, log_input: float, depth: int, wanted: bool, ahead: bool, closures: Closures
    ) -> None:
        self.width, self.log_input, self.depth = width, log_input, depth
        self.wanted, self.ahead, self.closures = wanted, ahead, closures
        self.activation: Laws = {}

    def gaussian(self, loc: str, state: KernelState) -> Iterator[Step]:
        """The station where channels of the population are sampled."""
        if not self.wanted:
            return
        covariance, noise, points = state.covariance, state.noise, len(state.covariance)
        r, width = noise.correlation.variance, self.width
        participation = participation_ratio(points, noise.point.variance - noise.pair.variance)
        source = (2.0 * participation + 2.0 * (1.0 - participation) * r) / width
        own, inner = state.second, np.diag(covariance)
        squared, uncentred = (
            _of_typical_net(correlations(each)[0] ** 2, state.pairs.variance)
            for each in (covariance, with_means(covariance, own))
        )
        log_means = log_gaussian_means(own, inner) | {"log_mu2_noise": noise.log_mean}
        sampled, raw = 2.0 / width * squared, 2.0 / width * uncentred
        variances = gaussian_variances(own, inner, state.norms.variance, sampled, raw)
        shares = inner / inner.sum()
        # The same number, in the order of products that keeps its last bit.
        variances["log_mu2_signal"] = 2.0 / width * shares @ squared @ shares
        variances["log_mu2_noise"] = noise.batch.variance + 2.0 * noise.batch.sampled + source
        laws = of_log_means(log_means, variances)
        laws = with_chi(laws, state.noise_gain.variance, self.log_input, noise.with_signal.cross)
        yield self.depth, loc, laws

    def unit(
        self, state: KernelState, epsilons: list[float], gains: list[float], scale: float | None
    ) -> Generator[Step, None, KernelState]:
        """Carry a population through a unit; `scale` is None where there is no skip."""
        width, points = self.width, len(state.covariance)
        covariance, log_noise = state.covariance, state.noise.log_mean
        noise = state.noise
        pairs, signal_noise, r = state.pairs.variance, noise.signal.variance, noise.correlation.variance
        participation = participation_ratio(points, noise.point.variance - noise.pair.variance)
        layers, second = [], state.second
        for number, (epsilon, gain) in enumerate(zip(epsilons, gains, strict=True)):
            through = batch_norm_response(
                covariance,
                epsilon,
                pairs,
                state.shared_weights if number == 0 else None,
                closures=self.closures,
            )
            lost = through.shared * math.exp(-log_noise) + through.directions * signal_noise
            log_noise += through.log_inverse + self.closures.log_kept(lost)
            masks = math.sqrt(4.0 * through.squared_masks)
            channels = NoiseSampling(
                width,
                through.inverse_square,
                through.inverse_order_2,
                through.masks,
                r,
                participation,
                self.closures,
            )
            layer = _Layer(through, channels, masks, through.pair_kurtosis / width)
            layers.append(layer)
            kernel = centred(through.kernel)
            if number == 0:
                observed = self._observed(state, layer, kernel)
                if self.wanted or self.ahead:
                    chance = finite_channel_variance(through.values, through.vectors, epsilon)
                    norm = self._normalised(state, layer, log_noise, chance)
                    before = norm["log_nu1_abs_signal"]
                    self.activation = self._activated(state, layer, log_noise, kernel, before, chance)
                if self.wanted:
                    yield self.depth, "norm", norm
                    yield self.depth, "act", self.activation | self._ranks(state, layer, observed)
                pairs, r = observed.pairs, observed.correlation
                signal_noise = noise.signal.observed(
                    through.signal_noise_memory, through.pair_kurtosis / width
                )
                if scale is None:
                    kernel = observed.covariance
            else:
                pairs = through.memory**2 * pairs + layer.pairs
                signal_noise = through.signal_noise_memory**2 * signal_noise + through.pair_kurtosis / width
                r = masks**2 * r + channels.correlation.variance
            log_noise += math.log(0.5 * gain)
            covariance, second = gain * kernel, gain * np.diag(through.kernel)
            if number == 0 and self.wanted and scale is not None:
                yield from self._behind(state, layer, covariance, second, log_noise, observed)
        return self._merged(state, layers, covariance, second, log_noise, scale)

    def _observed(self, state: KernelState, layer: _Layer, kernel: np.ndarray) -> _Observed:
        through = layer.through
        fresh = through.fresh / self.width
        crossed = through.response @ state.norms.cross
        fluctuation = through.response @ state.norms.variance @ through.response.T
        diffusion = float(np.mean(np.diag(fresh))) + 2.0 * state.free_norms.cross
        return _Observed(
            pairs=state.pairs.observed(through.memory, layer.pairs),
            correlation=state.noise.correlation.observed(layer.channels.correlation, layer.masks),
            norms=fluctuation + crossed + crossed.T + fresh,
            covariance=with_diagonal(kernel, diffused(np.diag(kernel), diffusion, self.closures)),
        )

    def _grown(self, state: KernelState, layer: _Layer) -> float:
        return state.noise_gain.behind(layer.through.inverse_slope, state.norms.variance)

    def _normalised(
        self, state: KernelState, layer: _Layer, log_noise: float, chance: FiniteChannelVariance
    ) -> Laws:
        """The station after batch norm."""
        through, channels, width = layer.through, layer.channels, self.width
        log_mu2 = math.log(through.mu2)
        log_means = {"log_nu2_signal": log_mu2, "log_mu2_signal": log_mu2, "log_mu2_noise": log_noise}
        values = (through.nu1, through.mu4), (chance.nu1, chance.mu4), through.slopes
        odd = {
            name: by_norms(math.log(mean), by_chance / width, slope @ state.norms.variance @ slope)
            for name, mean, by_chance, slope in zip(
                ("log_nu1_abs_signal", "log_mu4_signal"), *values, strict=True
            )
        }
        noise = noise_before_masks(state.noise.batch, channels.before_masks(), channels.batch.variance)
        return normalised_moments(log_means, odd, noise, self._grown(state, layer), self.log_input)

    def _activated(
        self, state: KernelState, layer: _Layer, log_noise: float, kernel: np.ndarray, before: Lognormal,
        chance: FiniteChannelVariance,
    ) -> Laws:  # fmt: skip
        """The station after the ReLU, without ranks; `before` is the moment of nu1 before it."""
        log_means = {
            "log_nu2_signal": math.log(0.5 * layer.through.mu2),
            "log_mu2_signal": math.log(float(np.trace(kernel)) / len(kernel)),
            "log_mu2_noise": log_noise - math.log(2.0),
        }
        nu1 = Lognormal(before.mean - math.log(2.0), before.variance)
        noise = state.noise.batch.observed(layer.channels.batch)
        return activated_moments(
            log_means, nu1, chance, self.width, noise, self._grown(state, layer), self.log_input
        )

    def _ranks(self, state: KernelState, layer: _Layer, observed: _Observed) -> Laws:
        """Effective ranks after the ReLU."""
        noise, covariance, pairs = state.noise, observed.covariance, observed.pairs
        values, vectors = np.linalg.eigh(covariance)
        spectrum = sampled_spectrum(np.maximum(values, 0.0), len(values) * pairs)
        rank = float(spectrum.sum() / spectrum[-1])
        slope = vectors[:, -1] ** 2 - np.diag(covariance) / values.sum()
        relative = 2.0 * pairs * (1.0 - 1.0 / rank) ** 2 + slope @ observed.norms @ slope
        channels = layer.channels
        differing = noise.point.observed(channels.point) - noise.pair.observed(channels.pair)
        earlier = observed.correlation - channels.correlation.variance
        rank_noise, deviation = noise_rank(len(values), self.width, differing, earlier, self.closures)
        return {
            "reff_signal": Lognormal(rank, relative * rank**2),
            "reff_noise": Lognormal(rank_noise, deviation**2),
        }

    def _behind(
        self, state: KernelState, layer: _Layer, covariance: np.ndarray, second: np.ndarray, log_noise: float,
        observed: _Observed,
    ) -> Iterator[Step]:  # fmt: skip
        """The station after the first linear layer of a branch: fresh channels of the sampled kernel."""
        noise = state.noise
        sampled = NoiseState(
            log_noise,
            **{
                name: NoiseFluctuationState(getattr(noise, name).observed(getattr(layer.channels, name)))
                for name in ("point", "pair", "batch")
            },
            correlation=NoiseFluctuationState(observed.correlation),
            signal=noise.signal,
            with_signal=FluctuationState(0.0),  # fresh channels
        )
        behind = KernelState(
            covariance,
            second,
            FluctuationState(observed.pairs),
            FluctuationMatrices(observed.norms, np.zeros_like(observed.norms)),
            FluctuationState(0.0),
            sampled,
            NoiseGain(self._grown(state, layer), state.noise_gain.cross),
        )
        yield from self.gaussian("conv", behind)

    def _merged(
        self, state: KernelState, layers: list[_Layer], branch: np.ndarray, second: np.ndarray,
        log_noise: float, scale: float | None,
    ) -> KernelState:  # fmt: skip
        """The population after a unit."""
        noise = state.noise
        if scale is None:
            share = noise_share = 1.0
            covariance, log_mean = branch, log_noise
        else:
            log_noise += 2.0 * math.log(scale) if scale > 0.0 else -math.inf
            log_mean = float(np.logaddexp(noise.log_mean, log_noise))
            noise_share = math.exp(log_noise - log_mean)
            covariance = state.covariance + scale**2 * branch
            share = float(scale**2 * np.trace(branch) / np.trace(covariance))
            second = state.second + scale**2 * second
        memories = [layer.through.memory for layer in layers]
        fresh = [layer.through.fresh / self.width for layer in layers]
        means, ones = [float(np.diag(each).mean()) for each in fresh], [1.0] * len(layers)
        free_norms = state.free_norms.merged(share, ones, means)
        if scale is not None:
            added = free_norms.variance - state.free_norms.variance
            covariance = with_diagonal(covariance, diffused(np.diag(covariance), added, self.closures))
        shares = share, noise_share
        norms, noise_gain = merged_norms(
            state.norms, state.noise_gain, shares,
            pulls=[layer.through.inverse_slope for layer in layers],
            responses=[layer.through.response for layer in layers],
            fresh=fresh,
            after=np.diag(covariance),
            closures=self.closures,
        )  # fmt: skip
        masks = [layer.masks for layer in layers]
        fluctuations = {
            name: merged_noise(
                getattr(noise, name), shares, [getattr(layer.channels, name) for layer in layers], memory
            )
            for name, memory in (("point", ones), ("pair", ones), ("batch", ones), ("correlation", masks))
        }
        signal_share, stay = signal_noise_shares(shares)
        noise_after = NoiseState(
            log_mean,
            **fluctuations,
            with_signal=merged_with_signal(
                noise.with_signal,
                shares,
                [layer.through.inverse_with_variance / self.width for layer in layers],
            ),
            signal=noise.signal.merged(
                signal_share,
                [layer.through.signal_noise_memory for layer in layers],
                [layer.through.pair_kurtosis / self.width for layer in layers],
                stay=stay,
            ),
        )
        pairs = state.pairs.merged(share, memories, [layer.pairs for layer in layers])
        kept = None if scale is None else state.shared_weights
        return KernelState(
            covariance,
            second,
            pairs,
            norms,
            free_norms,
            noise_after,
            noise_gain,
            kept,
        )
