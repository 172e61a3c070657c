"""A PyTorch module from an ONNX file, with its weights, for `from_torch` and for measuring.

Every node of the graph becomes a module or a function of PyTorch in a `torch.fx` graph. An exporter writes
some activations as several nodes, such as x sigmoid(x); those become one again.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from torch import fx, nn

Attributes = dict[str, Any]
#: Constants of a node by the number of its input.
Constants = dict[int, np.ndarray]


def converted(path: str | os.PathLike[str]) -> fx.GraphModule:
    """The module that a file holds: `fastmoments.load_onnx`."""
    try:
        model = onnx.load(os.fspath(path))
    except OSError as problem:
        raise ValueError(f"Cannot read {path}: {problem.strerror}.") from None
    except Exception:
        raise ValueError(f"{path} is no ONNX file.") from None
    try:
        return _Conversion(onnx.shape_inference.infer_shapes(model).graph).module()
    except ValueError as problem:
        raise ValueError(f"{path}: {problem}") from None


class _Conversion:
    """An ONNX graph while its nodes become those of a PyTorch graph."""

    def __init__(self, graph: onnx.GraphProto):
        self.source = graph
        self.constants = {each.name: numpy_helper.to_array(each) for each in graph.initializer}
        self.graph, self.root = fx.Graph(), nn.Module()
        self.values: dict[str, fx.Node] = {}
        self.producers = {name: node for node in graph.node for name in node.output}
        self.ranks = {
            each.name: len(each.type.tensor_type.shape.dim) for each in (*graph.value_info, *graph.output)
        }

    def module(self) -> fx.GraphModule:
        """The whole."""
        images = [each for each in self.source.input if each.name not in self.constants]
        if len(images) != 1:
            raise ValueError(f"it takes {len(images)} inputs, and a net takes images alone.")
        self.values[images[0].name] = self.graph.placeholder("images")
        for node in self.source.node:
            self._add(node)
        results = [each.name for each in self.source.output if each.name in self.values]
        if not results:
            raise ValueError("nothing that it gives is computed from its images.")
        self.graph.output(self.values[results[0]])
        module = fx.GraphModule(self.root, self.graph)
        module.graph.eliminate_dead_code()
        module.delete_all_unused_submodules()
        module.recompile()
        sizes = images[0].type.tensor_type.shape.dim[1:]
        module.image_shape = tuple(size.dim_value for size in sizes)
        return module

    def _add(self, node: onnx.NodeProto) -> None:
        attributes = {each.name: _plain(onnx.helper.get_attribute_value(each)) for each in node.attribute}
        if node.op_type == "Constant":
            self.constants[node.output[0]] = numpy_helper.to_array(attributes["value"])
            return
        constants = {n: self.constants[name] for n, name in enumerate(node.input) if name in self.constants}
        inputs = tuple(self.values[name] for name in node.input if name in self.values)
        if not inputs:
            return  # a shape that an exporter computes; whoever needs it says so
        label = node.name or node.output[0]
        if (gate := self._gate(node)) is not None:
            value, module = gate
            made = self._call(label, module, (value,))
        elif self._biased(node, constants):
            (made,) = inputs
        elif node.op_type in _MODULES:
            made = self._call(label, _MODULES[node.op_type](attributes, constants), inputs)
        elif node.op_type in _FUNCTIONS:
            made = _FUNCTIONS[node.op_type](self, node, attributes, constants)
        else:
            raise ValueError(
                f"its node {label!r} is a {node.op_type}, which has no counterpart here; norms and "
                "activations are one node from opset 20 on."
            )
        self.values[node.output[0]] = made

    def _call(self, label: str, module: nn.Module, inputs: tuple[fx.Node, ...]) -> fx.Node:
        """A module under the name of its node."""
        place = "_".join(filter(None, re.split(r"\W+", label))) or "node"
        if hasattr(self.root, place):
            place += f"_{len(self.values)}"
        self.root.add_module(place, module)
        return self.graph.call_module(place, inputs)

    def _gate(self, node: onnx.NodeProto) -> tuple[fx.Node, nn.Module] | None:
        """Of a product x phi(x) the value x and the activation that it is."""
        if node.op_type != "Mul":
            return None
        for name, factor in (tuple(node.input), tuple(node.input)[::-1]):
            chain: list[str] = []
            while name in self.values and factor != name and factor in self.producers and len(chain) < 3:
                chain.append(self.producers[factor].op_type)
                factor = next((each for each in self.producers[factor].input if each in self.values), "")
            if factor == name and tuple(chain) in _GATES:
                return self.values[name], _GATES[tuple(chain)]()
        return None

    def _biased(self, node: onnx.NodeProto, constants: Constants) -> bool:
        """Whether a node adds a bias to the product before it, which it becomes part of."""
        product = next((self.producers.get(name) for name in node.input if name in self.values), None)
        if node.op_type != "Add" or product is None or product.op_type != "MatMul" or len(constants) != 1:
            return False
        (bias,) = constants.values()
        module = self.root.get_submodule(str(self.values[product.output[0]].target))
        if bias.ndim != 1 or module.bias is not None:
            return False
        module.bias = nn.Parameter(torch.tensor(bias, dtype=torch.float32))
        return True

    def constant(self, value: np.ndarray) -> fx.Node:
        """A constant in the graph."""
        name = f"constant{sum(1 for _ in self.root.buffers())}"
        self.root.register_buffer(name, torch.tensor(value))
        return self.graph.get_attr(name)

    def operands(self, node: onnx.NodeProto) -> list[fx.Node]:
        """Values and constants that a node takes."""
        return [
            self.values[name] if name in self.values else self.constant(self.constants[name])
            for name in node.input
            if name in self.values or name in self.constants
        ]


def _plain(value: Any) -> Any:
    """An attribute; a number in single precision as the shortest that it is, so that 1e-5 is 1e-5."""
    return float(str(np.float32(value))) if isinstance(value, float) else value


#: What x times these operations of x is, the last of them first.
_GATES: dict[tuple[str, ...], Callable[[], nn.Module]] = {
    ("Sigmoid",): nn.SiLU,
    ("HardSigmoid",): nn.Hardswish,
    ("Tanh", "Softplus"): nn.Mish,
    ("Add", "Erf", "Div"): lambda: nn.Sequential(nn.GELU(), _Twice()),
    ("Add", "Erf", "Mul"): lambda: nn.Sequential(nn.GELU(), _Twice()),
}


class _Twice(nn.Module):
    """x (1 + erf(x / sqrt 2)) is twice what `GELU` gives; the exporter halves it afterwards."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Two times x."""
        return 2.0 * x


