"""How gradients grow on their way back through a module of PyTorch, by reverse-mode differentiation.

A loss whose gradient at the output is u, independent and of variance 1 in every entry, has the gradient J' u
at a station, of mean square |J|^2 / n on average over u: the squared Frobenius norm of the Jacobian of the
output per entry of the station, as `scans.jacobian` has it for nets. Each net draws one u, of mean square 1
exactly.
"""

from __future__ import annotations

import math

import torch

from .borrowing import seed
from .stops import Stop, Stopping
from .traced import TracedModule, called
from .watching import numeric

#: The moment that stations get.
NAME = "log_jacobian"


def log_jacobians(
    traced: TracedModule, wanted: dict[str, Stop], through: bool, number: int
) -> dict[str, float]:
    """Logarithms of the mean square of gradients by the paths of stations, "" for the images.

    Parameters
    ----------
    traced : TracedModule
        Borrowed.
    wanted : dict of str to Stop
        Those through which not all of the signal passes have none.
    through : bool
        Whether statistics of batch norm move with the signal.
    number : int
        The seed.

    Returns
    -------
    dict of str to float
        NaN for a module that has no derivative of this kind, and where single precision does not hold it.
    """
    alone = {path: stop for path, stop in wanted.items() if stop.alone}
    unknown = dict.fromkeys(("", *alone), math.nan)
    seed(number)
    watch = _Hooking(traced.module, through, alone)
    with torch.enable_grad():
        leaf = traced.input(traced.values).requires_grad_()
        images = leaf.clone()  # which may be changed in place
        images.register_hook(lambda gradient: watch.keep("", gradient))
        try:
            with watch:
                output = called(traced.module, watch, images)
            ends = [each for each in numeric(output) if each.requires_grad]
            if ends:
                torch.autograd.grad(ends, [leaf], [_white(each) for each in ends])
        except (ValueError, RuntimeError):  # of no derivative, or of tensors changed in place that it needs
            return unknown
    return unknown | watch.found


class _Hooking(Stopping):
    """Has the gradient taken at every station; also where a tensor is changed in place behind it."""

    def __init__(self, module: torch.nn.Module, through: bool, wanted: dict[str, Stop]) -> None:
        super().__init__(module, through, wanted)
        self.found: dict[str, float] = {}

    def stop(self, stop: Stop, tensor: torch.Tensor) -> None:
        path = stop.seen.path
        if tensor.requires_grad:
            tensor.register_hook(lambda gradient: self.keep(path, gradient))

    def keep(self, path: str, gradient: torch.Tensor) -> None:
        """Take the mean square; of a complex entry that of both its parts."""
        size = gradient.detach().abs().double()
        square = float((size * size).mean())
        self.found[path] = math.log(square) if 0.0 < square < math.inf else math.nan


def _white(tensor: torch.Tensor) -> torch.Tensor:
    """Independent entries of variance 1, of mean square 1 exactly."""
    drawn = torch.randn(tensor.shape, dtype=torch.float64, device=tensor.device)
    return (drawn / drawn.square().mean().sqrt()).to(tensor.dtype)
