"""Stations of fully connected nets with batch norm in every layer, with and without skips, at finite width.

Between two units a net is known by the population covariance T of its channels, x_c ~ N(0, T), whose mean
is carried here as a dense kernel, and by how T and the noise fluctuate from net to net (`unit_fluctuations`,
on the lattice of one position; `kernel_state.PointNoise`). The mean has three terms of order 1 / N:

* pairs of points fluctuate, so that the covariance before a batch norm is one of samples (`response`);
* norms of points diffuse, and are fed back into the mean (`norm_diffusion`);
* the common part of the noise is normalised with the signal, so that a batch norm passes (1 - 2 zeta / N)
  of its variance.

A unit is a chain of (batch norm, ReLU, layer), added to its input or not. Orders: means to O(1/N) at any
depth; deviations to leading order.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from ....nets.layers import Layer
from ....nets.norms import BatchNorm
from ..closures import Closures
from ..shared.lognormal import Laws, Lognormal, Step
from ..shared.marchenko_pastur import sampled_spectrum
from ..shared.matrices import centred, with_means
from ..shared.noise_draw import draw_variance
from ..shared.relu_moments import correlations
from ..shared.units import Task, convolutions, layers_of, residual_of, stem_of
from .kernel_state import KernelState, PointNoise
from .noise_rank import noise_rank
from .norm_diffusion import fed_back
from .record import BatchNormRecord
from .stations import (
    activated_moments,
    gaussian_moments,
    gaussian_variances,
    log_gaussian_means,
    normalised_moments,
)
from .tap_averaging import TapAveraging
from .unit_fluctuations import UnitFluctuations, shares_of

#: Correlations within an image, by displacement.
ALONE = np.ones((1, 1))


def stations(task: Task) -> Iterator[Step]:
    """Yield (depth, loc, laws) of every station wanted, in walking order."""
    network, images, width, depths, log_input, closures = task
    stem, units = stem_of(network), network.units
    # The first layer is the stem, or that of the first unit.
    first = stem or convolutions(layers_of(units[0]))[0]
    walk = _Walk(images, first.weights.gain, width, log_input, closures)
    for depth, unit in enumerate(units, 1):
        residual, layers = residual_of(unit), layers_of(unit)
        gains = [conv.weights.gain for conv in convolutions(layers)]
        walk.depth, walk.wanted, walk.ahead = depth, depth in depths, depth + 1 in depths
        if residual is not None:
            yield from walk.gaussian("input")
            yield from walk.unit(layers, gains, residual.scale)
            yield from walk.gaussian("merge")
        else:
            # The unit begins with its linear layer, whose input is the images, the stem or an activation.
            if depth > 1:
                if walk.wanted:
                    yield depth, "input", walk.activation
                walk.kernel = walk.kernel.scaled(gains[0])
            elif stem is not None:
                yield from walk.gaussian("input")
                walk.sample(gains[0])
            yield from walk.gaussian("conv")
            yield from walk.unit(layers, [1.0], None)


class _Walk:
    """Where the signal stands: the mean kernel, and how it fluctuates.

    Parameters
    ----------
    images : shape (n, features)
    gain : float
        Of the first linear layer.
    width, log_input, closures
        As of `stations`.
    """

    def __init__(
        self, images: np.ndarray, gain: float, width: int, log_input: float, closures: Closures
    ) -> None:
        self.width, self.log_input, self.closures = width, log_input, closures
        self.kernel = KernelState.of_images(images, gain)
        self.points = PointNoise(*images.shape)
        lattice = TapAveraging((1, 1), True)
        points, features = images.shape
        self.fluctuations = UnitFluctuations(
            lattice, points, 1, width, features, draw_variance(images.size), closures
        )
        #: After the last ReLU: the input of the next unit of a net without skips.
        self.activation: Laws = {}
        self.depth, self.wanted, self.ahead = 0, False, False

    def sample(self, gain: float) -> None:
        """One more linear layer, whose population is the Gram matrix of N channels."""
        kernel, fluctuations, points = self.kernel, self.fluctuations, self.points
        batch = (2.0 / points.points + 2.0 * points.correlation) / self.width
        added = fluctuations.sample(kernel.covariance, ALONE, ALONE, batch)
        points.sample(self.width)
        self.kernel = self._diffused(kernel.scaled(gain), added)

    def _diffused(self, kernel: KernelState, added: float) -> KernelState:
        """With the diffusion of norms fed back."""
        return replace(kernel, covariance=fed_back(kernel.covariance, added, self.closures))

    def gaussian(self, loc: str) -> Iterator[Step]:
        """The station where channels of the population are sampled."""
        if not self.wanted:
            return
        covariance, second = self.kernel.covariance, self.kernel.second
        fluctuations, inner = self.fluctuations, np.diag(covariance)
        sampled, raw = (
            2.0 / self.width * _of_typical_net(correlations(each)[0] ** 2, fluctuations.pair_variance)
            for each in (covariance, with_means(covariance, second))
        )
        variances = gaussian_variances(second, inner, fluctuations.norms_here, sampled, raw)
        log_means = log_gaussian_means(second, inner) | {"log_mu2_noise": self.kernel.log_noise}
        of_noise = self.points.sampled(self.width)
        yield (
            self.depth,
            loc,
            gaussian_moments(log_means, variances, fluctuations, of_noise, self.log_input),
        )

    def unit(self, layers: tuple[Layer, ...], gains: list[float], scale: float | None) -> Iterator[Step]:
        """Carry the population through a unit; `scale` is None where there is no skip."""
        before = kernel = self.kernel
        norms = [layer for layer in layers if isinstance(layer, BatchNorm)]
        for number, (norm, gain) in enumerate(zip(norms, gains, strict=True)):
            passed = self._passed(kernel, norm.epsilon, first=number == 0)
            through = passed.through
            lost = through.shared * math.exp(-kernel.log_noise) + passed.lost
            log_noise = kernel.log_noise + through.log_inverse + self.closures.log_kept(lost)
            centre = centred(through.kernel)
            activation = KernelState(centre, np.diag(through.kernel), log_noise - math.log(2.0))
            if number == 0:
                # What feeds back on the mean behind a skip is known at the merge.
                kernel = self._diffused(activation, self.fluctuations.diffusion_here)
                yield from self._observed(passed, log_noise, activation, kernel)
            self.kernel = kernel = (kernel if scale is None else activation).scaled(gain)
            if number == 0 and scale is not None:
                yield from self.gaussian("conv")
        self._merge(before, scale)

    def _passed(self, kernel: KernelState, epsilon: float, *, first: bool) -> BatchNormRecord:
        """What a batch norm did to the fluctuations."""
        shared = kernel.shared_weights if first else None
        fluctuations, points = self.fluctuations, self.points
        passed = fluctuations.before(kernel.covariance, ALONE, epsilon, shared_weights=shared)
        square = passed.through.inverse_square
        fluctuations.behind(passed, ALONE, ALONE, square, points.correlation, points.participation)
        points.behind(passed)
        return passed

    def _observed(
        self, passed: BatchNormRecord, log_noise: float, activation: KernelState, diffused: KernelState
    ) -> Iterator[Step]:
        """The stations after batch norm and after the ReLU."""
        if not (self.wanted or self.ahead):
            return
        through = passed.through
        log_mu2, log_nu1 = math.log(through.mu2), math.log(through.nu1)
        norm = {
            "log_nu1_abs_signal": log_nu1,
            "log_nu2_signal": log_mu2,
            "log_mu2_signal": log_mu2,
            "log_mu4_signal": math.log(through.mu4),
            "log_mu2_noise": log_noise,
        }
        act = {
            "log_nu1_abs_signal": log_nu1 - math.log(2.0),
            "log_nu2_signal": log_mu2 - math.log(2.0),
            "log_mu2_signal": math.log(float(np.diag(activation.covariance).mean())),
            "log_mu2_noise": activation.log_noise,
        }
        self.activation = activated_moments(passed, act, self.log_input)
        if self.wanted:
            yield self.depth, "norm", normalised_moments(passed, norm, self.log_input)
            yield self.depth, "act", self.activation | self._ranks(passed, diffused.covariance)

    def _ranks(self, passed: BatchNormRecord, covariance: np.ndarray) -> Laws:
        """Effective ranks after the ReLU."""
        pairs, points = self.fluctuations.pair_variance, self.points
        values, vectors = np.linalg.eigh(covariance)
        spectrum = sampled_spectrum(np.maximum(values, 0.0), len(values) * pairs)
        rank = float(spectrum.sum() / spectrum[-1])
        slope = vectors[:, -1] ** 2 - np.diag(covariance) / values.sum()
        relative = 2.0 * pairs * (1.0 - 1.0 / rank) ** 2 + slope @ passed.norms_behind @ slope
        rank_noise, deviation = noise_rank(points.apart, points.earlier, points.ratio, self.closures)
        return {
            "reff_signal": Lognormal(rank, relative * rank**2),
            "reff_noise": Lognormal(rank_noise, deviation**2),
        }

    def _merge(self, before: KernelState, scale: float | None) -> None:
        """The unit ends: its branch is added to what was before it, or takes its place."""
        branch, shares, layers = self.kernel, (1.0, 1.0), self.fluctuations.layers
        if scale is not None:
            log_noise = branch.log_noise + (2.0 * math.log(scale) if scale > 0.0 else -math.inf)
            self.kernel = KernelState(
                before.covariance + scale**2 * branch.covariance,
                before.second + scale**2 * branch.second,
                float(np.logaddexp(before.log_noise, log_noise)),
                before.shared_weights,
            )
            shares = shares_of(before.extent, self.kernel.extent)
        added = self.fluctuations.merge(shares)
        self.points.merge(shares, layers)
        if scale is not None:
            self.kernel = self._diffused(self.kernel, added)
        self.fluctuations.hold(np.diag(self.kernel.covariance))


def _of_typical_net(squared: np.ndarray, pair_variance: float) -> np.ndarray:
    """Squared correlations of a net, from those of the mean covariance: sampling adds q to each of a pair."""
    squared = np.minimum(squared + pair_variance, 1.0)
    np.fill_diagonal(squared, 1.0)
    return squared
