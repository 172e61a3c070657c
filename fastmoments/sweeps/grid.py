"""The grid of a sweep: its parameters, its items in order, and the row that one item becomes."""

from __future__ import annotations

import difflib
import hashlib
import inspect
import itertools
import json
import math
import os
import reprlib
import threading
import tomllib
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path

import numpy as np

from .. import __version__
from ..engines.protocol import Engine
from ..images.arrays import LAYOUTS
from ..images.sources import Images, load_images
from ..nets.families import FAMILIES
from ..nets.network import Network
from ..nets.settings import is_path, setting, with_setting
from ..nets.zoo import NETS
from ..scans.curves import BACKWARD, MOMENTS, main_curve
from ..scans.engines import METHODS, engine_from, options_of
from ..scans.scanning import scan
from ..scans.verdict import LABELS
from ..validation import truth

#: A value of a parameter, as JSON and tables know it.
Plain = bool | int | float | str | None

#: Items beyond which a typing error is likelier than a wish.
LIMIT = 100_000

#: The parameters of a family, which other nets have not.
PRESET = tuple(inspect.signature(next(iter(FAMILIES.values()))).parameters)

#: Columns behind the parameters. Moments stand between the verdict and the last two.
VERDICT = ("verdict", "law", "rate")
TEXTS = ("verdict", "law", "error")

# Parameters that a scan finds out where they are not given.
_FOUND = ("width", "nets")

# What belongs to every scan and has a column in a table of them.
_OF_SCANS = ("every", "normalise")

# One process runs one scan at a time: the limits set on BLAS are global.
_ONE_AT_A_TIME = threading.Lock()


class WrongVersion(ImportError):
    """A worker has another fastmoments than the sweep."""


def parameters() -> dict:
    """Every parameter of a sweep with its default, in the order of columns; the first varies slowest.

    Those of the net, the images and the engine are read off the presets, `load_images` and `scan`, so that
    there is no second list of them. Eight images are the default, as on the command line.
    """
    preset = next(iter(FAMILIES.values()))
    data = {**_defaults(load_images), "count": 8}
    scans = {name: value for name, value in _defaults(scan).items() if name in _OF_SCANS}
    return {
        "family": tuple(FAMILIES), **_defaults(preset), **data,
        "method": METHODS[0], **scans, **dict.fromkeys(engine_options()),
    }  # fmt: skip


def engine_options() -> list[str]:
    """The options of all engines; None stands for their defaults."""
    found = [name for method in METHODS for name in options_of(method)]
    return [name for name in dict.fromkeys(found) if name != "seed"]


def _defaults(function: Callable[..., object]) -> dict:
    signature = inspect.signature(function).parameters.values()
    return {each.name: each.default for each in signature}


def filled(grid: Mapping[str, object], network: Network | None = None) -> dict[str, list]:
    """The grid in plain values: every parameter, in order, with the list of its values.

    Parameters
    ----------
    grid : mapping of str to a value or a sequence of values
        Names as in `parameters`, and behind them paths of parameters of layers (`nets.settings`); what is
        left out has its default, and family all four.
    network : Network, optional
        What is swept instead of families, whose parameters have no values then.

    Raises
    ------
    ValueError
        In one sentence, if a name is unknown, a list is empty or names a value twice, or a value is no
        number, text or truth value.
    """
    known = parameters()
    try:
        given = dict(grid)
    except (TypeError, ValueError):
        raise ValueError(f"grid must map parameters to lists of values, not be {grid!r}.") from None
    if network is not None:
        for name in ("family", *PRESET):
            if name in given:
                raise ValueError(f"{name} is for one of {', '.join(FAMILIES)}; the net is {network.name}.")
        known |= {"family": network.name, **dict.fromkeys(PRESET)}
    for name in given:
        if name not in known and not is_path(str(name)):
            close = difflib.get_close_matches(str(name).lower(), known, n=1)
            hint = f" (did you mean {close[0]!r}?)" if close else ""
            raise ValueError(
                f"unknown parameter {name!r}{hint}: a sweep has {', '.join(known)}, and "
                "paths such as layers.0.gain."
            )
    families = (network.name,) if network is not None else (*FAMILIES, *NETS)
    words = {"family": families, "layout": LAYOUTS, "method": METHODS}
    lists = {
        name: _values(name, given.get(name, default), default, words.get(name))
        for name, default in known.items()
    }
    if not set(lists["family"]) & set(FAMILIES):
        for name in set(PRESET) & set(given):
            if lists[name] != [None]:
                said = lists["family"][0]
                raise ValueError(f"{name} is for one of {', '.join(FAMILIES)}; {said} is as published.")
            lists[name] = [None]
    for name in given:
        if name not in known:
            present = None if network is None else setting(network, name)
            lists[name] = _values(name, given[name], present)
    for name in engine_options():
        owners = [method for method in METHODS if name in options_of(method)]
        if name in given and lists[name] != [None] and not set(owners) & set(lists["method"]):
            owner = '" or "'.join(owners)
            raise ValueError(f'{name} belongs to method="{owner}", which is not among the methods.')
    return lists


