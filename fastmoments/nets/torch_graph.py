"""A net from a PyTorch module: what `torch.fx` traces, operation by operation, in layers."""

from __future__ import annotations

import copy
import inspect
import random
from collections import Counter
from collections.abc import Callable
from typing import Any

import torch
from torch import fx, nn

from ..validation import one_of
from . import activations, graphs
from .fixed import GlobalAvgPool
from .layers import Layer
from .network import Network, walk
from .torch_modules import (
    INITS,
    MEASURED,
    Found,
    Place,
    Untranslated,
    Value,
    flattened,
    number,
    scaled,
    translated,
)

#: Functions and methods that are a module; both have the names of their parameters in common.
_MODULES: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU, "relu_": nn.ReLU, "leaky_relu": nn.LeakyReLU, "gelu": nn.GELU, "silu": nn.SiLU,
    "elu": nn.ELU, "selu": nn.SELU, "celu": nn.CELU, "relu6": nn.ReLU6, "mish": nn.Mish,
    "softplus": nn.Softplus, "hardswish": nn.Hardswish, "hardtanh": nn.Hardtanh, "softsign": nn.Softsign,
    "logsigmoid": nn.LogSigmoid, "hardsigmoid": nn.Hardsigmoid, "tanh": nn.Tanh, "tanh_": nn.Tanh,
    "sigmoid": nn.Sigmoid, "tanhshrink": nn.Tanhshrink, "max_pool2d": nn.MaxPool2d,
    "avg_pool2d": nn.AvgPool2d, "adaptive_avg_pool2d": nn.AdaptiveAvgPool2d, "dropout": nn.Dropout,
    "dropout2d": nn.Dropout2d,
}  # fmt: skip
_SUMS = ("add", "add_", "iadd")
_CONCATENATIONS = ("cat", "concat")
#: Names of operators that differ from those of their functions.
_SPOKEN = {"iadd": "add", "imul": "mul", "truediv": "div", "itruediv": "div"}


def translation(
    module: nn.Module, example: object, init: str, name: str | None
) -> tuple[Network, dict[str, str]]:
    """The net that a module is, and the paths of its layers: `fastmoments.nets.torch.translated`."""
    if not isinstance(module, nn.Module):
        raise ValueError(f"from_torch takes a torch.nn.Module, not {type(module).__name__}.")
    one_of("from_torch: init", init, (MEASURED, *INITS))
    if any(each.is_meta for each in module.parameters()):
        raise ValueError(f"{type(module).__name__} is on the meta device, where parameters have no values.")
    dice = random.getstate()
    try:
        with torch.random.fork_rng():
            graph = _traced(module, example)
    finally:
        random.setstate(dice)
    steps, output = _Translation(graph, init).steps()
    way = graphs.reduced(steps, output)
    network = graphs.network(way.layers, name or type(module).__name__)
    both = zip(walk((network,), ""), way.origins, strict=True)
    return network, {origin: path for (path, _), origin in both if origin}


def _traced(module: nn.Module, example: Any) -> fx.GraphModule:
    """The graph of a copy of a module, with the sizes of all values."""
    kind = type(module).__name__
    try:
        image = torch.as_tensor(example)[:1]
    except Exception as problem:
        raise ValueError(
            f"from_torch: the example must be a batch as {kind} takes it, such as a tensor of shape "
            f"(n, channels, height, width): {_one_line(problem)}."
        ) from None
    dtypes = [each.dtype for each in module.parameters() if each.is_floating_point()]
    image = image.to(dtypes[0] if dtypes else torch.float32)
    try:
        copied = copy.deepcopy(module).eval()
        if fx.Tracer().is_leaf_module(copied, ""):  # of one module of PyTorch not what is inside
            copied = nn.Sequential(copied)
        graph = fx.symbolic_trace(copied)
    except Exception as problem:
        raise ValueError(
            f"{kind} cannot be traced ({_one_line(problem)}); fastmoments can measure it as it is."
        ) from None
    try:
        with torch.no_grad():
            _Sizes(graph).run(image)
    except Exception as problem:
        raise ValueError(
            f"{kind} does not run on an example of shape {tuple(image.shape)}: {_one_line(problem)}."
        ) from None
    return graph


