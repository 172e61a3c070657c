"""Which values of a traced module are stations, in which unit of depth, and their names on curves."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections import Counter
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Any

import torch

from .series import between, in_series
from .tracing import Seen, Tracing
from .watching import Call, Watch, numeric

#: Functions that merge ways of the signal.
JOINS = ("add", "cat")
#: Modules that are no layers if they do nothing.
EMPTY = ("Identity", "Sequential")


@dataclass(frozen=True, eq=False)
class Stop:
    """A station of a module.

    Attributes
    ----------
    seen : Seen
    depth : int
    loc : str or None
        Its name on curves over depth.
    before : str
        Path of the station at its own input; of a merge, where the ways part. "" for the images.
    alone : bool
        Whether all of the signal passes here.
    """

    seen: Seen
    depth: int
    loc: str | None
    before: str
    alone: bool


class Course:
    """The way of the signal through a module, cut where all of it passes through one value.

    Parameters
    ----------
    tracing : Tracing
    source : int
        The value of the images.
    sinks : set of int
        Those that the module returns.

    Attributes
    ----------
    largest : int
        Bytes of the largest value on the way.
    held : int
        Bytes of all values between two cuts, at most.
    all : int
        Bytes of all values on the way.
    """

    def __init__(self, tracing: Tracing, source: int, sinks: set[int]) -> None:
        self.tracing = tracing
        self._cuts = in_series(tracing.before, source, sinks)
        self._alone = set(self._cuts)
        self._way = set(between(tracing.before, source, sinks))
        held = Counter[int]()
        for value in self._way:
            held[self._segment(value)] += tracing.sizes[value]
        self.largest, self.held = max(tracing.sizes[value] for value in self._way), max(held.values())
        self.all = sum(held.values())
        self._weighted = sorted({self._segment(value) for value in tracing.mixing & self._way})

    def _segment(self, value: int) -> int:
        """Number of the first cut that is not before a value."""
        return bisect_left(self._cuts, value)

    def _depth(self, value: int) -> int:
        """The unit; what comes before the first weights belongs to the first."""
        return max(1, bisect_right(self._weighted, self._segment(value)))

    def _parted(self, value: int) -> bool:
        """Whether it is where the signal goes several ways, with weights on them, or where these merge."""
        segment = self._segment(value)
        return segment in self._weighted and segment < len(self._cuts) and self._joins(self._cuts[segment])

    def _joins(self, value: int) -> bool:
        """Whether several values of the way are merged in it."""
        return len(self.tracing.before[value] & self._way) > 1

    def stops(self) -> list[Stop]:
        """The stations by depth, in the order of the call."""
        chosen = sorted(self._chosen(), key=lambda seen: self._depth(seen.value))
        paths = {self._cuts[0]: ""}
        for seen in chosen:
            paths.setdefault(seen.value, seen.path)
        units: dict[int, list[Stop]] = {}
        for seen in chosen:
            before, alone = self._before(seen, paths), seen.value in self._alone
            depth = self._depth(seen.value)
            units.setdefault(depth, []).append(Stop(seen, depth, None, before, alone))
        return [stop for depth, unit in sorted(units.items()) for stop in self._named(unit)]

    def _chosen(self) -> list[Seen]:
        """Leaves, functions that are nonlinear, merge ways or have all signal and what containers return."""
        tracing = self.tracing
        seen = [
            each
            for each, latest in zip(tracing.seen, _latest(tracing.seen), strict=True)
            if each.value in self._way or each.role == "leaf"
            if not (each.idle and (each.kind in EMPTY or each.value < latest))
        ]
        functional = tracing.leaves == {""}  # a module without others: its functions are all there is to see
        taken = {each.value for each in seen if each.role == "leaf" and not each.idle and not functional}

        def shown(each: Seen) -> bool:
            inside = each.made_in in tracing.leaves and not functional
            merges = each.kind in JOINS and self._joins(each.value)
            return not inside and (each.value in self._alone or each.activation or merges)

        others = set[Seen]()
        for role in ("function", "container"):
            for each in seen:
                if each.role == role and each.value not in taken and (role == "container" or shown(each)):
                    taken.add(each.value)
                    others.add(each)
        return [each for each in seen if each in others or (each.role == "leaf" and not functional)]

    def _before(self, seen: Seen, paths: dict[int, str]) -> str:
        """Path of the station at the input of another; where it has several inputs, where their ways part."""
        inputs = self._way.intersection(seen.inputs)
        while len(inputs) == 1:
            (value,) = inputs
            if paths.get(value, seen.path) != seen.path:
                return paths[value]
            inputs = self.tracing.before[value] & self._way
        ahead = reversed(self._cuts[: max(1, self._segment(seen.value))])
        return next(paths[value] for value in ahead if value in paths)

    def _named(self, unit: list[Stop]) -> list[Stop]:
        """The stations of a unit with their names on curves over depth, as `Network.places` gives them."""
        names, merged = list[str](), False
        for stop in unit:
            inside = self._parted(stop.seen.value)
            name = "merge" if inside and stop.alone else "" if merged and not inside else self._loc(stop.seen)
            merged |= inside
            names.append("" if name in names else name)
        last = max((index for index, stop in enumerate(unit) if stop.alone), default=len(unit) - 1)
        if not names[last] and (merged or not any(names)):
            names[last] = "out"
        return [replace(stop, loc=name or None) for stop, name in zip(unit, names, strict=True)]

    def _loc(self, seen: Seen) -> str:
        if seen.activation:
            return "act"
        if "norm" in seen.kind.lower():
            return "norm"
        return "conv" if seen.value in self.tracing.mixing else ""


def _latest(seen: list[Seen]) -> list[int]:
    """The latest value so far, at every place."""
    return list(accumulate((each.value for each in seen), max))


class Stopping(Watch):
    """Watches a module and stops at its stations.

    Parameters
    ----------
    module : torch.nn.Module
    through : bool
        As of `Watch`.
    wanted : dict of str to Stop
        The stations by their paths.
    """

    def __init__(self, module: torch.nn.Module, through: bool, wanted: dict[str, Stop]) -> None:
        super().__init__(module, through)
        self.wanted = wanted

    def stop(self, stop: Stop, tensor: torch.Tensor) -> None:
        """A station is reached; its value."""

    def after_function(
        self, label: str, name: str, again: Any, arguments: list, known: Any, result: object
    ) -> None:
        """Stop behind a function, if it has a station."""
        self._reached(label, result)

    def after_module(self, call: Call, output: object) -> None:
        """Stop behind a module, if it has a station."""
        self._reached(call.label, output)

    def _reached(self, label: str, output: object) -> None:
        found = self.wanted.get(label)
        tensors = (
            [] if found is None else [each for each in numeric(output) if each.shape == found.seen.shape]
        )
        if found is not None and tensors:  # else it took another course than before, which is said at the end
            self.stop(found, tensors[0])


def points_of(shape: tuple[int, ...], axes: tuple[int, ...], images: int) -> tuple[tuple[int, int], int]:
    """Positions (height, width) of an image and number of channels, of a tensor."""
    channels = math.prod(shape[axis] for axis in axes)
    sides = [side for axis, side in enumerate(shape) if axis not in axes]
    if len(sides) == 3 and sides[0] == images:
        return (sides[1], sides[2]), channels
    return (1, max(1, math.prod(sides) // images)), channels