def _filled(module: Any, **given: np.ndarray | None) -> nn.Module:
    """A module with these values as its parameters and buffers."""
    for name, value in given.items():
        if value is not None:
            getattr(module, name).data = torch.tensor(value, dtype=torch.float32)
    return module


def _sides(attributes: Attributes, default: int = 0) -> tuple[tuple[int, ...], bool]:
    """Padding along the axes, and whether it is that of "same"."""
    how = attributes.get("auto_pad", b"NOTSET")
    if how in (b"SAME_UPPER", b"SAME_LOWER"):
        return (), True
    pads = attributes.get("pads") or [0, 0, 0, 0]
    before, behind = pads[: len(pads) // 2], pads[len(pads) // 2 :]
    if before != behind:
        raise ValueError(f"a node pads {pads}; padding must be the same on both sides.")
    return tuple(before), False


def _conv(attributes: Attributes, constants: Constants) -> nn.Module:
    weight, bias = constants.get(1), constants.get(2)
    if weight is None:
        raise ValueError("a Conv computes its weights; they must be constants.")
    kinds = {3: nn.Conv1d, 4: nn.Conv2d}
    if weight.ndim not in kinds:
        raise ValueError(f"a Conv has weights with {weight.ndim} axes; those of images have 3 or 4.")
    pads, same = _sides(attributes)
    groups, axes = attributes.get("group", 1), weight.ndim - 2
    kind: Any = kinds[weight.ndim]
    module = kind(
        weight.shape[1] * groups, weight.shape[0], weight.shape[2:],
        tuple(attributes.get("strides") or [1] * axes), "same" if same else pads[:axes],
        tuple(attributes.get("dilations") or [1] * axes), groups, bias is not None,
    )  # fmt: skip
    return _filled(module, weight=weight, bias=bias)


def _gemm(attributes: Attributes, constants: Constants) -> nn.Module:
    if attributes.get("transA", 0) or attributes.get("alpha", 1.0) != 1.0:
        raise ValueError("a Gemm has transA or alpha, which have no counterpart here.")
    weight, bias = constants.get(1), constants.get(2)
    if weight is None:
        raise ValueError("a Gemm computes its weights; they must be constants.")
    weight = weight if attributes.get("transB", 0) else weight.T
    module = nn.Linear(weight.shape[1], weight.shape[0], bias is not None)
    return _filled(module, weight=weight, bias=bias)


def _matmul(attributes: Attributes, constants: Constants) -> nn.Module:
    return _gemm({}, {1: constants[1]} if 1 in constants else {})


def _batch_norm(attributes: Attributes, constants: Constants) -> nn.Module:
    weight, bias, mean, variance = (constants.get(n) for n in range(1, 5))
    if weight is None:
        raise ValueError("a BatchNormalization computes its weights; they must be constants.")
    module = nn.BatchNorm2d(len(weight), attributes.get("epsilon", 1e-5))
    return _filled(module, weight=weight, bias=bias, running_mean=mean, running_var=variance)


def _layer_norm(attributes: Attributes, constants: Constants) -> nn.Module:
    weight = constants[1]
    module = nn.LayerNorm(weight.shape, attributes.get("epsilon", 1e-5))
    return _filled(module, weight=weight, bias=constants.get(2, np.zeros_like(weight)))


def _pool(kind: Callable[..., nn.Module]) -> Callable[[Attributes, Constants], nn.Module]:
    def made(attributes: Attributes, constants: Constants) -> nn.Module:
        size = tuple(attributes["kernel_shape"])
        pads, same = _sides(attributes)
        if same:
            raise ValueError("a pool has auto_pad, which has no counterpart here; export it with numbers.")
        stride = tuple(attributes.get("strides") or [1] * len(size))
        more = {"ceil_mode": bool(attributes.get("ceil_mode", 0))}
        if kind is nn.AvgPool2d:
            more["count_include_pad"] = bool(attributes.get("count_include_pad", 0))
        elif any(step != 1 for step in attributes.get("dilations", ())):
            raise ValueError("a MaxPool has gaps in its windows, which has no counterpart here.")
        return kind(size, stride, pads[: len(size)], **more)

    return made


def _dropout(attributes: Attributes, constants: Constants) -> nn.Module:
    ratio: Any = constants.get(1, attributes.get("ratio", 0.5))
    return nn.Dropout(float(ratio))


def _clip(attributes: Attributes, constants: Constants) -> nn.Module:
    bounds: tuple[Any, ...] = tuple(
        constants.get(n, attributes.get(name)) for n, name in ((1, "min"), (2, "max"))
    )
    if any(bound is None for bound in bounds):
        raise ValueError("a Clip needs a least and a largest value here.")
    least, most = map(float, bounds)
    return nn.ReLU6() if (least, most) == (0.0, 6.0) else nn.Hardtanh(least, most)


#: Modules by the type of a node, of its attributes and constants.
_MODULES: dict[str, Callable[[Attributes, Constants], nn.Module]] = {
    "Conv": _conv,
    "Gemm": _gemm,
    "MatMul": _matmul,
    "BatchNormalization": _batch_norm,
    "LayerNormalization": _layer_norm,
    "MaxPool": _pool(nn.MaxPool2d),
    "AveragePool": _pool(nn.AvgPool2d),
    "GlobalAveragePool": lambda attributes, constants: nn.AdaptiveAvgPool2d(1),
    "Identity": lambda attributes, constants: nn.Identity(),
    "Dropout": _dropout,
    "Relu": lambda attributes, constants: nn.ReLU(),
    "LeakyRelu": lambda attributes, constants: nn.LeakyReLU(attributes.get("alpha", 0.01)),
    "Elu": lambda attributes, constants: nn.ELU(attributes.get("alpha", 1.0)),
    "Celu": lambda attributes, constants: nn.CELU(attributes.get("alpha", 1.0)),
    "Selu": lambda attributes, constants: nn.SELU(),
    "Sigmoid": lambda attributes, constants: nn.Sigmoid(),
    "Tanh": lambda attributes, constants: nn.Tanh(),
    "Softplus": lambda attributes, constants: nn.Softplus(),
    "Softsign": lambda attributes, constants: nn.Softsign(),
    "HardSwish": lambda attributes, constants: nn.Hardswish(),
    "Mish": lambda attributes, constants: nn.Mish(),
    "Gelu": lambda attributes, constants: nn.GELU(attributes.get("approximate", b"none").decode()),
    "Clip": _clip,
}


def _function(function: Callable[..., torch.Tensor]) -> Callable[..., fx.Node]:
    def called(
        conversion: _Conversion, node: onnx.NodeProto, attributes: Attributes, constants: Constants
    ) -> fx.Node:
        return conversion.graph.call_function(function, tuple(conversion.operands(node)))

    return called


def _concat(
    conversion: _Conversion, node: onnx.NodeProto, attributes: Attributes, constants: Constants
) -> fx.Node:
    return conversion.graph.call_function(torch.cat, (conversion.operands(node), attributes["axis"]))


def _mean(
    conversion: _Conversion, node: onnx.NodeProto, attributes: Attributes, constants: Constants
) -> fx.Node:
    axes: Any = constants.get(1, attributes.get("axes"))
    if axes is None:
        raise ValueError("a ReduceMean is over all axes, the images among them.")
    (value,) = conversion.operands(node)[:1]
    return conversion.graph.call_function(
        torch.mean, (value, [int(axis) for axis in axes], bool(attributes.get("keepdims", 1)))
    )


def _flatten(
    conversion: _Conversion, node: onnx.NodeProto, attributes: Attributes, constants: Constants
) -> fx.Node:
    return conversion.graph.call_function(
        torch.flatten, (conversion.operands(node)[0], attributes.get("axis", 1))
    )


def _reshape(
    conversion: _Conversion, node: onnx.NodeProto, attributes: Attributes, constants: Constants
) -> fx.Node:
    value = conversion.operands(node)[0]
    if 1 not in constants:  # as exporters write x.view(x.size(0), -1)
        if conversion.ranks.get(node.output[0]) != 2:
            raise ValueError("a Reshape computes its sizes; export the net with images of one shape.")
        return conversion.graph.call_function(torch.flatten, (value, 1))
    images = conversion.graph.call_method("size", (value, 0))
    sizes = [int(size) for size in constants[1]]
    return conversion.graph.call_function(torch.reshape, (value, (images, *sizes[1:])))


def _transpose(
    conversion: _Conversion, node: onnx.NodeProto, attributes: Attributes, constants: Constants
) -> fx.Node:
    return conversion.graph.call_function(
        torch.permute, (conversion.operands(node)[0], list(attributes["perm"]))
    )


#: Functions by the type of a node.
_FUNCTIONS: dict[str, Callable[..., fx.Node]] = {
    "Add": _function(torch.add),
    "Mul": _function(torch.mul),
    "Div": _function(torch.div),
    "Neg": _function(torch.neg),
    "Sin": _function(torch.sin),
    "Erf": _function(torch.erf),
    "Abs": _function(torch.abs),
    "Concat": _concat,
    "ReduceMean": _mean,
    "Flatten": _flatten,
    "Reshape": _reshape,
    "Transpose": _transpose,
}
