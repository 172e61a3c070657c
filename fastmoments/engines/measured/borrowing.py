"""A module of PyTorch on loan: in evaluation mode, and afterwards bit for bit as it was."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from ...kernels.threads import workers

#: Values in the largest tensor of a module from which on PyTorch gets more than one thread: the others wait
#: busily, which on small tensors gains little and costs much on a busy machine.
THREADED = 2**20


@contextmanager
def borrowed(module: torch.nn.Module, largest: int) -> Iterator[None]:
    """Inside, the module is in evaluation mode, and PyTorch's ways are those that have forward derivatives.

    Whatever happens inside, the attributes of all its modules (parameters, buffers, modes, hooks and what
    else there is), the values of all their tensors, and the random states of PyTorch, numpy and Python are
    the same afterwards. What a module keeps deep inside objects of its own is not known here.

    Parameters
    ----------
    module : torch.nn.Module
    largest : int
        Values in its largest tensor, as far as known.
    """
    with ExitStack() as stack:
        stack.callback(torch.set_num_threads, torch.get_num_threads())
        stack.callback(torch.backends.mha.set_fastpath_enabled, torch.backends.mha.get_fastpath_enabled())
        stack.callback(_put_back_random, _random_states())
        stack.callback(_put_back, [_Kept(each) for each in module.modules()])
        torch.set_num_threads(workers() if largest >= THREADED else 1)
        torch.backends.mha.set_fastpath_enabled(False)
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.no_grad())
        stack.enter_context(sdpa_kernel(SDPBackend.MATH))
        for each in module.modules():
            each.training = False  # not by `eval`, which a module may define as it likes
        yield


def seed(number: int) -> None:
    """Seed all that modules draw from."""
    torch.default_generator.manual_seed(number)
    if torch.cuda.is_initialized():
        torch.cuda.manual_seed_all(number)
    np.random.seed(number % 2**32)  # noqa: NPY002  # modules draw from it
    random.seed(number)


class _Kept:
    """The attributes of one module and the values of its tensors."""

    def __init__(self, module: torch.nn.Module) -> None:
        self.module = module
        self.attributes = dict(vars(module))
        self.containers = [
            (value, value.copy())
            for value in self.attributes.values()
            if isinstance(value, (dict, list, set)) and hasattr(value, "copy")
        ]
        held = [*self.attributes.values()]
        for _, container in self.containers:
            held += container.values() if isinstance(container, dict) else container
        self.tensors = [(each, _copy(each)) for each in held if _plain(each)]

    def put_back(self) -> None:
        for value, copy in self.containers:
            if isinstance(value, list):
                value[:] = copy
            else:
                value.clear()
                value.update(copy)
        attributes = vars(self.module)
        attributes.clear()
        attributes.update(self.attributes)
        for tensor, copy in self.tensors:
            if not _same(tensor, copy):
                if tensor.shape == copy.shape and tensor.dtype == copy.dtype and tensor.is_contiguous():
                    tensor.data.copy_(copy)
                else:
                    tensor.data = copy


def _put_back(kept: list[_Kept]) -> None:
    for each in kept:
        each.put_back()


def _plain(value: object) -> bool:
    """Whether it is a tensor whose values can be copied."""
    return (
        isinstance(value, torch.Tensor)
        and value.layout is torch.strided
        and not value.is_quantized
        and not value.is_meta
        and not isinstance(value, torch.nn.parameter.UninitializedTensorMixin)
    )


def _copy(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.detach().clone()


def _same(tensor: torch.Tensor, copy: torch.Tensor) -> bool:
    """Whether they agree in every bit."""
    if tensor.shape != copy.shape or tensor.dtype != copy.dtype:
        return False
    one, other = (each.detach().resolve_conj().contiguous().reshape(-1) for each in (tensor, copy))
    return torch.equal(one.view(torch.uint8), other.view(torch.uint8))


def _random_states() -> tuple[Any, ...]:
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else None
    return torch.get_rng_state(), cuda, np.random.get_state(), random.getstate()  # noqa: NPY002


def _put_back_random(states: tuple[Any, ...]) -> None:
    cpu, cuda, numpy, python = states
    torch.set_rng_state(cpu)
    if cuda is not None:
        torch.cuda.set_rng_state_all(cuda)
    np.random.set_state(numpy)  # noqa: NPY002
    random.setstate(python)
