"""All that a module of PyTorch does in a call: the modules in it that are called, and functions."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, NoReturn

import torch
from torch.autograd import forward_ad
from torch.overrides import TorchFunctionMode

#: Batch norm, and where its arguments stand.
_BATCH_NORMS = {
    torch.nn.functional.batch_norm: (
        *("input", "running_mean", "running_var", "weight", "bias", "training", "momentum", "eps"),
    ),
    torch.batch_norm: (
        *(
            "input",
            "weight",
            "bias",
            "running_mean",
            "running_var",
            "training",
            "momentum",
            "eps",
            "cudnn_enabled",
        ),
    ),
}

#: Names of operators that differ from those of their functions.
_OPERATORS = {
    f"{prefix}{name}": name
    for name in ("add", "sub", "mul", "div", "truediv", "floordiv", "matmul", "pow")
    for prefix in ("i", "r")
} | {"truediv": "div", "itruediv": "div", "rtruediv": "div"}


@dataclass(eq=False)
class Call:
    """A module that is being called.

    Attributes
    ----------
    module : torch.nn.Module
    path : str
        In the whole module; "" for the whole.
    label : str
        The path, with "#2" behind it in a second call; of the whole the name of its class.
    inputs : list of tensors
    known : object
        What `Watch.before_module` noted.
    leaf : bool
        Whether no module was called inside it so far.
    """

    module: torch.nn.Module
    path: str
    label: str
    inputs: list[torch.Tensor]
    known: Any = None
    leaf: bool = True


class Watch(TorchFunctionMode):
    """A context in which one module is called and watched; batch norm takes the statistics of the batch.

    Parameters
    ----------
    module : torch.nn.Module
    through : bool
        Whether noise moves the statistics of batch norm.

    Attributes
    ----------
    open : list of Call
        The modules that are being called, the innermost at last.
    refusal : Exception or None
        Why it was not watched to the end.
    """

    def __init__(self, module: torch.nn.Module, through: bool = False) -> None:
        super().__init__()
        self.module, self.through = module, through
        self.open: list[Call] = []
        self.refusal: Exception | None = None
        self._paths = {each: path for path, each in module.named_modules()}
        self._counts: Counter[str] = Counter()
        self._quiet = False
        self._handles: list[Any] = []

    def __enter__(self) -> Watch:
        """Begin to watch."""
        for each in self._paths:
            self._handles += [
                each.register_forward_pre_hook(self._enter, prepend=True, with_kwargs=True),
                each.register_forward_hook(self._leave),
            ]
        super().__enter__()
        return self

    def __exit__(self, *problem: Any) -> None:
        """Watch no more."""
        super().__exit__(*problem)
        for handle in self._handles:
            handle.remove()

    def refuse(self, problem: Exception) -> NoReturn:
        """End the call by an error of ours."""
        self.refusal = problem
        raise problem

    # What becomes of what is seen: for those who derive.

    def before_function(self, arguments: list[torch.Tensor]) -> object:
        """What is to be known in `after_function` of the tensors among its arguments."""

    def after_function(
        self, label: str, name: str, again: Any, arguments: list, known: Any, result: object
    ) -> None:
        """A function was called; `again` calls it with other tensors. What has no label is no station."""

    def before_module(self, call: Call) -> object:
        """What is to be known in `after_module` of what a module is given, which it may change."""

    def after_module(self, call: Call, output: object) -> None:
        """A module was called."""

    # Functions.

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Call a function of PyTorch; functions that it calls in turn do not come here."""
        kwargs = kwargs or {}
        if self._quiet:
            return func(*args, **kwargs)
        if func in _BATCH_NORMS:
            given = dict(zip(_BATCH_NORMS[func], args, strict=False)) | kwargs
            args, kwargs = (
                (given["input"], given.get("weight"), given.get("bias")),
                {"eps": given.get("eps", 1e-5)},
            )
            func = self._batch_norm
        name = named(func)
        owner = self.open[-1].path if self.open else ""
        label = ""  # inside a function with a derivative of its own, where tensors carry no noise
        if forward_ad._is_fwd_grad_enabled():
            label = self._counted(f"{owner}.{name}()" if owner else f"{name}()")
        arguments = list(tensors((args, kwargs)))
        known = self.before_function(arguments)
        with _derivable(name):
            result = func(*args, **kwargs)

        def again(swapped: dict[int, torch.Tensor]) -> Any:
            return func(*swap(args, swapped), **swap(kwargs, swapped))

        self.after_function(label, name, again, arguments, known, result)
        return result

    def _batch_norm(self, x: torch.Tensor, weight: Any, bias: Any, eps: float) -> torch.Tensor:
        if self.through:
            return torch.batch_norm(x, weight, bias, None, None, True, 0.0, eps, False)
        signal = forward_ad.unpack_dual(x).primal.detach()
        variance, mean = torch.var_mean(signal, [0, *range(2, x.ndim)], correction=0)
        return torch.batch_norm(x, weight, bias, mean, variance, False, 0.0, eps, False)

    # Modules.

    def _enter(self, module: torch.nn.Module, args: Any, kwargs: Any) -> None:
        with self._silent():
            if self.open:
                self.open[-1].leaf = False
            path = self._paths[module]
            label = self._counted(path or type(module).__name__)
            call = Call(module, path, label, list(tensors((args, kwargs))))
            call.known = self.before_module(call)
            self.open.append(call)

    def _leave(self, module: torch.nn.Module, args: Any, output: object) -> None:
        with self._silent():
            while self.open and self.open[-1].module is not module:
                self.open.pop()  # it raised, and that was caught
            self.after_module(self.open.pop(), output)

    def _counted(self, label: str) -> str:
        self._counts[label] += 1
        count = self._counts[label]
        return label if count == 1 else f"{label}#{count}"

    @contextmanager
    def _silent(self) -> Iterator[None]:
        """Functions called inside are ours, not the module's."""
        self._quiet = True
        try:
            yield
        finally:
            self._quiet = False


