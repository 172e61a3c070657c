"""The engines by name, for whoever says no more than that."""

from __future__ import annotations

from dataclasses import fields
from importlib import import_module

from ..engines.measured.engine import is_module
from ..engines.protocol import Engine

#: Module and class of every engine by its method; loaded when it is asked for.
ENGINES = {
    "infinite": ("infinite_width.engine", "InfiniteWidth"),
    "finite": ("finite_width.engine", "FiniteWidth"),
    "sampled": ("sampled.engine", "Sampled"),
    "measured": ("measured.engine", "Measured"),
    "given": ("given.engine", "GivenNetwork"),
}
#: The one of modules of PyTorch, the one of nets with weights of their own; those of all nets.
MEASURED, GIVEN = "measured", "given"
METHODS = tuple(name for name in ENGINES if name not in (MEASURED, GIVEN))


def engine_class(method: str) -> type[Engine]:
    """The class of an engine by the name of its method.

    Raises
    ------
    ValueError
        If there is none of that name.
    """
    if not isinstance(method, str) or method not in ENGINES:
        raise ValueError(f"method must be one of {', '.join(ENGINES)}, not {method!r}.")
    module, name = ENGINES[method]
    return getattr(import_module(f"..engines.{module}", __package__), name)


def options_of(method: str) -> dict[str, object]:
    """The options of an engine with their defaults."""
    return {field.name: field.default for field in fields(engine_class(method))}  # type: ignore[arg-type]


def engine_from(method: str, **options: object) -> Engine:
    """The engine of a method with options by name, as a command line or a table gives them.

    Those that are None have their default; a seed is dropped where nothing is drawn.

    Raises
    ------
    ValueError
        If the engine has no such option, or refuses it.
    """
    known, given = options_of(method), {}
    for name, value in options.items():
        if value is None or (name == "seed" and name not in known):
            continue
        if name not in known:
            owners = '" or "'.join(each for each in METHODS if name in options_of(each))
            raise ValueError(f'{name} belongs to method="{owners}"; method="{method}" has none.')
        given[name] = value
    return engine_class(method)(**given)


def engine_of(given: Engine | str | None, net: object = None) -> Engine:
    """The engine that a call means: itself, by its name with defaults, or the one that suits the net.

    That is infinite width, or `Measured` for a module of PyTorch.

    Raises
    ------
    ValueError
        If it is none.
    """
    if given is None or given == "":
        given = MEASURED if is_module(net) else METHODS[0]
    if isinstance(given, str):
        return engine_class(given)()
    if isinstance(given, type) or not isinstance(given, Engine):
        raise ValueError(
            f"engine must be an engine such as fastmoments.InfiniteWidth(), or one of {', '.join(ENGINES)}, "
            f"not {given!r}."
        )
    return given
