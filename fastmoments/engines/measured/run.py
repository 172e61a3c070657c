"""Signal and noise of a module of PyTorch, station by station, by forward-mode differentiation.

Nothing is approximated but by rounding. The noise is a derivative, so it may be multiplied by any number
where all of it is in one tensor: there it is brought back to order one, and neither depth nor growth
overflows.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch.autograd import forward_ad

from ...nets.network import Place
from ..protocol import Checkpoints, Plan, Station, Wanted, input_log_variances
from ..sampled.layers import Flow
from ..sampled.walk import moments_of
from .borrowing import borrowed, seed
from .gradients import NAME, log_jacobians
from .redrawing import RESET, Reinit, redraw, say_what_stays
from .stops import Stop, Stopping, points_of
from .traced import TracedModule, called
from .watching import with_noise

#: Powers of two that the noise may be off its order before it is rescaled.
FAR = 8
#: Orders of the noise that are tried in turn, as shares of the range of exponents: one way between two points
#: through which all signal passes may leave the range in either direction.
ORDERS = (0.0, -0.75, 0.75)


class OutOfRange(ArithmeticError):
    """The noise is not finite, or too small for full precision, where it cannot be rescaled."""


class MeasuredRun:
    """The stations of a module, net after net, as an iterable.

    Parameters
    ----------
    traced : TracedModule
    plan : Plan
    nets, seed, reinit
        As of `Measured`.
    through : bool
        Whether noise moves the statistics of batch norm.

    Yields
    ------
    Station
        `moments` holds all of `protocol.ENGINE_MOMENTS` (effective ranks where asked) and, where all of
        the signal passes, the logarithm of the mean square of gradients. `error` is the
        resolution of the module's precision relative to the deviation of the signal from its mean, the
        largest so far. Where neither signal nor noise is left, as in a branch that ends in weights of 0,
        chi is NaN.

    Raises
    ------
    ValueError
        At once, if the images do not vary; during the walk, in one sentence, if the module fails, takes
        another course than before, or uses a function without a forward derivative.
    ArithmeticError
        During the walk, if signal or noise is not finite, or has died out where all of it passes.

    Warns
    -----
    Notice
        If a re-initialisation by name leaves parameters as they are.
    """

    def __init__(
        self, traced: TracedModule, plan: Plan, *, nets: int, seed: int, reinit: Reinit, through: bool
    ) -> None:
        self.traced, self.nets, self.seed, self.reinit, self.through = traced, nets, seed, reinit, through
        self.at_input = input_log_variances(traced.values)
        self._first = 0
        self._planned = list(_planned(traced, plan))
        if reinit == RESET:
            say_what_stays(traced.module)

    def attach(self, journal: Checkpoints) -> list[Station]:
        """Nets that are complete need not be measured again."""
        self._first = max((station.net for station in journal.stations), default=0)
        return journal.keep(lambda station: station.net < self._first)

    def __iter__(self) -> Iterator[Station]:
        """Yield the stations; whenever one is given, the module is as it was."""
        for net in range(self._first, self.nets):
            yield from self._stations(net, self._measured(net))

    def _measured(self, net: int) -> dict[str, Measurement]:
        """One net at its stations, by their paths."""
        problems = []
        for order in ORDERS:
            try:
                return self._attempt(net, order)
            except OutOfRange as problem:
                problems.append(problem)
        raise problems[0]

    def _attempt(self, net: int, order: float) -> dict[str, Measurement]:
        traced, module = self.traced, self.traced.module
        # The child that SeedSequence(seed).spawn gives this net, without its predecessors.
        rng = np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=(net,)))
        noise = rng.standard_normal(traced.values.shape, dtype=np.float32)
        wanted: dict[str, Stop] = {each.stop.seen.path: each.stop for each in self._planned if each.stop}
        ranked = {each.place.path for each in self._planned if each.ranked}
        images = Flow(np.stack([traced.values, noise]), np.zeros(2))
        images.rescale()
        found = {
            "": Measurement(moments_of(images, "" in ranked, self.at_input), 0.0, traced.values.shape[1:3], 0)
        }
        with borrowed(module, traced.largest):
            number = int(rng.integers(2**63))
            seed(number)
            redraw(module, self.reinit)

            def take(stop: Stop, flow: Flow, precision: float) -> None:
                path, axes = stop.seen.path, stop.seen.axes
                with np.errstate(all="ignore"):
                    measured = moments_of(flow, path in ranked, self.at_input)
                    contrast = measured["log_nu2_signal"] - measured["log_mu2_signal"]
                    error = precision * math.exp(min(0.5 * contrast, 300.0)) if contrast < math.inf else 0.0
                grid, channels = points_of(stop.seen.shape, axes, traced.images)
                found[path] = Measurement(measured, error, grid, channels)

            signal = traced.input(traced.values)
            exponent = int(order * math.log2(torch.finfo(signal.dtype).max))
            watch = Measuring(module, self.through, wanted, take, exponent)
            with forward_ad.dual_level():
                dual = with_noise(signal, traced.input(noise) * 2.0**exponent)
                with watch:
                    called(module, watch, dual)
            jacobians = log_jacobians(traced, wanted, self.through, number)
        missing = next((path for path in wanted if path not in found), None)
        if missing is not None:
            raise ValueError(
                f"{traced.name} takes another course in every call: {missing} was not reached again; a scan "
                "needs a module that does the same whenever it is called."
            )
        for path, value in jacobians.items():
            found[path].moments[NAME] = value
        return found

    def _stations(self, net: int, found: dict[str, Measurement]) -> Iterator[Station]:
        error = 0.0
        for each in self._planned:
            at = found[each.place.path]
            error = max(error, at.error)
            kept = {
                name: value
                for name, value in at.moments.items()
                if each.ranked or not name.startswith("reff")
            }
            layer, before = ("images", None) if each.stop is None else (each.stop.seen.kind, each.stop.before)
            yield Station(
                each.place.path, layer, each.depth, each.place.loc, kept, net, error, grid=at.grid,
                channels=at.channels or self.traced.values.shape[3], before=before,
            )  # fmt: skip


class Measurement(NamedTuple):
    """What was found at a station: moments, resolution, positions of an image, channels."""

    moments: dict[str, float]
    error: float
    grid: tuple[int, int]
    channels: int


class Planned(NamedTuple):
    """A station of a scan: where, at which depth, whether ranks are taken; the images have no stop."""

    place: Place
    depth: int
    ranked: bool
    stop: Stop | None


def _planned(traced: TracedModule, plan: Plan) -> Iterator[Planned]:
    """All stations of a scan, in order."""
    wanted, stops = (
        Wanted(traced, plan.depths, plan.reff_locs),
        {stop.seen.path: stop for stop in traced.stops},
    )
    for depth in sorted({0, *plan.depths}):
        wanted.begin(depth)
        units = traced.places(depth) if depth else ()
        for place in (wanted.images, wanted.entrance, *(wanted.place(each.path) for each in units)):
            if place is not None:
                yield Planned(place, depth, wanted.ranked(place), stops.get(place.path))


class Measuring(Stopping):
    """Watches a module with noise, and takes the flow at its stations.

    Parameters
    ----------
    module, through, wanted
        As of `Stopping`.
    take : callable
        Called with a station, the flow there, of shape (2, points, 1, 1, channels), and its precision.
    exponent : int
        Power of two that is the order of the noise.
    """

    def __init__(
        self, module: torch.nn.Module, through: bool, wanted: dict[str, Stop],
        take: Callable[[Stop, Flow, float], None], exponent: int,
    ) -> None:  # fmt: skip
        super().__init__(module, through, wanted)
        self.take, self.exponent = take, exponent
        self.log_scale = -exponent * math.log(2.0)

    def stop(self, stop: Stop, tensor: torch.Tensor) -> None:
        """Take signal and noise, and bring the noise back to its order where all of it passes."""
        path = stop.seen.path
        signal, noise = forward_ad.unpack_dual(tensor)
        if not bool(torch.isfinite(signal).all()):
            self.refuse(ArithmeticError(
                f"{path}: the signal is not finite in {_named(signal.dtype)}; use layers that keep its size, "
                "or module.double()."
            ))  # fmt: skip
        noise = torch.zeros_like(signal) if noise is None else noise
        largest = float(noise.abs().max())
        if not math.isfinite(largest) or 0.0 < largest < _least(noise.dtype):
            self.refuse(OutOfRange(
                f"{path}: the noise leaves the range of {_named(noise.dtype)}, or a function has no finite "
                "derivative for this signal; use other functions, or module.double()."
            ))  # fmt: skip
        off = math.frexp(largest)[1] - self.exponent
        if stop.alone and abs(off) > FAR and largest > 0.0 and _scaled(noise, -off):
            self.log_scale += off * math.log(2.0)
        pair = np.stack([_points(each, stop.seen.axes) for each in (signal, noise)])
        flow = Flow(pair[:, :, None, None], np.array([0.0, self.log_scale]))
        flow.rescale()
        if stop.alone and not all(float(np.ptp(part)) > 0.0 for part in flow.pair):
            self.refuse(ArithmeticError(
                f"{path}: signal or noise has died out here, where all of it passes, so chi is undefined; "
                "use other layers, or draw the parameters anew."
            ))  # fmt: skip
        self.take(stop, flow, 0.5 * torch.finfo(signal.dtype).eps)


def _least(dtype: torch.dtype) -> float:
    """From here on a tenth of the noise is of full precision."""
    return 16.0 * torch.finfo(dtype).tiny


def _scaled(noise: torch.Tensor, exponent: int) -> bool:
    """Multiply by a power of two in place, so that all views see it; whether that can be done."""
    try:
        noise.mul_(2.0**exponent)
    except RuntimeError:  # some entries are one in memory
        return False
    return True


def _points(tensor: torch.Tensor, axes: tuple[int, ...]) -> np.ndarray:
    """Values as (points, channels), in single precision or more; a complex channel is two."""
    if tensor.is_complex():
        tensor = torch.view_as_real(tensor.resolve_conj()).movedim(-1, 0)
        parts = [_points(part, axes) for part in tensor]
        return np.concatenate(parts, axis=1)
    if tensor.dtype not in (torch.float32, torch.float64):
        tensor = tensor.float()
    others = [axis for axis in range(tensor.ndim) if axis not in axes]
    channels = math.prod(tensor.shape[axis] for axis in axes)
    ordered = tensor.detach().permute(*others, *axes).reshape(-1, channels)
    return ordered.cpu().numpy()


def _named(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
