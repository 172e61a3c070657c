"""A module of PyTorch as a scan sees it: its stations, cut into units of depth."""

from __future__ import annotations

import time
from hashlib import sha256
from typing import Any

import numpy as np
import torch

from ...images.batches import Batch
from ...nets.network import Place
from .borrowing import borrowed, seed
from .stops import Course, Stop
from .tracing import Tracing
from .watching import Watch, numeric

#: Bytes of Python and PyTorch.
PROCESS = 400e6


class TracedModule:
    """A module, what a call of it with a batch of images showed, and what a `Network` says of its units.

    Depth counts units: one begins at every layer with weights that all of the signal passes through, and at
    every part, such as a residual unit, in which the signal goes several ways with weights on them. What
    follows belongs to the unit it follows.

    Attributes
    ----------
    module : torch.nn.Module
    images : int
    values : ndarray of float64, shape (n, h, w, c)
        As engines take them.
    stops : tuple of Stop
        By depth, in the order of the call.
    largest : int
        Values in the largest tensor on the way.
    memory : int
        Bytes of a call with signal and noise, the process included.
    seconds : float
        Of the call.
    """

    stem: tuple = ()
    name: str

    def __init__(
        self, module: torch.nn.Module, batch: Batch, stops: list[Stop], largest: int, memory: int,
        seconds: float,
    ) -> None:  # fmt: skip
        self.module, self.values, self.images = module, batch.values, len(batch.array)
        self.fully_connected, self._sides = batch.flattened, batch.array.shape
        self.stops, self.largest, self.memory, self.seconds = tuple(stops), largest, memory, seconds
        self.name = type(module).__name__
        self.depth = max((stop.depth for stop in stops), default=0)
        self._units = [[stop for stop in stops if stop.depth == depth] for depth in range(1, self.depth + 1)]

    def input(self, values: np.ndarray) -> torch.Tensor:
        """Images or noise, of the shape of `values`, as the module takes them."""
        return as_input(self.module, values, self._sides if self.fully_connected else None)

    def places(self, depth: int) -> tuple[Place, ...]:
        """The stations of a unit."""
        return tuple(Place(stop.seen.path, None, stop.loc) for stop in self._units[depth - 1])

    def locs(self, depth: int) -> tuple[str, ...]:
        """Names of the stations of a unit on curves over depth, its input first."""
        return ("input", *(place.loc for place in self.places(depth) if place.loc))

    def entrance(self, depth: int) -> tuple[str, None]:
        """Path of the station before a unit."""
        return (self.at_entrance(depth).seen.path if depth > 1 else "", None)

    def at_entrance(self, depth: int) -> Stop:
        """The last station before a unit, of those through which all of the signal passes if there is one."""
        stops = self._units[depth - 2]
        return next((stop for stop in reversed(stops) if stop.alone), stops[-1])

    def stem_layers(self) -> tuple[tuple[str, None], ...]:
        """It has none: all units count."""
        return ()

    @property
    def outputs(self) -> int | None:
        """Channels of a linear layer that gives one vector an image at its end; else None."""
        last = self.stops[-1].seen
        return last.shape[1] if last.kind == "Linear" and len(last.shape) == 2 else None

    def architecture(self) -> dict:
        """The module in plain values; `weights` is a digest of them as they are."""
        digest = sha256()
        for name, tensor in self.module.state_dict().items():
            if isinstance(tensor, torch.Tensor):
                digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
                digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
        count = sum(parameter.numel() for parameter in self.module.parameters())
        return {
            "name": self.name, "depth": self.depth, "parameters": count, "weights": digest.hexdigest()[:16],
        }  # fmt: skip


def traced(module: Any, images: np.ndarray, normalise: bool, device: str) -> TracedModule:
    """Call a module once and see what it does.

    Parameters
    ----------
    module : torch.nn.Module
    images : ndarray, shape (n, h, w, c)
    normalise : bool
    device : str

    Raises
    ------
    ValueError
        In one sentence.
    """
    module = getattr(module, "_orig_mod", module)  # of a compiled one
    refuse_unfit(module, device)
    problems = []
    for flattened in (False, True):
        batch = Batch(images, normalise, flattened)
        try:
            return _traced(module, batch)
        except ValueError as problem:
            problems.append(problem)
            if not _of_shape(problem.__cause__):
                break
    raise problems[0]