@contextmanager
def _derivable(name: str) -> Iterator[None]:
    """A context in which a function has a forward derivative; recurrent layers by oneDNN have none."""
    enabled = torch.backends.mkldnn.enabled
    recurrent = name in ("lstm", "gru", "rnn_tanh", "rnn_relu")
    if recurrent:
        torch.backends.mkldnn.enabled = False
    try:
        yield
    finally:
        if recurrent:
            torch.backends.mkldnn.enabled = enabled


def with_noise(signal: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
    """A dual tensor; to be called inside `forward_ad.dual_level`."""
    with warnings.catch_warnings():
        for category in (DeprecationWarning, FutureWarning):  # of PyTorch's own use of torch.jit
            warnings.simplefilter("ignore", category)
        return forward_ad.make_dual(signal, noise)


def named(func: Any) -> str:
    """The name of a function: "add" for +, += and `add_`."""
    name = str(getattr(func, "__name__", type(func).__name__)).strip("_")
    return _OPERATORS.get(name, name)


def tensors(value: object) -> Iterator[torch.Tensor]:
    """All tensors in nested lists, tuples, tables and dataclasses."""
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, Mapping):
        for each in value.values():
            yield from tensors(each)
    elif isinstance(value, (list, tuple)):
        for each in value:
            yield from tensors(each)
    elif is_dataclass(value) and not isinstance(value, type):
        for field in fields(value):
            yield from tensors(getattr(value, field.name, None))


def swap(value: Any, swapped: dict[int, torch.Tensor]) -> Any:
    """Nested lists, tuples and tables with other tensors in the place of some, by their ids."""
    if isinstance(value, torch.Tensor):
        return swapped.get(id(value), value)
    if isinstance(value, dict):
        return {name: swap(each, swapped) for name, each in value.items()}
    if type(value) in (list, tuple):
        return type(value)(swap(each, swapped) for each in value)
    return value


def numeric(value: object) -> list[torch.Tensor]:
    """The tensors in a value that can carry noise: of real or complex numbers."""
    return [each for each in tensors(value) if each.is_floating_point() or each.is_complex()]
