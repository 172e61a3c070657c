"""Engine: mean and deviation of the moments over random nets of a given width, without sampling.

Which theory serves a net is decided here; the theories are in `plain`, `plain_convolutional` and
`batch_norm`. Their laws are of logarithms; what is linear in the
results assumes a lognormal law. How exact they are is estimated in `next_order`.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Sequence

import numpy as np

from ...covariances.scales import log_mean
from ...covariances.storage import NoiseCovariance
from ...maps.convolution import convolve_diagonal
from ...nets.activations import ReLU
from ...nets.layers import Layer
from ...nets.linear import Conv
from ...nets.max_pool import MaxPool
from ...nets.network import Network, Place, Residual
from ...nets.norms import BatchNorm
from ..infinite_width.state import State
from ..infinite_width.walk import RESOLUTION
from ..protocol import Checkpoints, Passage, Station, Wanted, input_log_variances, log_chi
from .batch_norm import convolutional as bn_convolutional
from .batch_norm import fully_connected as bn_fully_connected
from .closures import CLOSURES, Closures
from .next_order import errors
from .plain import feedforward, residual
from .plain_convolutional import feedforward as convolutional
from .plain_convolutional import residual as convolutional_residual
from .shared.lognormal import Laws, Lognormal, station_values
from .shared.noise_draw import draw_variance
from .shared.units import Task

PLAIN, PLAIN_RES = "plain", "plain_res"
PLAIN_CONV, PLAIN_RES_CONV = "plain_conv", "plain_res_conv"
BN_FF, BN_RES, BN_CONV = "bn_ff", "bn_res", "bn_conv"

#: Width below which an expansion in 1 / width says nothing.
LEAST_WIDTH = 32
#: Images of fully connected nets with batch norm below which 1 / q^2 has no mean over channels: their q, of
#: all but the mean, has less than 5 degrees of freedom.
LEAST_BATCH = 6


def kind(network: Network) -> str:
    """Which theory covers a net.

    Raises
    ------
    ValueError
        In one sentence, if none does.
    """
    convolutions = network.convolutions()
    if any(conv.weights.bias_variance for conv in convolutions):
        raise ValueError('method="finite" covers layers without bias; use method="sampled".')
    if any(not isinstance(layer, Conv) for layer in network.stem) or len(network.stem) > 1:
        raise ValueError('method="finite" covers a stem of one Conv; use method="sampled".')
    norms = [layer for layer in network.distinct if isinstance(layer, BatchNorm)]
    if any((norm.gamma, norm.beta) != (1.0, 0.0) for norm in norms):
        raise ValueError('method="finite" covers BatchNorm without gamma and beta; use method="sampled".')
    if any(norm.statistics != "batch" for norm in norms):
        raise ValueError('method="finite" covers BatchNorm(statistics="batch"); use it, or "infinite".')
    if any(norm.noise != "frozen" for norm in norms):
        raise ValueError(
            'method="finite" covers BatchNorm(noise="frozen"); use it, or method="infinite" or "sampled".'
        )
    if any(conv.groups != 1 for conv in convolutions) or network.has(MaxPool):
        raise ValueError(
            'method="finite" covers neither MaxPool nor Conv with groups; use method="infinite" or "sampled".'
        )
    if any(conv.channels is not None for conv in convolutions):
        raise ValueError('method="finite" covers layers of one width; use method="sampled" for channels.')
    kinds = {_kind_of_unit(unit) for unit in set(network.units)}
    if not kinds:
        return PLAIN if network.fully_connected else PLAIN_CONV
    found = kinds.pop()
    if kinds or found is None:
        raise ValueError(
            'method="finite" covers stacks of (Conv, ReLU), of (Conv, BatchNorm, ReLU), or of residual units '
            'whose branch repeats (BatchNorm, ReLU, Conv) or (ReLU, Conv); use method="sampled".'
        )
    if not network.fully_connected:
        resized = any(not conv.keeps_size for conv in Network(network.layers).convolutions())
        plain_units = found == PLAIN and network.stem and len({unit[0] for unit in network.units}) == 1
        if not (plain_units or found in (PLAIN_RES, BN_FF, BN_RES)) or resized:
            raise ValueError(
                'Of nets with convolutions method="finite" covers plain ones (a stem, then Conv and ReLU, '
                "all alike, or units with skips) and those with BatchNorm in every layer, with and without "
                "skips, all of stride 1 and with a padding that keeps the size of images behind the stem; "
                'use kernel_size=1, method="infinite", or "sampled".'
            )
        if found == PLAIN:
            return PLAIN_CONV
    if found in (PLAIN_RES, BN_RES) and not network.stem:
        raise ValueError(
            'method="finite" needs a Conv in the stem of a residual net, so that its channels are Gaussian.'
        )
    if network.fully_connected:
        return found
    return PLAIN_RES_CONV if found == PLAIN_RES else BN_CONV


def _check_positions(first: Conv, grid: tuple[int, int], covered: str) -> None:
    """Refuse images that have one position behind the first layer, too many, or some without signal."""
    positions = math.prod(first.output_grid(grid))
    if positions < 2:
        raise ValueError(
            'method="finite" covers images with one position behind the first layer as fully connected nets '
            "only: give larger images, or kernel_size=1."
        )
    if covered in (PLAIN_CONV, PLAIN_RES_CONV) and positions > convolutional.MOST_POSITIONS:
        raise ValueError(
            f'method="finite" covers plain convolutional nets of at most {convolutional.MOST_POSITIONS:,} '
            f'positions behind the stem, not {positions:,}: give smaller images, or use method="infinite" or '
            '"sampled".'
        )
    if not convolve_diagonal(np.ones(math.prod(grid)), (1, *grid), first).all():
        raise ValueError(
            'method="finite" needs a first layer whose positions all see some of the image, not zeros only: '
            'give a smaller pad or dilation, or use method="infinite" or "sampled".'
        )


def _kind_of_unit(unit: tuple[Layer, ...]) -> str | None:
    if isinstance(unit[0], Residual):
        types = [type(layer) for layer in unit[0].branch]
        if unit[0].shortcut:
            return None
        if types == [BatchNorm, ReLU, Conv] * (len(types) // 3):
            return BN_RES
        return PLAIN_RES if types == [ReLU, Conv] * (len(types) // 2) else None
    kinds: dict[tuple[type[Layer], ...], str] = {(Conv, ReLU): PLAIN, (Conv, BatchNorm, ReLU): BN_FF}
    return kinds.get(tuple(type(layer) for layer in unit))


class FiniteWidthRun:
    """The stations of a net at finite width, as an iterable.

    Parameters
    ----------
    network : Network
        See `kind`.
    batches : sequence of ndarray, shape (n, h, w, c)
        Normalised images; (n, 1, 1, features) for a fully connected net. Of several batches, means are
        averaged, and the variance of the means between batches is added, as for a simulation that draws its
        images anew for every net.
    width : int
        Channels behind every layer.
    depths : collection of int, optional
        Where stations are taken; everywhere if left out.
    closures : Closures
        What the theory assumes where it derives nothing.

    Raises
    ------
    ValueError
        If the net is not covered, the width is below `LEAST_WIDTH`, a parameter is out of range, or the
        images do not vary.
    """

    def __init__(
        self, network: Network, batches: Sequence[np.ndarray], *, width: int,
        depths: Collection[int] | None = None, closures: Closures = CLOSURES,
    ) -> None:  # fmt: skip
        if width < LEAST_WIDTH:
            raise ValueError(
                f'method="finite" expands in 1 / width, which does not hold at width {width}: give at least '
                f"{LEAST_WIDTH}; it is rough from a depth of 0.4 widths on in plain nets, and from as many "
                'points as channels on in fully connected ones with batch norm; or use "sampled".'
            )
        self.network, self.width, self.closures = network, width, closures
        self.wanted = Wanted(network, depths)
        theories = {
            PLAIN: feedforward.stations, PLAIN_CONV: convolutional.stations, PLAIN_RES: residual.stations,
            BN_FF: bn_fully_connected.stations, BN_RES: bn_fully_connected.stations,
            PLAIN_RES_CONV: convolutional_residual.stations, BN_CONV: bn_convolutional.stations,
        }  # fmt: skip
        covered = kind(network)
        self.walk = theories[covered]
        if covered in (PLAIN_CONV, PLAIN_RES_CONV, BN_CONV):
            grid = batches[0].shape[1], batches[0].shape[2]
            _check_positions(network.convolutions()[0], grid, covered)
        shape = (-1,) if network.fully_connected else batches[0].shape[1:]
        self.batches = [np.asarray(batch).reshape(len(batch), *shape) for batch in batches]
        if min(len(batch) for batch in self.batches) < 2:
            raise ValueError('method="finite" needs at least two images in a batch.')
        if covered in (BN_FF, BN_RES) and min(len(batch) for batch in self.batches) < LEAST_BATCH:
            raise ValueError(
                f'method="finite" needs at least {LEAST_BATCH} images in a batch of a fully connected net '
                "with batch norm, because below that the inverse batch variance has no variance over "
                'channels: give more images, or use "sampled".'
            )
        self.inputs = [input_log_variances(batch)[0] for batch in batches]
        for batch, log_variance in zip(batches, self.inputs, strict=True):
            if log_mean(batch * batch) - log_variance > math.log(RESOLUTION / np.finfo(np.float64).eps):
                raise ValueError(
                    "The images agree to so many digits that rounding decides how they differ; use images "
                    "that differ more, a smaller offset, or normalise=True."
                )
        # A stem of one Conv, or the first of the units; all others keep the size.
        convs = network.convolutions()
        self.image_grid = (1, 1) if network.fully_connected else (shape[0], shape[1])
        self.grid = convs[0].output_grid(self.image_grid) if convs else self.image_grid

    def attach(self, journal: Checkpoints) -> list[Station]:
        """A run takes too short for checkpoints: it begins anew."""
        return journal.keep(lambda station: False)

    def __iter__(self) -> Iterator[Station | Passage]:
        """Yield the stations, layer by layer; every iteration begins anew."""
        self.wanted.begin(0)
        if self.wanted.images is not None:
            yield self._images(self.wanted.images)
        walks = [
            self.walk(Task(self.network, batch, self.width, self.wanted.depths, log_input, self.closures))
            for batch, log_input in zip(self.batches, self.inputs, strict=True)
        ]
        # One batch after the other, so that memory holds one; the stations come with the last. A walk yields
        # (depth, None, None) where it goes on without a station.
        earlier: list[list[Laws]] = []
        for batch, walk in enumerate(walks):
            found: list[Laws] = []
            for depth, loc, laws in walk:
                yield Passage(batch, depth)
                if loc is None or laws is None:
                    continue
                if batch == len(walks) - 1:
                    yield self._station(depth, loc, [*(each[len(found)] for each in earlier), laws])
                found.append(laws)
            earlier.append(found)

    def _station(self, depth: int, loc: str, laws: list[Laws]) -> Station:
        if depth != self.wanted.depth:
            self.wanted.begin(depth)
        moments, sigmas = station_values(_mixed(laws))
        draw = draw_variance(float(self.batches[0].size))
        found = errors(laws, self.width, normalised=self.network.normalised, draw=draw)
        return self.wanted.station(
            self.wanted.named(loc), moments, sigmas=sigmas, grid=self.grid, channels=self.width,
            error=found.largest, errors=found.means, sigma_errors=found.deviations,
        )  # fmt: skip

    def _images(self, place: Place) -> Station:
        """The images themselves, in which nothing is random but the batch."""
        laws = []
        for batch, log_input in zip(self.batches, self.inputs, strict=True):
            images = batch if batch.ndim == 4 else batch[:, None, None]
            state = State(images, None, NoiseCovariance.white(len(images), 1, 1))  # of variance 1 anywhere
            moments = state.marginals().moments()
            moments["log_chi"] = log_chi(
                moments["log_mu2_noise"], moments["log_mu2_signal"], (log_input, 0.0)
            )
            laws.append({name: Lognormal(value, 0.0) for name, value in moments.items()})
        means, sigmas = station_values(_mixed(laws))
        return self.wanted.station(place, means, sigmas=sigmas, grid=self.image_grid)


def _mixed(laws: list[Laws]) -> Laws:
    """Laws over nets and batches, each batch as likely."""
    mixed = {}
    for name in laws[0]:
        means = np.array([each[name].mean for each in laws])
        between = float(means.var(ddof=1)) if len(means) > 1 else 0.0
        within = float(np.mean([each[name].variance for each in laws]))
        mixed[name] = Lognormal(float(means.mean()), within + between)
    return mixed