def refuse_unfit(module: torch.nn.Module, device: str) -> None:
    """Refuse what cannot be called as it is, whatever the images.

    Raises
    ------
    ValueError
        In one sentence.
    """
    name = type(module).__name__
    for path, each in module.named_modules():
        if isinstance(each, torch.jit.ScriptModule):
            raise ValueError(
                f"{path or name} is compiled by torch.jit, which has no forward derivatives; give the module "
                "it was made from."
            )
    for path, tensor in (*module.named_parameters(), *module.named_buffers()):
        if isinstance(tensor, torch.nn.parameter.UninitializedTensorMixin):
            raise ValueError(
                f"{name}: the size of {path} is known after a first call only; call it once, then scan."
            )
        if tensor.is_meta:
            raise ValueError(
                f"{name}: {path} is on the meta device, without values; use to_empty and draw parameters."
            )
        if tensor.device != torch.device(device) and tensor.device.type != device:
            raise ValueError(
                f"{name}: {path} is on {tensor.device}, and the images go to {device}; give "
                f'device="{tensor.device}", or move the module.'
            )


def as_input(module: torch.nn.Module, values: np.ndarray, flattened: tuple[int, ...] | None) -> torch.Tensor:
    """A batch as a module takes it, of the precision and on the device of its parameters.

    Parameters
    ----------
    module : torch.nn.Module
    values : ndarray, shape (n, h, w, c), or (n, 1, 1, h w c)
    flattened : (n, h, w, c), optional
        The shape before, of images that became vectors: theirs are (n, c h w).

    Returns
    -------
    tensor, shape (n, c, h, w), or (n, c h w)
    """
    ordered = values.reshape(flattened or values.shape).transpose(0, 3, 1, 2)
    ordered = ordered.reshape(len(values), -1) if flattened else ordered
    held = [each for each in module.parameters() if each.is_floating_point()]
    dtype = held[0].dtype if held else torch.float32
    device = held[0].device if held else torch.device("cpu")
    return torch.from_numpy(np.ascontiguousarray(ordered)).to(device=device, dtype=dtype)


def called(module: torch.nn.Module, watch: Watch, images: torch.Tensor) -> object:
    """What a watched module gives, or one sentence that names the module that fails.

    Raises
    ------
    ValueError
        Whose cause is what the module raised; or what the watch refused.
    """
    try:
        output = module(images)
    except MemoryError:
        raise
    except Exception as problem:  # of code that is not ours
        if watch.refusal is not None:
            raise watch.refusal from None
        at = watch.open[-1] if watch.open else None
        where = f"{at.path} ({type(at.module).__name__})" if at and at.path else type(module).__name__
        raise ValueError(
            f"{where} cannot be called with images of shape {tuple(images.shape)}: {_in_one_line(problem)}"
        ) from problem
    if watch.refusal is not None:  # the module caught it
        raise watch.refusal
    return output


def _in_one_line(problem: BaseException, most: int = 240) -> str:
    said = " ".join(str(problem).split()) or "no reason given"
    said = said if len(said) <= most else f"{said[:most].rstrip()} ..."
    return f"{type(problem).__name__}: {said.rstrip('.')}."


def _of_shape(problem: BaseException | None) -> bool:
    """Whether another shape might do."""
    return isinstance(problem, (RuntimeError, ValueError)) and not isinstance(problem, NotImplementedError)


def _traced(module: torch.nn.Module, batch: Batch) -> TracedModule:
    with borrowed(module, batch.values.size):
        seed(0)
        flattened = batch.array.shape if batch.flattened else None
        images, tracing = as_input(module, batch.values, flattened), Tracing(module)
        source, start = tracing.begin(images), time.perf_counter()
        with tracing:
            output = called(module, tracing, images)
        seconds = time.perf_counter() - start
        sinks = tracing.values_of(output)
    name = type(module).__name__
    if not numeric(output):
        raise ValueError(f"{name} returns {_kind(output)}, not tensors of real numbers.")
    if not sinks or sinks == {source}:
        raise ValueError(
            f"{name} returns the images themselves, or what is not made of them by functions of PyTorch."
            if sinks else f"{name} returns what is not made of the images by functions of PyTorch."
        )  # fmt: skip
    course = Course(tracing, source, sinks)
    weights = sum(each.numel() * each.element_size() for each in module.parameters())
    # Forth with noise, or back through all that was kept.
    memory = int(PROCESS + 2 * weights + max(2 * course.held, course.all) + 6 * course.largest)
    return TracedModule(
        module, batch, course.stops(), course.largest // images.element_size(), memory, seconds
    )


def _kind(output: object) -> str:
    held = [type(output).__name__ if output is not None else "None"]
    return held[0] if not isinstance(output, torch.Tensor) else f"a tensor of {output.dtype}"
