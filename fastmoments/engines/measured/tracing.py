"""What a module makes of what: its graph of values, where weights come in, and which axes are channels."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import torch

from .watching import Call, Watch, numeric

#: Functions that mix channels by weights, if one of their arguments is made of parameters.
MIXING = {
    *("linear", "bilinear", "matmul", "mm", "bmm", "addmm", "baddbmm", "einsum", "tensordot", "embedding"),
    *("conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d"),
    *("multi_head_attention_forward", "lstm", "gru", "rnn_tanh", "rnn_relu"),
}
#: Functions behind which channels are the second axis; behind those in `MIXING` else, and these, the last.
_SECOND = "conv"
_LAST = {"layer_norm", "rms_norm", "scaled_dot_product_attention"}
#: Functions that only move values: nothing is to be seen behind them that was not before.
MOVING = {
    *("clone", "contiguous", "reshape", "flatten", "view", "permute", "transpose", "to", "type_as", "float"),
    *(
        "double",
        "half",
        "dropout",
        "dropout1d",
        "dropout2d",
        "dropout3d",
        "alpha_dropout",
        "detach",
        "unflatten",
    ),
    *(
        "movedim",
        "moveaxis",
        "swapaxes",
        "swapdims",
        "unsqueeze",
        "squeeze",
        "expand",
        "get",
        "getitem",
        "chunk",
    ),
    *("split", "unbind", "unfold", "roll", "flip", "requires_grad", "set", "setitem", "copy", "pad"),
}

# On tensors while a module is traced: their axes of channels.
_AXES = "_fastmoments_axes"


@dataclass(frozen=True, eq=False)
class Seen:
    """A value that a station may show.

    Attributes
    ----------
    path : str
        Of the module; of a function that of the module it is called in and its name, as in "block.add()".
    kind : str
        Class of the module, or name of the function.
    made_in : str
        Path of the module in which a function was called; of a module its own.
    role : {"leaf", "container", "function"}
    activation : bool
        Whether it is a nonlinearity of PyTorch.
    value : int
        Its node in the graph.
    inputs : tuple of int
        Nodes that it was made of.
    shape : tuple of int
    axes : tuple of int
        Those of channels.
    """

    path: str
    kind: str
    made_in: str
    role: str
    activation: bool
    value: int
    inputs: tuple[int, ...]
    shape: tuple[int, ...]
    axes: tuple[int, ...]

    @property
    def idle(self) -> bool:
        """Whether it is a module that gives the value it was given."""
        return self.role == "leaf" and self.value in self.inputs


class Tracing(Watch):
    """Watches a module once, without noise.

    A value is a memory of tensors, so views of a tensor are the same value, and what is changed in place is
    another one.

    Attributes
    ----------
    before : list of set of int
        Of every value those it was made of.
    mixing : set of int
        Values that came from a function in `MIXING`.
    sizes : list of int
        Bytes of each.
    seen : list of Seen
    """

    def __init__(self, module: torch.nn.Module) -> None:
        super().__init__(module)
        self.before: list[set[int]] = []
        self.mixing: set[int] = set()
        self.sizes: list[int] = []
        self.seen: list[Seen] = []
        self.leaves: set[str] = set()
        self._made: dict[object, int] = {}  # by memory
        self._last_axes: dict[tuple[object, tuple[int, ...]], tuple[int, ...]] = {}
        self._signal: list[bool] = []
        self._weight: list[bool] = []
        for tensor in (*module.parameters(), *module.buffers()):
            self._begin(tensor, signal=False, weight=tensor.ndim >= 2)

    def begin(self, images: torch.Tensor) -> int:
        """The value of the images themselves."""
        self._set_axes(images, (1,))
        return self._begin(images, signal=True, weight=False)

    def values_of(self, output: object) -> set[int]:
        """Values in an output that are made of the images."""
        found = {self._value(each) for each in numeric(output)}
        return {value for value in found if value is not None and self._signal[value]}

    def before_function(self, arguments: list[torch.Tensor]) -> object:
        """How often each argument was changed before."""
        return [_version(each) for each in arguments]

    def after_function(
        self, label: str, name: str, again: Any, arguments: list, known: Any, result: object
    ) -> None:
        """Enter what the function made into the graph."""
        inputs = {value for each in arguments if (value := self._value(each)) is not None}
        memories = {_memory(each) for each in arguments}
        changed = [each for each, version in zip(arguments, known, strict=True) if _version(each) != version]
        results = numeric(result)
        new = [each for each in results if _memory(each) not in memories] + changed
        signal = any(self._signal[value] for value in inputs)
        if new:
            weight = any(self._weight[value] for value in inputs)
            value = self._node(inputs, signal, weight and not signal, sum(map(_bytes, new)))
            for each in new:
                self._made[_memory(each)] = value
            if signal and name in MIXING and any(self._weight[each] for each in inputs):
                self.mixing.add(value)
        if not signal:
            return
        for each in results:
            self._set_axes(each, self._axes(name, again, arguments, each, result))
        if label and results and new and name not in MOVING:
            self._see(
                label, name, label.rpartition(".")[0], "function", name in ACTIVATIONS, results[0], inputs
            )

    def before_module(self, call: Call) -> set[int]:
        """The values that a module is given."""
        return self.values_of(call.inputs)

    def after_module(self, call: Call, output: object) -> None:
        """Note what a module gave."""
        found = [each for each in numeric(output) if self.values_of(each)]
        if call.leaf:
            self.leaves.add(call.path)
        if found:
            kind = type(call.module).__name__
            activation = call.leaf and kind.lower() in ACTIVATIONS
            inputs: set[int] = call.known
            role = "leaf" if call.leaf else "container"
            self._see(call.label, kind, call.path, role, activation, found[0], inputs)

    def _see(
        self, path: str, kind: str, made_in: str, role: str, activation: bool, tensor: torch.Tensor,
        inputs: Collection[int],
    ) -> None:  # fmt: skip
        value = self._value(tensor)
        if value is not None:
            shape, axes = tuple(tensor.shape), self._axes_of(tensor)
            self.seen.append(Seen(path, kind, made_in, role, activation, value, tuple(inputs), shape, axes))

    def _begin(self, tensor: torch.Tensor, *, signal: bool, weight: bool) -> int:
        value = self._node(set(), signal, weight, _bytes(tensor))
        self._made[_memory(tensor)] = value
        return value

    def _node(self, made_of: set[int], signal: bool, weight: bool, size: int) -> int:
        self.before.append(made_of)
        self._signal.append(signal)
        self._weight.append(weight)
        self.sizes.append(size)
        return len(self.before) - 1

    def _value(self, tensor: torch.Tensor) -> int | None:
        return self._made.get(_memory(tensor))

    def _axes(
        self, name: str, again: Any, arguments: list[torch.Tensor], result: torch.Tensor, results: object
    ) -> tuple[int, ...]:
        """Axes of channels behind a function.

        Behind an unknown function of one tensor they are found out: it is called with the number of its
        channel in every entry, and channels are along the axes where the outcome varies.
        """
        if name in MIXING or name in _LAST:
            return (1,) if name.startswith(_SECOND) and result.ndim > 2 else (result.ndim - 1,)
        given = {id(each): each for each in numeric(arguments) if self.values_of(each)}
        # Of several tensors that of the result's shape: others are spread over it.
        alike = (each for each in given.values() if each.shape == result.shape)
        first = next(alike, next(iter(given.values())))
        inherited = self._axes_of(first) if first.ndim == result.ndim else (result.ndim - 1,)
        if len(numeric(arguments)) != 1 or name in ACTIVATIONS:
            return inherited
        state = torch.get_rng_state()
        try:
            found = numeric(again({id(first): _numbered(first, self._axes_of(first))}))
            place = next(i for i, each in enumerate(numeric(results)) if each is result)
            outcome = found[place]
            axes = tuple(axis for axis in range(outcome.ndim) if _varies(outcome, axis))
        except Exception:  # numbers of channels may be out of the function's range, whatever it is
            return inherited
        finally:
            torch.set_rng_state(state)
        # What varies from image to image was drawn.
        return axes if axes and 0 not in axes and outcome.shape == result.shape else inherited

    def _set_axes(self, tensor: torch.Tensor, axes: tuple[int, ...]) -> None:
        setattr(tensor, _AXES, axes)
        self._last_axes[_memory(tensor), tuple(tensor.shape)] = axes

    def _axes_of(self, tensor: torch.Tensor) -> tuple[int, ...]:
        """Its axes of channels: those known, or the second of images and the last of all else."""
        known = getattr(tensor, _AXES, None) or self._last_axes.get((_memory(tensor), tuple(tensor.shape)))
        return known or ((1,) if tensor.ndim > 3 else (tensor.ndim - 1,))


#: Names of nonlinearities, as functions and, in lower case, as modules.
ACTIVATIONS = {
    name.lower()
    for name in torch.nn.modules.activation.__all__
    if "Attention" not in name and "oftmax" not in name
} | {
    *("sigmoid", "tanh", "relu", "gelu", "silu", "elu", "selu", "celu", "mish", "softplus", "hardtanh"),
    *(
        "hard_swish",
        "hardswish",
        "hard_sigmoid",
        "leaky_relu",
        "prelu",
        "rrelu",
        "relu6",
        "logsigmoid",
        "abs",
    ),
    *("sin", "erf", "threshold", "glu", "softsign", "softshrink", "hardshrink", "tanhshrink"),
}


def _memory(tensor: torch.Tensor) -> object:
    """What views of a tensor share with it."""
    try:
        return tensor.device, tensor.untyped_storage().data_ptr()
    except (NotImplementedError, RuntimeError):  # sparse, or of another kind
        return id(tensor)


def _version(tensor: torch.Tensor) -> int:
    """How often it was changed in place; in inference mode nobody counts."""
    return -1 if tensor.is_inference() else int(tensor._version)


def _bytes(tensor: torch.Tensor) -> int:
    return tensor.numel() * tensor.element_size()


def _numbered(tensor: torch.Tensor, axes: tuple[int, ...]) -> torch.Tensor:
    """A tensor of its shape whose entries are the number of their channel, from 0 to below 1."""
    sides = [side if axis in axes else 1 for axis, side in enumerate(tensor.shape)]
    count = max(1, torch.Size(sides).numel())
    numbers = torch.arange(count, device=tensor.device) / count
    return numbers.to(tensor.dtype).reshape(sides).expand(tensor.shape).clone()


def _varies(tensor: torch.Tensor, axis: int) -> bool:
    return tensor.shape[axis] > 1 and bool((tensor != tensor.narrow(axis, 0, 1)).any())
