"""Fluctuations over nets of kernel and noise, on their way through the units of a net with batch norm.

Points are those of a lattice (image, position). A fully connected net is the lattice of one position, on
which displacements, modes and means over positions are single numbers. Beside any walk of the means,
`UnitFluctuations` follows

* q: relative variances of pairs of points, by mode of the lattice (`tap_averaging`);
* zeta / N: the same of the covariance of signal and noise;
* V: covariance of the logarithms of the images' norms, and the mean of its diagonal if batch norm neither
  held the norms nor drove them apart;
* g: what V makes of the noise (`NoiseGain`);
* log mu2 of the noise as channels sample it, and its covariance with log mu2 of the signal.
"""

from __future__ import annotations

import math

import numpy as np

from ..closures import CLOSURES, Closures
from ..shared.fluctuations import (
    FluctuationMatrices,
    FluctuationRecursion,
    FluctuationState,
    NoiseGain,
)
from ..shared.matrices import by_images, mean_of_pairs
from ..shared.relu_moments import correlation_of_squares, correlations
from .merge import held_norms, merged_noise, merged_norms, merged_with_signal, signal_noise_shares
from .noise_sampling import NoiseFluctuationState, NoiseSampling
from .record import BatchNormRecord
from .response import batch_norm_response, shared_weights_ratio
from .tap_averaging import TapAveraging