def _one_line(problem: BaseException) -> str:
    """The first line of a message, without its full stop."""
    lines = str(problem).strip().splitlines()
    return lines[0].rstrip(".") if lines else type(problem).__name__


class _Sizes(fx.Interpreter):
    """Runs a graph and notes the sizes of tensors, and numbers and sizes that it computes themselves."""

    def run_node(self, node: fx.Node) -> Any:
        """Compute a node."""
        result = super().run_node(node)
        if isinstance(result, torch.Tensor):
            node.meta["sizes"] = tuple(result.shape)
        elif isinstance(result, int | torch.Size):
            node.meta["number"] = result
        else:
            node.meta["sizes"] = None
        return result


def _number(given: Any) -> Any:
    """An argument, with the numbers in it that the module computed."""
    return fx.map_arg(given, lambda node: node.meta.get("number", node)) if given is not None else None


def _sizes(node: fx.Node) -> tuple[int, ...]:
    if node.meta["sizes"] is None:
        raise Untranslated("it gives something else than one tensor.")
    return node.meta["sizes"]


class _Translation:
    """A traced graph while its operations become steps."""

    def __init__(self, graph: fx.GraphModule, init: str):
        self.graph, self.init = graph, init
        self.values: dict[fx.Node, Value] = {}
        self.labels: dict[fx.Node, str] = {}
        self.owners: dict[int, str] = {}
        self.calls: Counter[str] = Counter()

    def steps(self) -> tuple[list[graphs.Step], str]:
        """All steps, and the name of the last.

        Raises
        ------
        ValueError
            If an operation has no counterpart, with its path.
        """
        found: list[graphs.Step] = []
        for node in self.graph.graph.nodes:
            if node.op == "output":
                (result,) = node.args
                if not isinstance(result, fx.Node) or result not in self.values:
                    break
                return found, self.labels[result]
            label = self._label(node)
            try:
                step = self._images(node, label) if node.op == "placeholder" else self._step(node, label)
            except ValueError as problem:
                raise ValueError(f"{label}: {problem}") from None
            if step:
                self.labels[node] = label
                found.append(step)
        raise ValueError("The module must give one tensor that it computes from the images.")

    def _label(self, node: fx.Node) -> str:
        """Path of a module or function, as of the stations of a measured one: which call it is behind it."""
        if node.op in ("placeholder", "output", "get_attr"):
            return node.name
        path = str(node.target)
        if node.op != "call_module":
            inside = [path for path, _ in (node.meta.get("nn_module_stack") or {}).values() if path]
            name = _operation(node).strip("_")
            path = ".".join((*inside[-1:], f"{_SPOKEN.get(name, name)}()"))
        self.calls[path] += 1
        return path if self.calls[path] == 1 else f"{path}#{self.calls[path]}"

    def _images(self, node: fx.Node, label: str) -> graphs.Step:
        if self.values:
            raise Untranslated("a net takes images, and nothing beside them.")
        sizes = _sizes(node)
        if len(sizes) not in (2, 3, 4):
            raise Untranslated(f"images have 2 to 4 axes, and the example has {len(sizes)}.")
        self.values[node] = Value(sizes, ("n", "c", *"pp"[: len(sizes) - 2]))
        return graphs.Step(label)

    def _step(self, node: fx.Node, label: str) -> graphs.Step | None:
        inputs = [each for each in node.all_input_nodes if each in self.values]
        if node.op == "get_attr" or "number" in node.meta:  # constants, sizes
            return None
        if not inputs:
            raise Untranslated("it does not depend on the images.")
        joined = self._joined(node, label)
        if joined is not None:
            return joined
        first, *others = inputs
        if others:
            raise Untranslated("it makes one value of several, which only sums and concatenations may.")
        before, sizes = self.values[first], _sizes(node)
        found = self._found(node, Place(before, sizes, self.init))
        axes = found.axes or before.axes
        if len(axes) != len(sizes):
            raise Untranslated(f"it makes {sizes} of {before.sizes}, and it is not known which are channels.")
        self.values[node] = Value(sizes, axes)
        return graphs.Step(label, (self.labels[first],), found.layers, zero=found.zero)

    def _joined(self, node: fx.Node, label: str) -> graphs.Step | None:
        """A sum or a concatenation of values; None for anything else."""
        operation = _operation(node)
        if operation in _SUMS:
            given: Any = node.args[:2]
            join = graphs.SUM
        elif operation in _CONCATENATIONS:
            given = node.args[0] if node.args else node.kwargs["tensors"]
            join = graphs.CONCAT
        else:
            return None
        if not all(isinstance(each, fx.Node) and each in self.values for each in given) or len(given) < 1:
            return None
        values = [self.values[each] for each in given]
        if len({value.axes for value in values}) > 1:
            raise Untranslated("the channels of what it joins are on different axes.")
        axes = values[0].axes
        if join == graphs.SUM:
            if len(given) < 2 or len({value.sizes for value in values}) > 1 or node.kwargs:
                raise Untranslated("it adds values of different shapes, or with a factor.")
        elif axes[node.kwargs.get("dim", node.args[1] if len(node.args) > 1 else 0)] != "c":
            raise Untranslated("it concatenates along another axis than the channels.")
        self.values[node] = Value(_sizes(node), axes)
        return graphs.Step(label, tuple(self.labels[each] for each in given), join=join)

    def _found(self, node: fx.Node, place: Place) -> Found:
        if node.op == "call_module":
            module = self.graph.get_submodule(str(node.target))
            self.take(module.parameters(), str(node.target))
            return translated(module, place)
        operation = _operation(node)
        if operation in _MODULES:
            return translated(self._module(node, _MODULES[operation]), place)
        if operation in _OPERATIONS:
            return _OPERATIONS[operation](self, node, place)
        raise Untranslated("this operation has no formula here; fastmoments can measure the module.")

    def take(self, parameters: Any, path: str) -> None:
        """Weights that are used twice are refused: they are not fresh the second time."""
        own = {id(parameter) for parameter in parameters}
        for known in filter(None, map(self.owners.get, own)):
            shared = "are used twice" if known == path else f"are those of {known} as well"
            raise Untranslated(f"its weights {shared}; a net here has fresh ones everywhere.")
        self.owners.update(dict.fromkeys(own, path))

    def _module(self, node: fx.Node, kind: type[nn.Module]) -> nn.Module:
        """The module that a function is, with its arguments."""
        known = inspect.signature(kind).parameters
        try:
            target: Any = node.target
            names = list(inspect.signature(target).parameters)[1:]
        except (TypeError, ValueError):  # a method, or not written in Python
            names = []
        names = names if set(names) & set(known) else list(known)
        given = {**dict(zip(names, node.args[1:], strict=False)), **node.kwargs}
        return kind(**{key: _number(value) for key, value in given.items() if key in known})

    def parameter(self, given: object) -> Any:
        """A parameter or buffer of the module; None for anything else."""
        if not isinstance(given, fx.Node) or given.op != "get_attr":
            return None
        value: Any = self.graph
        for part in str(given.target).split("."):
            value = getattr(value, part)
        return value

    def constant(self, given: object) -> torch.Tensor | None:
        """A number, a parameter or a buffer; None for what is computed."""
        if isinstance(given, int | float):
            return torch.tensor(float(given), dtype=torch.float64)
        value = self.parameter(given)
        return value.detach().double() if isinstance(value, torch.Tensor) else None

    def other(self, node: fx.Node) -> torch.Tensor:
        """The operand of a product or sum that does not come from the images."""
        for given in node.args[:2]:
            if (found := self.constant(given)) is not None:
                return found
        raise Untranslated("its other operand is neither a number nor a parameter.")


