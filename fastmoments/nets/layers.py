"""What a layer is: the base of all frozen descriptions.

A description says nothing about how a layer acts on a covariance or on a sampled signal; each engine holds
that in one place of its own. What several engines need to agree on stands with the description: the
validation of its parameters, where the taps of a convolution are, what an activation does to a number. The
kinds of layers are in `linear`, `activations` and `norms`; how they nest is in `network`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import Field, fields, replace
from types import MappingProxyType
from typing import Any, ClassVar, Self

from .toml_text import folded


class Layer:
    """What every description of a layer has: a name, a kind of station behind it, perhaps layers inside.

    Attributes
    ----------
    loc : str
        Name of the station behind it on curves over depth; "" where the layer has none of its own.
    stacks : tuple of str
        Fields that hold layers, in the order in which the signal meets them.
    nested : tuple of str
        Fields that hold several stacks each.
    merges : bool
        Whether its stacks are branches of one signal that it puts together; a unit of depth begins at it.
    flat : mapping of str to type
        Fields whose own fields stand beside them in a table.
    weighted : bool
        Whether it has fresh weights between all its channels, behind which they are Gaussian.
    TYPES : dict of str to type
        Every kind of layer by its name, as specifications give it.
    """

    loc: ClassVar[str] = ""
    stacks: ClassVar[tuple[str, ...]] = ()
    nested: ClassVar[tuple[str, ...]] = ()
    merges: ClassVar[bool] = False
    flat: ClassVar[Mapping[str, type]] = MappingProxyType({})
    weighted: ClassVar[bool] = False
    TYPES: ClassVar[dict[str, type[Layer]]] = {}

    def __init_subclass__(cls, *, abstract: bool = False, **options: Any) -> None:
        super().__init_subclass__(**options)
        if not abstract:
            Layer.TYPES[cls.__name__] = cls

    @property
    def main(self) -> str:
        """The stack of a layer that merges which names the stations inside of it."""
        raise NotImplementedError

    @property
    def channelwise(self) -> bool:
        """Whether every channel behind it is made of the one before it alone."""
        return False

    @property
    def overlaps(self) -> bool:
        """Whether values behind it have positions before it in common, without weights of their own."""
        return False

    @property
    def joins(self) -> bool:
        """Whether the noise of different images has something in common behind it."""
        return False

    def inside(self, path: str) -> Iterator[tuple[str, Layer]]:
        """The layers of its stacks, with their paths."""
        for stack in self.stacks:
            for index, layer in enumerate(getattr(self, stack)):
                yield joined(path, stack, index), layer

    def rebuilt(self, change: Callable[[str, int, Layer], Layer]) -> Self:
        """A copy whose stacks hold what ``change(stack, index, layer)`` makes of each of their layers."""
        stacks = {
            stack: tuple(change(stack, index, layer) for index, layer in enumerate(getattr(self, stack)))
            for stack in self.stacks
        }
        return replace(self, **stacks)  # type: ignore[type-var]  # every layer is a dataclass

    @property
    def pointwise(self) -> bool:
        """Whether every position behind it sees exactly its own before it."""
        return True

    def output_grid(self, grid: tuple[int, int]) -> tuple[int, int]:
        """Positions (height, width) behind it, of `grid` before it."""
        return grid

    def output_channels(self, channels: int, grid: tuple[int, int], width: int) -> int:
        """Channels behind it, of so many before it at `grid` positions; `width` where it does not say."""
        return channels


def joined(path: str, stack: str, index: int) -> str:
    """Path of a layer inside another: ``layers.3`` and its ``branch``, 1 make ``layers.3.branch.1``."""
    return f"{path}.{stack}.{index}" if path else f"{stack}.{index}"


def passed_by_all(path: str) -> bool:
    """Whether a path leads through networks only, so that all of the signal passes there."""
    return not path or set(path.split(".")[::2]) <= {"stem", "layers"}


def describe(layer: Layer) -> dict:
    """A layer as a table of plain values, the form a TOML specification has; defaults are left out."""
    changed = _changed(layer)
    for name in layer.flat.keys() & changed:
        changed |= _changed(changed.pop(name))
    return {"type": type(layer).__name__} | {name: _plain(value) for name, value in changed.items()}


def told(described: object) -> list[Field]:
    """The fields of a dataclass that say what it is: those that count when two are compared."""
    return [field for field in fields(described) if field.compare]  # type: ignore[arg-type]  # it is one


def _changed(described: object) -> dict:
    """The fields of a dataclass that are not their defaults."""
    known = told(described)
    values = ((field.name, getattr(described, field.name), field.default) for field in known)
    return {name: value for name, value, default in values if value != default}


def _plain(value: object) -> object:
    if isinstance(value, Layer):
        return describe(value)
    if callable(value):  # of an activation of one's own
        return str(getattr(value, "__name__", type(value).__name__))
    if not isinstance(value, tuple):
        return value
    stack = [describe(each) for each in value if isinstance(each, Layer)]
    return folded(stack) if len(stack) == len(value) else [_plain(each) for each in value]