class UnitFluctuations:
    """Fluctuations of order N^-1/2 where the signal stands, and before the unit that it is in.

    Parameters
    ----------
    lattice : TapAveraging
        Displacements between the positions of an image.
    images : int
    positions : int
        Of an image.
    width : int
        N.
    inputs : int
        Weights of a channel of the layer that sees the images.
    draw : float
        Variance of log mu2 of the noise on the images, of which every net has a draw of its own.
    closures : Closures

    Attributes
    ----------
    pairs, overlap : FluctuationRecursion
        q and zeta / N, shape (modes,).
    diffusion : FluctuationRecursion
        Mean over images of the diagonal of V without a restoring force, which drives `norm_diffusion`.
    norms : FluctuationMatrices
        V before the unit, shape (images, images).
    growth : NoiseGain
    noise : NoiseFluctuationState
        Of log mu2 of the noise before the unit.
    with_signal : FluctuationState
        Its cross is the covariance of log mu2 of the noise with that of the N channels that are sampled.
    layers : list of BatchNormRecord
        What the branch has passed.
    """

    def __init__(
        self, lattice: TapAveraging, images: int, positions: int, width: int, inputs: int, draw: float,
        closures: Closures = CLOSURES,
    ) -> None:  # fmt: skip
        self.lattice, self.images, self.positions = lattice, images, positions
        self.width, self.inputs, self.closures = width, inputs, closures
        #: Whether the channels are those of the layer that sees the images.
        self.first = True
        nothing = np.zeros((images, images))
        self.pairs, self.overlap, self.diffusion = (FluctuationRecursion() for _ in range(3))
        self.norms = FluctuationMatrices(nothing, nothing)
        self.growth = NoiseGain(0.0, np.zeros(images))
        self.noise = NoiseFluctuationState(draw)
        self.with_signal: FluctuationState[float] = FluctuationState(0.0)
        self.layers: list[BatchNormRecord] = []

    # ------------------------------------------------------------ where the signal stands

    @property
    def pair_variance(self) -> float:
        """Q."""
        return float(np.mean(self.pairs.variance))

    @property
    def norms_here(self) -> np.ndarray:
        """V, shape (images, images)."""
        return self.layers[-1].norms_behind if self.layers else self.norms.variance

    @property
    def grown_here(self) -> float:
        """Variance of log mu2 of the noise that V makes."""
        return self.layers[-1].grown if self.layers else self.growth.variance

    @property
    def noise_here(self) -> NoiseFluctuationState:
        """Of log mu2 of the noise; behind the first layer of a branch its channels are fresh."""
        found = self.noise
        for layer in self.layers:
            found = NoiseFluctuationState(found.observed(layer.channels.batch))
        return found

    @property
    def shared_here(self) -> float:
        """Covariance of log mu2 of signal and noise; fresh channels share nothing."""
        return 0.0 if self.layers else self.with_signal.cross

    @property
    def diffusion_here(self) -> float:
        """What the branch has added to the diffusion of norms."""
        return float(self.diffusion.variance - self.diffusion.at.variance)

    # ------------------------------------------------------------ layers

    def sample(self, few: np.ndarray, own: np.ndarray, noises: np.ndarray, noise: float) -> float:
        """A linear layer after another: its population is the Gram matrix of N Gaussian channels.

        Returns what it adds to the diffusion of norms.

        Parameters
        ----------
        few : shape (points, points)
            Centred covariance of a few positions of every image.
        own, noises : shape (modes,) as a lattice
            Correlations within an image of signal and noise, by displacement.
        noise : float
            What N channels add to the variance of log mu2 of the noise.
        """
        squares = correlations(few)[0] ** 2
        # Of x_a x_b, relative: 1 + c^2.
        spread = (1.0 + mean_of_pairs(squares)) / self.width
        self.pairs = FluctuationRecursion(self.pairs.variance + spread * self.lattice.modes(own**2))
        self.overlap = FluctuationRecursion(
            self.overlap.variance + self.lattice.modes(own * noises) / self.width
        )
        fresh = self.sampled_norms(few)
        self.norms = FluctuationMatrices(self.norms.variance + fresh, self.norms.cross)
        added = float(np.diag(fresh).mean())
        self.diffusion = FluctuationRecursion(self.diffusion.variance + added)
        self.noise = NoiseFluctuationState(self.noise.variance + noise)
        # The same weights w make both: 2 (w x)^2 |dx|^2 / F is the covariance of (w x)^2 and (w dx)^2.
        self.growth = NoiseGain(self.growth.variance, self.growth.cross + 2.0 / (self.inputs * self.width))
        self.first = False
        return added

    def sampled_norms(self, few: np.ndarray) -> np.ndarray:
        """What N Gaussian channels of the covariance `few` add to V by chance, shape (images, images)."""
        return 2.0 / self.width * by_images(correlations(few)[0] ** 2, self.images, self.positions)

    def thinned(self, response: np.ndarray) -> None:
        """A convolution averages the errors of pairs over its taps (`TapAveraging.response`)."""
        for errors in (self.pairs, self.overlap):
            errors.thinned(response)

    def before(
        self, few: np.ndarray, own: np.ndarray, epsilon: float, *, shared_weights: np.ndarray | None = None,
    ) -> BatchNormRecord:  # fmt: skip
        """What a batch norm and its ReLU will do to the fluctuations, before they are passed.

        Parameters
        ----------
        few : shape (points, points)
            Centred covariance before it, of a few positions of every image.
        own : shape (modes,) as a lattice
            Correlations within an image, by displacement.
        epsilon : float
            In the units of `few`.
        shared_weights : shape (points, points), optional
            As of `batch_norm_response`.
        """
        images, pairs, points = self.images, self.pair_variance, len(few)
        through = batch_norm_response(
            few, epsilon, pairs, shared_weights, group=points // images, closures=self.closures
        )
        shape = (images, points // images)
        response = through.response.reshape(*shape, points).mean(1).reshape(images, *shape).sum(2)
        inverse = through.inverse_slope.reshape(shape).sum(1)
        fresh = by_images(through.fresh, images, self.positions)
        together = self.lattice.mean(correlation_of_squares(own))
        np.fill_diagonal(fresh, together * np.diag(through.fresh).reshape(shape).mean(1))
        fresh /= self.width
        before = self.norms_here
        behind = response @ before @ response.T + fresh
        if not self.layers:
            crossed = response @ self.norms.cross
            behind += crossed + crossed.T
        return BatchNormRecord(
            few, epsilon, pairs, through,
            norms=before,
            norms_behind=behind,
            response=response,
            fresh=fresh,
            inverse=inverse,
            noise=self.noise_here,
            grown=self.growth.behind(inverse, before),
            lost=through.directions * float(np.mean(self.overlap.variance)),
            closures=self.closures,
        )  # fmt: skip

    def behind(
        self, passed: BatchNormRecord, own: np.ndarray, noises: np.ndarray, inverse_square: float,
        squared_correlation: float = 0.0, participation: float = 0.0,
    ) -> None:  # fmt: skip
        """Through a batch norm and its ReLU.

        Parameters
        ----------
        passed : BatchNormRecord
        own, noises : shape (modes,) as a lattice
        inverse_square, squared_correlation, participation : float
            Of all points: as of `NoiseSampling`.
        """
        through, modes = passed.through, self.lattice.modes
        if self.first:
            # The noise's own fluctuation is in it, of which `NoiseSampling` takes 1 + 2 rho^2.
            inverse_square *= shared_weights_ratio(through, passed.epsilon, self.inputs)
            inverse_square /= 1.0 + 2.0 * squared_correlation
            self.first = False
        passed.channels = NoiseSampling(
            self.width,
            inverse_square,
            through.inverse_order_2,
            max(through.masks, self.closures.least_masks(inverse_square)),
            squared_correlation,
            participation,
            self.closures,
        )
        # The first mode is alike at all positions of an image.
        memory = np.full(self.lattice.counts.size, through.memory)
        memory[0] = through.group_memory
        passed.memory = memory
        source = through.pair_kurtosis / self.width
        self.pairs.sampled(memory, source * modes(own**2))
        self.overlap.sampled(
            memory * (through.signal_noise_memory / through.memory), source * modes(own * noises)
        )
        self.diffusion.sampled(1.0, float(np.diag(passed.fresh).mean()))
        self.layers.append(passed)

    # ------------------------------------------------------------ merge

    def merge(self, shares: tuple[float, float]) -> float:
        """The unit ends: its branch has these shares of signal and noise; 1 without a skip.

        Returns what it adds to the diffusion of norms.
        """
        share, _ = shares
        layers, self.layers = self.layers, []
        before = self.diffusion.at.variance
        for errors in (self.pairs, self.diffusion):
            errors.merge(share)
        self.overlap.merge(*signal_noise_shares(shares))
        self.noise = merged_noise(
            self.noise, shares, [layer.channels.batch for layer in layers], [1.0] * len(layers)
        )
        with_signal = [layer.through.inverse_with_variance / self.width for layer in layers]
        self.with_signal = merged_with_signal(self.with_signal, shares, with_signal)
        self.norms, self.growth = merged_norms(
            self.norms, self.growth, shares,
            pulls=[layer.inverse for layer in layers],
            responses=[layer.response for layer in layers],
            fresh=[layer.fresh for layer in layers],
        )  # fmt: skip
        return float(self.diffusion.variance - before)

    def hold(self, norms: np.ndarray) -> None:
        """Hold V at the variance of the law of the images' norms, shape (images,)."""
        variance = float(np.log(np.maximum(norms, 1e-300)).var())
        self.norms, self.growth = held_norms(self.norms, self.growth, variance, self.closures)


def shares_of(before: tuple[float, float], after: tuple[float, float]) -> tuple[float, float]:
    """Shares of a branch in a sum, from logarithms of (signal, noise) of the shortcut and of the sum."""
    signal, noise = (-math.expm1(min(a - b, 0.0)) for a, b in zip(before, after, strict=True))
    return signal, noise
