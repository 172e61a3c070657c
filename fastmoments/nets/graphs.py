"""Nets from graphs of operations: what branches and meets again becomes residual units and concatenations.

A frontend (`torch`, for one) says of every operation which layers it is; `reduced` finds how they nest. A net
of this package is series-parallel: where a value goes two ways, both meet again, and nothing leaves a way in
between. Of a sum or a concatenation the place where its ways parted is its immediate dominator, the last
operation that all of them pass (Cooper, Harvey and Kennedy, 2001); each way is reduced by itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from .concat import Concat
from .fixed import Dropout, Scale
from .layers import Layer
from .network import Network, Residual, walk

SUM, CONCAT = "sum", "concat"

#: The layers of a way through the graph, and the step that makes what comes out of it 0, or "".
Way = tuple[tuple[Layer, ...], str]


@dataclass(frozen=True)
class Step:
    """An operation of a graph.

    Attributes
    ----------
    name : str
        As messages give it; each has its own.
    inputs : tuple of str
        The steps whose values it takes; none for the images.
    layers : tuple of layers
        What it is, if it has one input.
    join : {"", "sum", "concat"}
        What it does with several.
    zero : bool
        Whether what comes out is 0, whatever goes in, as of weights that start at 0; `layers` are then what
        they would be with others.
    """

    name: str
    inputs: tuple[str, ...] = ()
    layers: tuple[Layer, ...] = ()
    join: str = ""
    zero: bool = False


def reduced(steps: Sequence[Step], output: str) -> tuple[Layer, ...]:
    """The layers from the images to a step.

    Parameters
    ----------
    steps : sequence of Step
        In an order in which they can be computed, the images first.
    output : str
        Name of the last one.

    Raises
    ------
    ValueError
        In one sentence, naming the step: if the graph is not series-parallel, if a sum has no weights in
        either of its branches, or if everything behind a step is 0.
    """
    layers, zero = _Reduction(steps).stack(steps[0].name, output)
    if zero:
        raise ValueError(f"The weights of {zero} are 0, and so is everything behind it.")
    return layers


class _Reduction:
    """A graph while its steps become layers, each once."""

    def __init__(self, steps: Sequence[Step]):
        self.steps = {step.name: step for step in _nested(steps)}
        self.order = {name: index for index, name in enumerate(self.steps)}
        self.dominators: dict[str, str] = {}
        for name, step in self.steps.items():
            first, *rest = step.inputs or (name,)
            for other in rest:
                first = self._common(first, other)
            self.dominators[name] = first
        self.taken: set[str] = set()

    def _common(self, one: str, other: str) -> str:
        """The last step that all ways to both pass."""
        while one != other:
            if self.order[one] > self.order[other]:
                one = self.dominators[one]
            else:
                other = self.dominators[other]
        return one

    def stack(self, start: str, end: str) -> Way:
        """The layers behind `start` up to `end`, and the step that makes them 0, if one does."""
        parts: list[Way] = []
        while end != start:
            step = self.steps[end]
            if end in self.taken or self.order[end] < self.order[start]:
                raise ValueError(
                    f"What {end} computes is used in several places that do not nest in each other; "
                    "a net is taken whose branches part in one place and meet in one."
                )
            self.taken.add(end)
            before = self.dominators[end]
            parts.append(self._joined(step, before) if step.join else (step.layers, end if step.zero else ""))
            end = before
        parts.reverse()
        return tuple(layer for layers, _ in parts for layer in layers), _zero(parts)

    def _joined(self, step: Step, start: str) -> Way:
        if step.join == SUM and len(set(step.inputs)) == 1:
            return (Scale(float(len(step.inputs))),), ""
        ways = [self.stack(start, end) for end in step.inputs]
        if step.join == CONCAT:
            for _, zero in ways:
                if zero:
                    raise ValueError(f"The weights of {zero} are 0, which {step.name} sets beside others.")
            return (Concat(tuple(layers for layers, _ in ways)),), ""
        first, *rest = ways
        for other in rest:
            first = self._sum(step.name, first, other)
        return first

    def _sum(self, name: str, one: Way, other: Way) -> Way:
        """A residual unit; the way with more weights is its branch, unless the other one is 0."""
        (shortcut, zero), (branch, off) = sorted((one, other), key=_merit)
        if zero:
            return shortcut, zero
        if not _weights(branch):
            raise ValueError(f"{name} adds two ways without weights of their own, which has no formula here.")
        scale = 0.0 if off else 1.0
        return (Residual(branch, shortcut, scale),), ""


def _zero(parts: Sequence[Way]) -> str:
    """The step that makes the end of a stack 0, if one does.

    Raises
    ------
    ValueError
        If something else than factors stands behind it, which might make something of 0.
    """
    found = ""
    for layers, zero in parts:
        if found and not all(isinstance(layer, Scale | Dropout) for layer in layers):
            raise ValueError(f"The weights of {found} are 0; only a factor may stand between it and a sum.")
        found = zero or found
    return found


def _merit(way: Way) -> tuple[bool, int]:
    """What makes a way the branch: that it is 0, then its weights."""
    layers, zero = way
    return zero != "", _weights(layers)


def _weights(layers: Sequence[Layer]) -> int:
    return sum(layer.weighted for _, layer in walk(layers))


def _nested(steps: Sequence[Step]) -> list[Step]:
    """The same steps; of concatenations that begin alike the longer takes the shorter one's value.

    A dense block concatenates a growing list, of which every step sees all. One of a single value is that.
    """
    lists: dict[tuple[str, ...], str] = {}
    same: dict[str, str] = {}
    found = []
    for step in steps:
        inputs = tuple(same.get(name, name) for name in step.inputs)
        if step.join == CONCAT:
            if len(inputs) == 1:
                same[step.name] = inputs[0]
                continue
            if inputs in lists:
                same[step.name] = lists[inputs]
                continue
            known = next((n for n in range(len(inputs) - 1, 1, -1) if inputs[:n] in lists), 0)
            lists[inputs] = step.name
            if known:
                inputs = (lists[inputs[:known]], *inputs[known:])
        found.append(replace(step, inputs=inputs))
    return found


def network(layers: Sequence[Layer], name: str) -> Network:
    """A net of these layers; what stands before its first residual unit or concatenation is the stem."""
    stem = 0
    nests = [isinstance(layer, Residual | Concat) for layer in layers]
    if any(nests):
        stem = nests.index(True)
    return Network(tuple(layers[stem:]), tuple(layers[:stem]), name)