def _operation(node: fx.Node) -> str:
    """Name of a function or method."""
    if node.op == "call_module":
        return ""
    return node.target if isinstance(node.target, str) else getattr(node.target, "__name__", "")


def _weighted(translation: _Translation, node: fx.Node, place: Place) -> Found:
    """A linear layer or a convolution that is called as a function, with parameters of the module."""
    names = ("input", "weight", "bias", "stride", "padding", "dilation", "groups")
    given = dict(zip(names, node.args, strict=False)) | dict(node.kwargs)
    weight, bias = (translation.parameter(given.get(name)) for name in ("weight", "bias"))
    if weight is None or (bias is None and given.get("bias") is not None):
        raise Untranslated("its weights are no parameters of the module.")
    translation.take([each for each in (weight, bias) if each is not None], str(given["weight"]))
    if weight.ndim == 2:
        module: Any = nn.Linear(weight.shape[1], weight.shape[0])
    else:
        kind: Any = {3: nn.Conv1d, 4: nn.Conv2d}.get(weight.ndim, nn.Conv3d)
        more = {key: _number(given[key]) for key in names[3:] if key in given}
        groups = more.get("groups", 1)
        module = kind(weight.shape[1] * groups, weight.shape[0], tuple(weight.shape[2:]), **more)
    module.weight, module.bias = weight, bias
    return translated(module, place)