def _values(name: str, value: object, default: object, known: Collection[str] | None = None) -> list[Plain]:
    """The values of one parameter; whole numbers among decimal ones become decimal."""
    single = isinstance(value, (str, bytes, os.PathLike))
    given = value if isinstance(value, Iterable) and not single else [value]
    try:
        values = [_plain(name, each) for each in given]
    except TypeError:  # an array without axes
        values = [_plain(name, value)]
    if not values:
        raise ValueError(f"{name} has no values; give at least one.")
    if isinstance(default, float) or any(isinstance(each, float) for each in values):
        values = [float(each) if type(each) is int else each for each in values]
    for each in values:
        if known and each not in known:
            also = ", or the name of a published net" if name == "family" else ""
            said = ", ".join(word for word in known if word not in NETS)
            raise ValueError(f"{name} must be one of {said}, not {each!r}{also}.")
        if isinstance(default, bool) and each is not None:
            truth(name, each)
        if name == "source" and not isinstance(each, str):
            raise ValueError(f"source must be a name or a path, not {each!r}.")
    texts = [json.dumps(each) for each in values]
    for text in texts:
        if texts.count(text) > 1:
            raise ValueError(f"{name} lists the value {json.loads(text)!r} twice.")
    return values


def _plain(name: str, value: object) -> Plain:
    """A value as JSON and tables know it."""
    if isinstance(value, os.PathLike):
        return os.fsdecode(value)
    if isinstance(value, np.generic) or (isinstance(value, np.ndarray) and value.ndim == 0):
        value = value.item()
    if value is not None and not isinstance(value, (bool, int, float, str)):
        hint = "; save an array as .npy" if name == "source" else ""
        said = " ".join(reprlib.repr(value).split())
        raise ValueError(f"{name} must be numbers, texts or truth values, not {said}{hint}.")
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{name} must be finite, not {value!r}.")
    return value


def expand(lists: dict[str, list]) -> list[dict]:
    """All items: the product of the lists, the last parameter varying fastest.

    Where a method or a net does not know a parameter, the item has none, and stands once.

    Raises
    ------
    ValueError
        If there are more than `LIMIT`.
    """
    number = math.prod(map(len, lists.values()))
    if number > LIMIT:
        raise ValueError(f"the grid has {number} scans, more than {LIMIT}, the limit of a sweep.")
    own = {method: options_of(method) for method in METHODS}
    items: dict[str, dict] = {}
    for values in itertools.product(*lists.values()):
        item = dict(zip(lists, values, strict=True))
        item |= {name: None for name in engine_options() if name not in own[item["method"]]}
        if item["family"] not in FAMILIES:
            item |= dict.fromkeys(PRESET)
        items.setdefault(key(item), item)
    return list(items.values())


def key(item: dict) -> str:
    """Sixteen hexadecimal digits that name an item, the same in every process."""
    return hashlib.sha256(json.dumps(item).encode()).hexdigest()[:16]


def check(items: list[dict], network: Network | None = None) -> dict[str, str]:
    """Refuse, before anything is computed, what can be known to fail: build nets, load images, try engines.

    Returns
    -------
    dict of str to str
        A digest of every batch of images, by its source, count, seed and how it is read.

    Raises
    ------
    ValueError
        In one sentence, of the net, the images or the engine at fault.
    """
    seen: set[str] = set()
    digests: dict[str, str] = {}
    tiny = FAMILIES["vanilla"](0, 1, input_conv=False), np.arange(2.0).reshape(2, 1, 1, 1)
    for item in items:
        net = ("family", *PRESET, *filter(is_path, item))
        engine = ("method", *engine_options())
        if _new(seen, item, net):
            _network(item, network)
        data = tuple(_defaults(load_images))
        if _new(seen, item, data):
            images = _images(item)
            name = json.dumps([item[name] for name in data])
            digests[name] = hashlib.sha256(images.array.tobytes()).hexdigest()[:16]
        if _new(seen, item, ("seed", *engine)):
            _engine(item)
        if _new(seen, item, ("every",)):
            scan(*tiny, threads=1, every=item["every"])
    return digests


def _new(seen: set[str], item: dict, names: Iterable[str]) -> bool:
    """Whether this combination of values comes for the first time; then take note of it."""
    values = json.dumps({name: item[name] for name in names})
    before = len(seen)
    seen.add(values)
    return len(seen) > before


