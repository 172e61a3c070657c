"""Fully connected nets with batch norm in every layer, with and without skips, at finite width.

Between two units a net is known by the population covariance T of its channels, x_c ~ N(0, T), and by how
T fluctuates from net to net:

* off the diagonal by a relative variance q of every pair, which does not accumulate with depth;
* on the diagonal by whole factors, whose law diffuses (`diagonal_law`) and whose fluctuation V over nets
  decides the deviations of mu4, nu1 and r_eff;
* the covariance of signal and noise by zeta / N: the common part of the noise is normalised with the signal,
  so that a batch norm passes (1 - 2 zeta / N) of its variance;
* the noise's variances, whose logarithms diffuse, and the correlations of two points' noises, of mean
  square r.

A unit is a chain of (batch norm, ReLU, layer), added to its input or not; how fluctuations pass through it
is in `coherence`. Orders: means to O(1/N) at any depth; deviations to leading order.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from ...nets.layers import BatchNorm, Conv
from ...nets.network import Residual
from .arc_cosine import correlations
from .channel_noise import ChannelNoise, NoiseFluctuation
from .channel_sampling import channel_sampling
from .coherence import Coherent, Growth, bounds, merged_matrices
from .diagonal_law import diffused
from .law import Law, law_of_chi
from .matrices import centred, with_diagonal, with_means
from .noise_rank import noise_rank, participation
from .normalised import Normalised, normalised
from .population import NoiseLaw, Population, of_images, resampled
from .spectral_spread import spread


@dataclass
class _Layer:
    """A layer of a branch on its way: what it does to fluctuations, and what it adds to them."""

    through: Normalised
    channels: ChannelNoise
    masks: float
    pairs: float


def stations(network, images: np.ndarray, width: int, depths: frozenset, log_input: float) -> Iterator:
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
    state = of_images(images, network.stem[0].gain) if network.stem else None
    activation = None  # laws behind the last ReLU: the input of the next unit of a net without skips
    for depth, unit in enumerate(network.units, 1):
        residual = isinstance(unit[0], Residual)
        layers = unit[0].branch if residual else unit
        epsilons = [layer.epsilon for layer in layers if isinstance(layer, BatchNorm)]
        gains = [layer.gain for layer in layers if isinstance(layer, Conv)]
        wanted = depth in depths
        walk = _Walk(width, log_input, depth, wanted, depth + 1 in depths)
        if residual:
            yield from walk.gaussian("input", state)
            state = yield from walk.unit(state, epsilons, gains, unit[0].scale)
            yield from walk.gaussian("merge", state)
        else:
            # The unit begins with its linear layer, whose input is the images, the stem or an activation.
            if depth > 1:
                if wanted:
                    yield depth, "input", activation
                state = _scaled(state, gains[0])
            elif state is None:
                state = of_images(images, gains[0])
            else:
                yield from walk.gaussian("input", state)
                state = resampled(state, gains[0], width)
            yield from walk.gaussian("conv", state)
            state = yield from walk.unit(state, epsilons, [1.0], None)
            activation = walk.activation


def _scaled(state: Population, gain: float) -> Population:
    """The population behind a linear layer of this gain, if it was one of gain 1."""
    noise = replace(state.noise, log_mean=state.noise.log_mean + math.log(gain))
    return replace(state, covariance=gain * state.covariance, second=gain * state.second, noise=noise)


def _of_typical_net(squared: np.ndarray, pair_variance: float) -> np.ndarray:
    """Squared correlations of a net, from those of the mean covariance: sampling adds q to each of a pair."""
    squared = np.minimum(squared + pair_variance, 1.0)
    np.fill_diagonal(squared, 1.0)
    return squared


class _Walk:
    """Through one unit, yielding its stations."""

    def __init__(self, width: int, log_input: float, depth: int, wanted: bool, ahead: bool):
        self.width, self.log_input, self.depth = width, log_input, depth
        self.wanted, self.ahead = wanted, ahead
        self.activation: dict | None = None

    def gaussian(self, loc: str, state: Population):
        """The station where channels of the population are sampled."""
        if not self.wanted:
            return
        covariance, noise, points = state.covariance, state.noise, len(state.covariance)
        r, width = noise.coherence.variance, self.width
        part = participation(points, noise.alone.variance - noise.across.variance)
        source = (2.0 * part + 2.0 * (1.0 - part) * r) / width
        mu2_noise = Law.logarithm(1.0, noise.whole.variance + 2.0 * noise.whole.sampled + source)
        mu2_noise = Law(mu2_noise.mean + noise.log_mean, mu2_noise.variance + state.growth.variance)
        variances = np.diag(covariance)
        squared, uncentred = (
            _of_typical_net(correlations(each)[0] ** 2, state.pairs.variance)
            for each in (covariance, with_means(covariance, state.second))
        )
        shares = variances / variances.sum()
        mu2 = Law.logarithm(float(variances.mean()), 2.0 / width * shares @ squared @ shares)
        fluctuation = state.points.variance + 2.0 / width * squared
        # What batch norm takes off, the channels' means, only has the chance of its last sampling.
        kept = variances / state.second
        raw = state.points.variance * np.outer(kept, kept) + 2.0 / width * uncentred
        shares = state.second / state.second.sum()
        fourth = variances**2 / np.sum(variances**2)
        half = np.sqrt(state.second) / np.sum(np.sqrt(state.second))
        laws = {
            "log_nu1_abs_signal": Law.logarithm(
                float(np.mean(np.sqrt(2.0 / math.pi * state.second))), 0.25 * half @ raw @ half
            ),
            "log_nu2_signal": Law.logarithm(float(state.second.mean()), shares @ raw @ shares),
            "log_mu2_signal": mu2,
            "log_mu4_signal": Law.logarithm(
                float(3.0 * np.mean(variances**2)), 4.0 * fourth @ fluctuation @ fourth
            ),
            "log_mu2_noise": mu2_noise,
            "log_chi": law_of_chi(mu2_noise, mu2, self.log_input, state.noise.with_signal.cross),
        }
        yield self.depth, loc, laws

    def unit(self, state: Population, epsilons: list, gains: list, scale: float | None):
        """Carry a population through a unit; `scale` is None where there is no skip."""
        width, points = self.width, len(state.covariance)
        covariance, log_noise = state.covariance, state.noise.log_mean
        noise = state.noise
        pairs, overlap, r = state.pairs.variance, noise.overlap.variance, noise.coherence.variance
        part = participation(points, noise.alone.variance - noise.across.variance)
        layers, second = [], state.second
        for number, (epsilon, gain) in enumerate(zip(epsilons, gains, strict=True)):
            through = normalised(covariance, epsilon, pairs, state.overlap if number == 0 else None)
            lost = through.shared * math.exp(-log_noise) + through.directions * overlap
            log_noise += through.log_inverse + math.log1p(-min(lost, 0.5))
            masks = math.sqrt(4.0 * through.squared_masks)
            channels = ChannelNoise(
                width, through.inverse_square, through.inverse_order_2, through.masks, r, part
            )
            layer = _Layer(through, channels, masks, through.spread / width)
            layers.append(layer)
            kernel = centred(through.kernel)
            if number == 0:
                observed = self._observed(state, layer, kernel)
                if self.wanted or self.ahead:
                    chance = channel_sampling(through.values, through.vectors, epsilon)
                    norm = self._normalised(state, layer, log_noise, chance)
                    before = norm["log_nu1_abs_signal"]
                    self.activation = self._activated(state, layer, log_noise, kernel, before, chance)
                if self.wanted:
                    yield self.depth, "norm", norm
                    yield self.depth, "act", self.activation | self._ranks(state, layer, observed)
                pairs, r = observed["pairs"], observed["coherence"]
                overlap = noise.overlap.observed(through.overlap_memory, through.spread / width)
                if scale is None:
                    kernel = observed["covariance"]
            else:
                pairs = through.memory**2 * pairs + layer.pairs
                overlap = through.overlap_memory**2 * overlap + through.spread / width
                r = masks**2 * r + channels.coherent.variance
            log_noise += math.log(0.5 * gain)
            covariance, second = gain * kernel, gain * np.diag(through.kernel)
            if number == 0 and self.wanted and scale is not None:
                yield from self._behind(state, layer, covariance, second, log_noise, observed)
        return self._merged(state, layers, covariance, second, log_noise, scale)

    def _observed(self, state: Population, layer: _Layer, kernel: np.ndarray) -> dict:
        """Fluctuations of the Gram matrix of the first activations, as sampled."""
        through = layer.through
        fresh = through.fresh / self.width
        crossed = through.response @ state.points.cross
        fluctuation = through.response @ state.points.variance @ through.response.T
        diffusion = float(np.mean(np.diag(fresh))) + 2.0 * state.mean_points.cross
        return {
            "pairs": state.pairs.observed(through.memory, layer.pairs),
            "coherence": state.noise.coherence.observed(layer.channels.coherent, layer.masks),
            "points": fluctuation + crossed + crossed.T + fresh,
            "covariance": with_diagonal(kernel, diffused(np.diag(kernel), diffusion)),
        }

    def _grown(self, state, layer) -> float:
        return state.growth.behind(layer.through.inverse_slope, state.points.variance)

    def _normalised(self, state, layer, log_noise, chance) -> dict[str, Law]:
        """The station behind batch norm."""
        through, noise = layer.through, state.noise
        source = layer.channels.before_masks()
        share = source / layer.channels.whole.variance
        variance = noise.whole.variance + 2.0 * share * float(np.sum(noise.whole.cross)) + source
        mu2_noise = Law(log_noise - 0.5 * variance, variance + self._grown(state, layer))
        mu2 = Law(math.log(through.level))
        absolute, fourth = through.slopes
        of_absolute = absolute @ state.points.variance @ absolute + chance.absolute / self.width
        of_fourth = fourth @ state.points.variance @ fourth + chance.fourth / self.width
        return {
            "log_nu1_abs_signal": Law.logarithm(through.absolute, of_absolute),
            "log_nu2_signal": mu2,
            "log_mu2_signal": mu2,
            "log_mu4_signal": Law.logarithm(through.fourth, of_fourth),
            "log_mu2_noise": mu2_noise,
            "log_chi": law_of_chi(mu2_noise, mu2, self.log_input),
        }

    def _activated(self, state, layer, log_noise, kernel, before: Law, chance) -> dict[str, Law]:
        """The station behind the ReLU, without ranks; `before` is the law of nu1 before it."""
        noise = state.noise
        variance = noise.whole.observed(layer.channels.whole)
        mu2_noise = Law(log_noise - math.log(2.0) - 0.5 * variance, variance + self._grown(state, layer))
        trace = float(np.trace(kernel))
        mu2 = Law.logarithm(trace / len(kernel), chance.centred / self.width)
        # The sum of squares is fixed by batch norm; only which half the ReLU keeps is random.
        halves = chance.half / self.width
        return {
            "log_nu1_abs_signal": Law(before.mean - math.log(2.0), before.variance),  # a channel's mean is 0
            "log_nu2_signal": Law.logarithm(0.5 * layer.through.level, halves),
            "log_mu2_signal": mu2,
            "log_mu2_noise": mu2_noise,
            "log_chi": law_of_chi(mu2_noise, mu2, self.log_input),
        }

    def _ranks(self, state, layer, observed) -> dict[str, Law]:
        """Effective ranks behind the ReLU."""
        noise, covariance, pairs = state.noise, observed["covariance"], observed["pairs"]
        values, vectors = np.linalg.eigh(covariance)
        spectrum = spread(np.maximum(values, 0.0), len(values) * pairs)
        rank = float(spectrum.sum() / spectrum[-1])
        slope = vectors[:, -1] ** 2 - np.diag(covariance) / values.sum()
        relative = 2.0 * pairs * (1.0 - 1.0 / rank) ** 2 + slope @ observed["points"] @ slope
        channels = layer.channels
        differing = noise.alone.observed(channels.alone) - noise.across.observed(channels.across)
        earlier = observed["coherence"] - channels.coherent.variance
        rank_noise, deviation = noise_rank(len(values), self.width, differing, earlier)
        return {"reff_signal": Law(rank, relative * rank**2), "reff_noise": Law(rank_noise, deviation**2)}

    def _behind(self, state, layer, covariance, second, log_noise, observed):
        """The station behind the first linear layer of a branch: fresh channels of the sampled kernel."""
        noise = state.noise
        sampled = NoiseLaw(
            log_noise,
            **{
                name: NoiseFluctuation(getattr(noise, name).observed(getattr(layer.channels, name)))
                for name in ("alone", "across", "whole")
            },
            coherence=NoiseFluctuation(observed["coherence"]),
            overlap=noise.overlap,
            with_signal=Coherent(0.0),  # fresh channels
        )
        behind = Population(
            covariance,
            second,
            Coherent(observed["pairs"]),
            Coherent(observed["points"]),
            Coherent(0.0),
            sampled,
            Growth(self._grown(state, layer), state.growth.cross),
        )
        yield from self.gaussian("conv", behind)

    def _merged(self, state, layers, branch, second, log_noise, scale) -> Population:
        """The population behind a unit."""
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
        mean_points = state.mean_points.merged(share, ones, means)
        if scale is not None:
            added = mean_points.variance - state.mean_points.variance
            covariance = with_diagonal(covariance, diffused(np.diag(covariance), added))
        responses = [each.through.response for each in layers]
        pulls = [each.through.inverse_slope for each in layers]
        growth = state.growth.merged(share, noise_share, pulls, responses, state.points.variance)
        points = merged_matrices(state.points, share, responses, fresh)
        factors = bounds(points.variance, float(np.log(np.maximum(np.diag(covariance), 1e-300)).var()))
        variance = points.variance * np.outer(factors, factors)
        overlaps = [layer.through.overlap_memory for layer in layers]
        sources = [layer.through.spread / self.width for layer in layers]
        apart = math.sqrt((1.0 - share) * (1.0 - noise_share))
        fluctuations = {}
        masks = [layer.masks for layer in layers]
        for name, memory in (("alone", ones), ("across", ones), ("whole", ones), ("coherence", masks)):
            which = "coherent" if name == "coherence" else name
            parts = [getattr(layer.channels, which) for layer in layers]
            persist = parts[0].persist(1.0 - share, 1.0 - noise_share)
            fluctuations[name] = getattr(noise, name).merged(noise_share, parts, persist, memory)
        with_signal = [layer.through.inverse_with_variance / self.width for layer in layers]
        merged_noise = NoiseLaw(
            log_mean,
            **fluctuations,
            with_signal=noise.with_signal.merged(noise_share, ones, with_signal, persists=1.0 - share),
            overlap=noise.overlap.merged(math.sqrt(share * noise_share), overlaps, sources, stay=apart),
        )
        pairs = state.pairs.merged(share, memories, [layer.pairs for layer in layers])
        kept = None if scale is None else state.overlap
        return Population(
            covariance,
            second,
            pairs,
            Coherent(variance, points.cross),
            mean_points,
            merged_noise,
            growth.scaled(factors),
            kept,
        )