def _product(translation: _Translation, node: fx.Node, place: Place) -> Found:
    return scaled(number(translation.other(node), 1.0, "factor"))


def _quotient(translation: _Translation, node: fx.Node, place: Place) -> Found:
    if not isinstance(node.args[0], fx.Node) or node.args[0].op == "get_attr":
        raise Untranslated("it divides by what comes from the images.")
    divisor = number(translation.other(node), 1.0, "divisor")
    if divisor == 0.0:
        raise Untranslated("it divides by 0.")
    return scaled(1.0 / divisor)


def _shift(translation: _Translation, node: fx.Node, place: Place) -> Found:
    if number(translation.other(node), 0.0, "summand") != 0.0:
        raise Untranslated("it adds a number other than 0, which has no formula here.")
    return Found()


def _mean(translation: _Translation, node: fx.Node, place: Place) -> Found:
    given: Any = node.kwargs.get("dim", node.args[1] if len(node.args) > 1 else None)
    count = len(place.before.sizes)
    axes = {axis % count for axis in ([given] if isinstance(given, int) else given or ())}
    if axes != {axis for axis, name in enumerate(place.before.axes) if name == "p"}:
        raise Untranslated("it is no mean over all positions.")
    kept = len(place.behind) == count
    return Found((GlobalAvgPool(),), axes=place.before.axes if kept else ("n", "c"))


def _permuted(translation: _Translation, node: fx.Node, place: Place) -> Found:
    given = node.args[1:]
    order: Any = given[0] if len(given) == 1 else given
    order = node.kwargs.get("dims", order)
    return Found(axes=tuple(place.before.axes[axis] for axis in order))


def _transposed(translation: _Translation, node: fx.Node, place: Place) -> Found:
    axes = list(place.before.axes)
    one, other = node.args[1:3] if len(node.args) > 2 else (node.kwargs["dim0"], node.kwargs["dim1"])
    axes[one], axes[other] = axes[other], axes[one]
    return Found(axes=tuple(axes))


def _moved(translation: _Translation, node: fx.Node, place: Place) -> Found:
    names = ("self", "source", "destination")
    given: Any = dict(zip(names, node.args, strict=False)) | dict(node.kwargs)
    source, target = given["source"], given["destination"]
    if not isinstance(source, int):
        raise Untranslated("it moves several axes; permute them.")
    axes = list(place.before.axes)
    moved = axes.pop(source)
    axes.insert(target % len(place.before.axes), moved)
    return Found(axes=tuple(axes))


def _as(layer: Layer) -> Callable[[_Translation, fx.Node, Place], Found]:
    """An operation that is a layer."""
    return lambda translation, node, place: Found((layer,))


#: Functions and methods by their names.
_OPERATIONS: dict[str, Callable[[_Translation, fx.Node, Place], Found]] = {
    **dict.fromkeys(("mul", "mul_", "imul", "multiply"), _product),
    **dict.fromkeys(("truediv", "div", "div_", "itruediv"), _quotient),
    **dict.fromkeys(_SUMS, _shift),
    **dict.fromkeys(("view", "reshape", "flatten"), lambda translation, node, place: flattened(place)),
    **dict.fromkeys(("contiguous", "clone", "detach"), lambda translation, node, place: Found()),
    **dict.fromkeys(("sin", "sin_"), _as(activations.Sin())),
    **dict.fromkeys(("abs", "abs_"), _as(activations.Abs())),
    "neg": lambda translation, node, place: scaled(-1.0),
    **dict.fromkeys(("linear", "conv1d", "conv2d"), _weighted),
    "erf": _as(activations.Erf()),
    "mean": _mean,
    "permute": _permuted,
    "movedim": _moved,
    "transpose": _transposed,
}
