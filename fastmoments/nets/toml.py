"""Nets from TOML: any stack of layers, written down.

The tables are those that `Network.architecture` quotes and `Network.to_toml` writes. The text "none" stands
for None, where a parameter may be that::

    name = "wide-stem"

    [[stem]]
    type = "Conv"
    gain = 1.0
    stride = 2

    [[layers]]
    repeat = 50
    layers = [
        { type = "Residual", branch = [{ type = "BatchNorm" }, { type = "ReLU" }, { type = "Conv" }] },
    ]
"""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Iterable
from dataclasses import MISSING, fields
from pathlib import Path

from ..validation import MOST
from . import concat  # noqa: F401  # known by name
from .layers import Layer, told
from .network import Network
from .toml_text import NONE

#: Layers by the name that `type` gives.
TYPES = Layer.TYPES

_KEYS = ("name", "depth", "stem", "layers")


def load_network(path: str | os.PathLike[str]) -> Network:
    """Read a net from a TOML file.

    Parameters
    ----------
    path : str or path-like
        At the top `name` and the arrays of tables `stem` and `layers`. An entry has a `type` (Conv,
        ReLU, BatchNorm, Residual) and the parameters of that class, or `repeat = n` and `layers`.

    Returns
    -------
    Network

    Raises
    ------
    ValueError
        In one sentence: if the file is not there or not TOML, or what is wrong with which entry.
    """
    path = Path(path)
    try:
        return network_from_toml(path.read_bytes(), path.stem, str(path))
    except OSError as problem:
        raise ValueError(f"Cannot read {path}: {problem.strerror}.") from None


def network_from_toml(content: bytes, name: str, where: str) -> Network:
    """A net from the bytes of a specification.

    Parameters
    ----------
    content : bytes
    name : str
        Of the net, if the specification has none.
    where : str
        What sentences call the specification.

    Raises
    ------
    ValueError
        As `load_network`.
    """
    try:
        table = tomllib.loads(content.decode())
    except UnicodeDecodeError:
        raise ValueError(
            f"Cannot read {where}: a specification is TOML in UTF-8, which this is not."
        ) from None
    except (tomllib.TOMLDecodeError, RecursionError) as problem:
        raise ValueError(f"{where} is not TOML: {problem}.") from None
    try:
        return network_from_dict({"name": name, **table})
    except ValueError as problem:
        raise ValueError(f"{where}: {problem}") from None


def network_from_dict(table: dict) -> Network:
    """A net from plain values, the inverse of `Network.architecture` for nets that are no presets.

    Raises
    ------
    ValueError
        In one sentence, naming the entry at fault, counted from 1.
    """
    if not isinstance(table, dict):
        raise ValueError(f"A specification must be a table of values, not {table!r}.")
    _check_keys(table, _KEYS, "the specification")
    name = table.get("name", "custom")
    if not isinstance(name, str) or not name:
        raise ValueError(f"name must be a text such as 'my-net', not {name!r}.")
    if "layers" not in table:
        raise ValueError("the specification has no [[layers]]; give at least one, such as type = 'Conv'.")
    layers, stem = (tuple(_stack(table.get(part, []), part)) for part in ("layers", "stem"))
    network = Network(layers, stem, name)
    if table.get("depth", network.depth) != network.depth:
        raise ValueError(f"depth is {table['depth']!r}, but the layers make {network.depth}; leave it out.")
    return network


def _stack(tables: object, where: str) -> list[Layer]:
    """The layers of an array of tables, repetitions unrolled; `where` names the array."""
    if not isinstance(tables, list):
        raise ValueError(f"{where} must be an array of tables, not {tables!r}.")
    layers: list[Layer] = []
    for place, table in enumerate(tables, 1):
        layers += _entry(table, f"{where}[{place}]")
        if len(layers) > MOST:
            raise ValueError(f"{where} has more than {MOST} layers, the limit.")
    return layers


def _entry(table: object, where: str) -> list[Layer]:
    """The layers of one table: a layer, or a repeated stack."""
    if not isinstance(table, dict):
        raise ValueError(f"{where} must be a table such as {{type = 'ReLU'}}, not {table!r}.")
    if "repeat" in table:
        _check_keys(table, ("repeat", "layers"), where)
        repeat = table["repeat"]
        if isinstance(repeat, bool) or not isinstance(repeat, int) or not 1 <= repeat <= MOST:
            raise ValueError(f"{where}: repeat must be a whole number from 1 to {MOST}, not {repeat!r}.")
        if "layers" not in table:
            raise ValueError(f"{where}: repeat needs layers, an array of what is repeated.")
        layers = _stack(table["layers"], f"{where}.layers")
        if repeat * len(layers) > MOST:
            raise ValueError(f"{where} makes more than {MOST} layers, the limit.")
        return layers * repeat
    if "type" not in table:
        raise ValueError(f"{where} needs a type ({', '.join(sorted(TYPES))}), or repeat and layers.")
    kind = table["type"]
    if not isinstance(kind, str) or kind not in TYPES:
        raise ValueError(
            f"{where}: type must be one of {', '.join(sorted(TYPES))}, not {kind!r}{_hint(kind, TYPES)}."
        )
    known = told(TYPES[kind])
    flat = TYPES[kind].flat
    parts = {name: [field.name for field in fields(part)] for name, part in flat.items()}
    names = [name for field in known for name in parts.get(field.name, [field.name])]
    _check_keys(table, ("type", *names), f"{where} ({kind})")
    given = {key: value for key, value in table.items() if key != "type"}
    for field in known:
        if field.default is MISSING and field.name not in given:
            raise ValueError(f"{where} ({kind}) needs a {field.name}, an array of layers.")
    for field in known:  # TOML has no None
        if given.get(field.name) == NONE and "None" in str(field.type):
            given[field.name] = None
    for key in given.keys() & set(TYPES[kind].stacks):
        given[key] = tuple(_stack(given[key], f"{where}.{key}"))
    for key in given.keys() & set(TYPES[kind].nested):
        if not isinstance(given[key], list):
            raise ValueError(f"{where}.{key} must be an array of arrays of tables, not {given[key]!r}.")
        given[key] = tuple(
            tuple(_stack(stack, f"{where}.{key}[{place}]")) for place, stack in enumerate(given[key], 1)
        )
    try:
        for name, part in flat.items():
            given[name] = part(**{key: given.pop(key) for key in parts[name] if key in given})
        return [TYPES[kind](**given)]
    except ValueError as problem:
        raise ValueError(f"{where}: {problem}") from None


def _check_keys(table: dict, known: tuple[str, ...], where: str) -> None:
    for key in table:
        if key not in known:
            allowed = ", ".join(known)
            raise ValueError(f"{where} has an unknown key {key!r}{_hint(key, known)}; it may have {allowed}.")


def _hint(word: object, known: Iterable[str]) -> str:
    """The nearest known word, as an afterthought."""
    lower = {name.lower(): name for name in known}
    close = difflib.get_close_matches(str(word).lower(), lower, n=1)
    return f" (did you mean {lower[close[0]]!r}?)" if close else ""
