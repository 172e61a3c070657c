"""Tables of plain values as TOML: the text of a specification, and repeated stacks folded in it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from numbers import Integral, Real

#: The longest stack whose repetitions are looked for.
LONGEST = 16
#: What stands for None, which TOML does not have.
NONE = "none"

_INDENT = "    "


def folded(tables: list[dict]) -> list[dict]:
    """Repetitions in a stack as ``{"repeat": n, "layers": [...]}``, so that deep nets stay short.

    From the first table on, the stack whose repetitions save most is folded, the shortest of equals.
    """
    found: list[dict] = []
    start = 0
    while start < len(tables):
        saved, period = 0, 1
        for length in range(1, LONGEST + 1):
            end = start + length
            while end < len(tables) and tables[end] == tables[end - length]:
                end += 1
            again = ((end - start) // length - 1) * length
            if again > saved:
                saved, period = again, length
        stack = tables[start : start + period]
        found += [{"repeat": 1 + saved // period, "layers": stack}] if saved else stack
        start += saved + period
    return found


def toml_text(table: Mapping[str, object]) -> str:
    """A document of TOML: a line for each key, and in arrays of tables or arrays one for each.

    Numbers are read back to the last bit; None becomes the text `NONE`.
    """
    return "".join(f"{_key(key)} = {_value(value)}\n" for key, value in table.items())


def _value(value: object, depth: int = 0) -> str:
    """A value on a line that is indented so often."""
    if value is None or isinstance(value, str):
        return _quoted(NONE if value is None else value)
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Integral):
        return str(int(value))
    if isinstance(value, Real):
        return repr(float(value))
    if isinstance(value, Mapping):
        entries = (f"{_key(key)} = {_value(each, depth)}" for key, each in value.items())
        return f"{{ {', '.join(entries)} }}"
    assert isinstance(value, list)  # nothing else is a plain value
    if not any(isinstance(each, (Mapping, list)) for each in value):
        return f"[{', '.join(_value(each) for each in value)}]"
    inside = _INDENT * (depth + 1)
    lines = (f"{inside}{_value(each, depth + 1)},\n" for each in value)
    return f"[\n{''.join(lines)}{_INDENT * depth}]"


def _key(key: str) -> str:
    return key if key.isascii() and key.replace("_", "").replace("-", "").isalnum() else _quoted(key)


def _quoted(text: str) -> str:
    """A text in quotation marks; JSON's escapes are those of TOML, which also wants one for DEL."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
