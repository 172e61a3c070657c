"""Tables in plain text: cells in columns, numbers in four digits."""

from __future__ import annotations

import math
from collections.abc import Iterable


def text_table(head: list[list[str]], rows: list[list[str]]) -> str:
    """Align cells in columns: the first to the left, numbers to the right.

    Parameters
    ----------
    head : list of rows of cells
        One or more lines above the rule.
    rows : list of rows of cells
    """
    columns = list(zip(*head, *rows, strict=True))
    widths = [max(map(len, column)) for column in columns]
    words = [any(cell[:1].isalpha() for cell in column[len(head) :]) for column in columns]

    def line(cells: Iterable[str]) -> str:
        pairs = zip(cells, widths, words, strict=True)
        return "  ".join(c.ljust(w) if word else c.rjust(w) for c, w, word in pairs).rstrip()

    rule = "  ".join("-" * width for width in widths)
    return "\n".join([*map(line, head), rule, *map(line, rows)]) + "\n"


def number(value: float | None, log: float | None = None) -> str:
    """A value in four digits, "-" where there is none; beyond float64 from its natural logarithm."""
    if log is not None and value is not None and math.isinf(value) and math.isfinite(log):
        exponent = math.floor(log / math.log(10.0))
        return f"{math.exp(log - exponent * math.log(10.0)):.3f}e+{exponent}"
    return "-" if value is None or not math.isfinite(value) else f"{value:.4g}"
