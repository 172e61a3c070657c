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


@dataclass(frozen=True)
class Way:
    """Layers from one place of a graph to another.

    Attributes
    ----------
    layers : tuple of layers
    origins : tuple of str
        Names of the steps after which their values stand, in the order of `walk`; "" inside of a step.
    zero : str
        The step that makes what comes out 0, or "".
    """

    layers: tuple[Layer, ...] = ()
    origins: tuple[str, ...] = ()
    zero: str = ""


def reduced(steps: Sequence[Step], output: str) -> Way:
    """The layers from the images to a step, and where they come from.

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
    way = _Reduction(steps).stack(steps[0].name, output)
    if way.zero:
        raise ValueError(f"The weights of {way.zero} are 0, and so is everything behind it.")
    return way


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
            parts.append(self._joined(step, before) if step.join else _single(step))
            end = before
        parts.reverse()
        layers = tuple(layer for part in parts for layer in part.layers)
        return Way(layers, tuple(name for part in parts for name in part.origins), _zero(parts))

    def _joined(self, step: Step, start: str) -> Way:
        if step.join == SUM and len(set(step.inputs)) == 1:
            return Way((Scale(float(len(step.inputs))),), (step.name,))
        ways = [self.stack(start, end) for end in step.inputs]
        if step.join == CONCAT:
            for way in ways:
                if way.zero:
                    raise ValueError(
                        f"The weights of {way.zero} are 0, which {step.name} sets beside others."
                    )
            return Way((Concat(tuple(way.layers for way in ways)),), _inside(ways, step.name))
        first, *rest = ways
        for other in rest:
            first = self._sum(step.name, first, other)
        return first

    def _sum(self, name: str, one: Way, other: Way) -> Way:
        """A residual unit; the way with more weights is its branch, unless the other one is 0."""
        shortcut, branch = sorted((one, other), key=_merit)
        if shortcut.zero:
            return shortcut
        if not _weights(branch.layers):
            raise ValueError(f"{name} adds two ways without weights of their own, which has no formula here.")
        scale = 0.0 if branch.zero else 1.0
        unit = Residual(branch.layers, shortcut.layers, scale)
        return Way((unit,), _inside((branch, shortcut), name))


def _single(step: Step) -> Way:
    """The layers of a step with one input."""
    origins = ("",) * (len(step.layers) - 1) + (step.name,) * (len(step.layers) > 0)
    return Way(step.layers, origins, step.name if step.zero else "")


def _inside(ways: Sequence[Way], name: str) -> tuple[str, ...]:
    """Origins of a layer that holds these ways: what it holds comes first."""
    return (*(each for way in ways for each in way.origins), name)


def _zero(parts: Sequence[Way]) -> str:
    """The step that makes the end of a stack 0, if one does.

    Raises
    ------
    ValueError
        If something else than factors stands behind it, which might make something of 0.
    """
    found = ""
    for part in parts:
        if found and not all(isinstance(layer, Scale | Dropout) for layer in part.layers):
            raise ValueError(f"The weights of {found} are 0; only a factor may stand between it and a sum.")
        found = part.zero or found
    return found


def _merit(way: Way) -> tuple[bool, int]:
    """What makes a way the branch: that it is 0, then its weights."""
    return way.zero != "", _weights(way.layers)


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
