"""Arguments checked in one way everywhere: a value that is out of range is refused in one sentence."""

from __future__ import annotations

import math
import operator
from collections.abc import Collection

#: Numbers of things that take time or memory, beyond which a typing error is likelier than a wish.
MOST = 1_000_000


class Notice(UserWarning):
    """A word on something that was given and could not be taken as it is; the command line prints it."""


def whole(name: str, value: object, least: int = 1, most: int | None = None, why: str = "") -> int:
    """A whole number from `least` to `most`, as an int; True and False are none.

    Parameters
    ----------
    name : str
        What the sentence calls it.
    value : object
    least : int
    most : int, optional
    why : str
        What the bound is for, such as " for standard errors".

    Raises
    ------
    ValueError
        If it is none.
    """
    try:
        number = None if isinstance(value, bool) else operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        number = None
    if number is None or number < least or (most is not None and number > most):
        if most is not None:
            wanted = f"a whole number from {least} to {most}"
        else:
            wanted = "a positive whole number" if least == 1 else f"a whole number of at least {least}"
        raise ValueError(f"{name} must be {wanted}{why}, not {value!r}.")
    return number


def finite(name: str, value: object, *, positive: bool | None) -> float:
    """A finite number above 0 (True), of at least 0 (False), or of any sign (None).

    Raises
    ------
    ValueError
        If it is none.
    """
    try:
        number = math.nan if isinstance(value, (bool, str)) else float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    wrong = positive is not None and (number < 0 or (positive and number == 0))
    if not math.isfinite(number) or wrong:
        kind = {True: "positive ", False: "non-negative ", None: ""}[positive]
        raise ValueError(f"{name} must be a finite {kind}number, not {value!r}.")
    return number


def one_of(name: str, value: object, known: Collection[str]) -> str:
    """One of the known words.

    Raises
    ------
    ValueError
        If it is none.
    """
    if not isinstance(value, str) or value not in known:
        raise ValueError(f"{name} must be one of {', '.join(known)}, not {value!r}.")
    return value


def truth(name: str, value: object) -> bool:
    """True or False.

    Raises
    ------
    ValueError
        If it is neither.
    """
    if not isinstance(value, bool):
        raise ValueError(f"{name} must be true or false, not {value!r}.")
    return value