def _engine(item: dict) -> Engine:
    return engine_from(item["method"], seed=item["seed"], **{name: item[name] for name in engine_options()})


def _network(item: dict, network: Network | None = None) -> Network:
    """The net of an item: the one given, or that of the family, with what the item's paths set."""
    if network is None:
        family = item["family"]
        of_preset = {name: item[name] for name in PRESET} if family in FAMILIES else {}
        network = (FAMILIES | NETS)[family](**of_preset)
    for path in filter(is_path, item):
        network = with_setting(network, path, item[path])
    return network


def _images(item: dict) -> Images:
    return load_images(**{name: item[name] for name in _defaults(load_images)})


def columns(lists: dict[str, list]) -> list[str]:
    """Names of the columns of a table, the same for all its rows."""
    moments = [*MOMENTS]
    if {"sampled", "finite"} & set(lists["method"]):
        moments = [name for moment in MOMENTS for name in (moment, f"{moment}_sigma")]
    return [*lists, *VERDICT, *moments, "layer_error", "error"]


def is_row(row: object, item: dict) -> bool:
    """Whether something that was read can be the row of an item."""
    if not isinstance(row, dict) or not set(item) <= set(row):
        return False
    names = columns({name: [value] for name, value in item.items()})

    def fits(name: str, value: object) -> bool:
        if name in item:
            found = item[name] is None and name in _FOUND and type(value) is int
            return found or (type(value) is type(item[name]) and value == item[name])
        if name == "verdict":
            return value in (None, *LABELS)
        if value is None or name in TEXTS:
            return value is None or isinstance(value, str)
        return name in names and type(value) in (int, float) and math.isfinite(value)  # type: ignore[arg-type]

    return all(fits(name, value) for name, value in row.items())


def compute(item: dict, version: str, network: Network | None = None) -> dict:
    """Scan one item on one thread; what a worker does.

    Whatever goes wrong with the scan stands in the row as one sentence, under "error".

    Returns
    -------
    dict
        The item, and its results at the last depth, of curves that count from there at the first; None where
        a value is not known or not finite.

    Raises
    ------
    WrongVersion
        If this fastmoments is not that of the sweep.
    """
    if version != __version__:
        raise WrongVersion(
            f"A worker has fastmoments {__version__}, but the sweep {version}: pip install the same on both."
        )
    row = dict(item)
    with _ONE_AT_A_TIME:
        try:
            row |= _results(item, network)
        except MemoryError:
            row["error"] = "There is not enough memory; use fewer or smaller images."
        except Exception as problem:  # a sweep of many hours does not end with one bad item
            said = " ".join(str(problem).split())
            expected = isinstance(problem, (ValueError, ArithmeticError)) and said
            row["error"] = said if expected else f"{type(problem).__name__}: {said}"
    return row


def _results(item: dict, network: Network | None) -> dict:
    images = _images(item)
    options = {name: item[name] for name in _OF_SCANS}
    found = scan(_network(item, network), images, _engine(item), threads=1, **options)
    verdict = found.verdict
    row: dict[str, Plain] = {"width": found.width, "nets": found.nets}
    row |= {"verdict": verdict.label, "law": verdict.law, "rate": _number(verdict.rate)}
    for name, at in found.moments.items():
        curve, end = main_curve(name, at), 0 if name in BACKWARD else -1
        row[name] = _number(curve.mean[end])
        if curve.sigma is not None:
            row[f"{name}_sigma"] = _number(curve.sigma[end])
    return row | {"layer_error": _number(found.provenance.get("layer_error"))}


def _number(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else float(value)


def warm(items: list[dict], network: Network | None = None) -> None:
    """Compile and cache the kernels that these items need, with the smallest scans that use them."""
    seen: set[str] = set()
    for item in items:
        if _new(seen, item, ("family", "padding", "method")):
            small = {"count": min(item["count"] or 2, 2), "nets": item["nets"] and 1}
            if item["family"] in FAMILIES and not any(map(is_path, item)):
                small["depth"] = 1
            compute(item | small, __version__, network)


def load_grid(path: str | os.PathLike[str]) -> dict:
    """Read a grid from a TOML file: a value, or an array of values, for each parameter.

    Raises
    ------
    ValueError
        If the file is not there, or not TOML; names and values are checked by `filled`.
    """
    try:
        return tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as problem:
        raise ValueError(f"Cannot read {path}: {problem.strerror}.") from None
    except UnicodeDecodeError:
        raise ValueError(f"Cannot read {path}: a grid is TOML in UTF-8, which this file is not.") from None
    except (tomllib.TOMLDecodeError, RecursionError) as problem:
        raise ValueError(f"{path} is not TOML: {problem}.") from None
