"""Parameters of the layers of a net by their paths, such as ``layers.3.branch.1.epsilon``.

A path is that of a station: a stack, the number of a layer in it, and so on, all repetitions counted; behind
it stands the name of the parameter, as TOML has it. ``*`` stands for every number: ``layers.*.branch.*.gain``
means all layers there that have a gain.
"""

from __future__ import annotations

import difflib
from dataclasses import replace

from .layers import Layer, told
from .network import Network, walk

#: What stands for every number.
EVERY = "*"


def is_path(name: str) -> bool:
    """Whether a name is one of a parameter of a layer."""
    return "." in name


def settings(layer: Layer) -> dict[str, object]:
    """What can be set of a layer, with its values; parts that stand flat in a table as they do there."""
    found: dict[str, object] = {}
    for field in told(layer):
        value = getattr(layer, field.name)
        if field.name in layer.flat:
            found |= {part.name: getattr(value, part.name) for part in told(value)}
        elif not isinstance(value, tuple) or field.name == "kinks":
            found[field.name] = value
    return found


def setting(network: Network, path: str) -> object:
    """The value at a path, of several the first.

    Raises
    ------
    ValueError
        In one sentence that says what there is, if there is no such path.
    """
    places, name = _found(network, path)
    return settings(next(iter(places.values())))[name]


def with_setting(network: Network, path: str, value: object) -> Network:
    """The net with a value at a path, under the same name.

    Raises
    ------
    ValueError
        In one sentence, if there is no such path, or the value is out of range there.
    """
    places, name = _found(network, path)
    ways = {place[:end] for place in places for end, letter in enumerate(place) if letter == "."}

    def change(path: str, layer: Layer) -> Layer:
        if path in ways:
            layer = layer.rebuilt(lambda stack, index, inside: change(f"{path}.{stack}.{index}", inside))
        return _with(layer, name, value, path) if path in places else layer

    changed = network.rebuilt(lambda stack, index, layer: change(f"{stack}.{index}", layer))
    return replace(changed, parameters=())


def _with(layer: Layer, name: str, value: object, where: str) -> Layer:
    """A layer with another value of one parameter."""
    part = next(
        (part for part, kind in layer.flat.items() if name in {each.name for each in told(kind)}), None
    )
    try:
        if part is not None:
            name, value = part, replace(getattr(layer, part), **{name: value})
        return replace(layer, **{name: value})  # type: ignore[type-var]  # every layer is a dataclass
    except ValueError as problem:
        raise ValueError(f"{where}: {problem}") from None


def _found(network: Network, path: str) -> tuple[dict[str, Layer], str]:
    """The layers that a path means, by their own paths, and the name of the parameter."""
    head, _, name = path.rpartition(".")
    wanted = head.split(".")
    both = list(network.inside(""))
    layers = dict(walk([layer for _, layer in both], *(where for where, _ in both)))
    there = {where: layer for where, layer in layers.items() if _fits(where.split("."), wanted)}
    if not head or not there:
        raise ValueError(f"{network.name} has no parameter {path}: {_next(list(layers), wanted)}.")
    found = {where: layer for where, layer in there.items() if name in settings(layer)}
    if not found:
        known = list(dict.fromkeys(name for layer in there.values() for name in settings(layer)))
        close = difflib.get_close_matches(name, known, n=1)
        hint = f" (did you mean {close[0]!r}?)" if close else ""
        kinds = " or ".join(dict.fromkeys(type(layer).__name__ for layer in there.values()))
        has = ", ".join(known) or "no parameters"
        raise ValueError(f"{network.name} has no parameter {path}{hint}: {head} is {kinds}, with {has}.")
    return found, name


def _fits(path: list[str], wanted: list[str]) -> bool:
    return len(path) == len(wanted) and _begins(path, wanted)


def _begins(path: list[str], wanted: list[str]) -> bool:
    """Whether a path begins as one with stars does."""
    pairs = zip(path, wanted, strict=False)
    return len(path) >= len(wanted) and all(one == other or other == EVERY for one, other in pairs)


def _next(paths: list[str], wanted: list[str]) -> str:
    """What there is behind the part of a path that is right."""
    parts = [path.split(".") for path in paths]
    right = next(end for end in range(len(wanted), -1, -1) if any(_begins(p, wanted[:end]) for p in parts))
    right -= right % 2  # a stack and a number
    inside = [path for path in parts if len(path) > right and _begins(path, wanted[:right])]
    last: dict[str, int] = {}
    for path in inside:
        stack, number = path[right : right + 2]
        last[stack] = max(last.get(stack, 0), int(number))
    head = ".".join(wanted[:right])
    if not last:
        return f"{head} holds no layers"
    said = " and ".join(f"{stack}.0" + (f" to {stack}.{end}" if end else "") for stack, end in last.items())
    return f"{head or 'it'} has {said}"
