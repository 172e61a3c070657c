"""How the parameters of a module of PyTorch are drawn anew."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

from ...validation import Notice

#: The method by which modules draw their parameters, and the re-initialisation of that name.
RESET = "reset_parameters"
#: By that name, by a function of the whole module, or not at all.
Reinit = str | Callable[[Any], object] | None


def redraw(module: Any, how: Reinit) -> None:
    """Draw all parameters anew, by the module's own ways or by a function."""
    if how is None:
        return
    if not isinstance(how, str):
        how(module)
        return
    for each in module.modules():
        reset = _reset_of(each)
        if reset is not None:
            reset()


def _reset_of(module: Any) -> Callable[[], object] | None:
    """The method by which a module draws its parameters; attention's has another name."""
    found = getattr(module, RESET, None) or getattr(module, f"_{RESET}", None)
    return found if callable(found) else None


def say_what_stays(module: Any) -> None:
    """Say which parameters no method of their module draws."""
    stay = [
        f"{path}.{name}" if path else name
        for path, each in module.named_modules()
        for name, _ in each.named_parameters(recurse=False)
        if _reset_of(each) is None
    ]
    if stay:
        more = f" and {len(stay) - 3} more" if len(stay) > 3 else ""
        warnings.warn(
            f'reinit="{RESET}" leaves {", ".join(stay[:3])}{more} as they are, whose modules have no such '
            "method; give a function that draws all parameters.",
            Notice,
            stacklevel=2,
        )
