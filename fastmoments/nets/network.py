"""How layers nest: residual units, the stack they make, its division into units of depth."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from functools import cached_property

from .layers import BatchNorm, Conv, ReLU, _finite

#: Station names in the order in which a unit of each family meets them.
LOCS = ("input", "conv", "norm", "act", "merge")


def _stack(owner: str, layers, *, inside: tuple[type, ...]) -> tuple:
    try:
        layers = tuple(layers)
    except TypeError:
        raise ValueError(f"{owner} must be a sequence of layers, not {layers!r}.") from None
    for layer in layers:
        if not isinstance(layer, inside):
            allowed = ", ".join(kind.__name__ for kind in inside)
            raise ValueError(f"{owner} may hold {allowed}; it got {layer!r}.")
    return layers


@dataclass(frozen=True)
class Residual:
    """A residual unit: ``shortcut(x) + scale * branch(x)``.

    Parameters
    ----------
    branch : sequence of Conv, ReLU, BatchNorm
        At least one Conv, so that the branch carries fresh weights.
    shortcut : sequence of Conv, ReLU, BatchNorm
        Empty for the identity.
    scale : float
        Factor on the branch; 0 shuts it off (SkipInit).

    Raises
    ------
    ValueError
        If the branch holds no Conv, or anything else than layers, or the scale is negative or not finite.
    """

    branch: tuple
    shortcut: tuple = ()
    scale: float = 1.0

    def __post_init__(self):
        _finite("Residual", "scale", self.scale, positive=False)
        simple = (Conv, ReLU, BatchNorm)
        object.__setattr__(self, "branch", _stack("Residual: branch", self.branch, inside=simple))
        object.__setattr__(self, "shortcut", _stack("Residual: shortcut", self.shortcut, inside=simple))
        if not any(isinstance(layer, Conv) for layer in self.branch):
            raise ValueError("Residual: the branch needs a Conv, or it would have no weights of its own.")


@dataclass(frozen=True)
class Network:
    """A stack of layers, cut into units of depth.

    Depth counts units: a `Residual` is one unit, and in a flat stack every `Conv` begins a new one.
    Layers before the first Conv belong to the first unit. The stem stands before depth 1.

    Parameters
    ----------
    layers : sequence of Conv, ReLU, BatchNorm, Residual
    stem : sequence of Conv, ReLU, BatchNorm
        Layers that bring the images in and are not counted, such as the presets' strided convolution.
    name : str
    parameters : sequence of (str, value)
        What the net was made from; quoted in results.
    """

    layers: tuple = ()
    stem: tuple = ()
    name: str = "custom"
    parameters: tuple = ()

    def __post_init__(self):
        simple = (Conv, ReLU, BatchNorm)
        layers = _stack("Network: layers", self.layers, inside=(*simple, Residual))
        object.__setattr__(self, "layers", layers)
        object.__setattr__(self, "stem", _stack("Network: stem", self.stem, inside=simple))
        object.__setattr__(self, "parameters", tuple(self.parameters))

    @cached_property
    def units(self) -> tuple[tuple, ...]:
        """The layers grouped by depth: unit l is ``units[l - 1]``."""
        units: list[list] = []
        for layer in self.layers:
            starts = isinstance(layer, (Conv, Residual))
            open_unit = units and not isinstance(units[-1][-1], Residual)
            headless = len(units) == 1 and open_unit and not any(isinstance(x, Conv) for x in units[0])
            if not open_unit or isinstance(layer, Residual) or (starts and not headless):
                units.append([layer])
            else:
                units[-1].append(layer)
        return tuple(tuple(unit) for unit in units)

    @property
    def depth(self) -> int:
        """Number of units after the stem."""
        return len(self.units)

    @cached_property
    def fully_connected(self) -> bool:
        """Whether no layer mixes positions, so that images are flattened to one position."""
        return all(conv.pointwise for conv in self.convolutions())

    @cached_property
    def distinct(self) -> tuple:
        """Every different Conv, ReLU and BatchNorm of the net, those inside residual units included."""
        flat: dict = {}
        for layer in dict.fromkeys((*self.stem, *self.layers)):
            parts = (*layer.branch, *layer.shortcut) if isinstance(layer, Residual) else (layer,)
            flat.update(dict.fromkeys(parts))
        return tuple(flat)

    @property
    def normalised(self) -> bool:
        """Whether every unit holds a batch norm, in its branch if it is residual."""
        stacks = (unit[0].branch if isinstance(unit[0], Residual) else unit for unit in set(self.units))
        return all(any(isinstance(layer, BatchNorm) for layer in stack) for stack in stacks)

    def has(self, kind: type) -> bool:
        """Whether any layer is of that kind."""
        return any(isinstance(layer, kind) for layer in self.distinct)

    def convolutions(self) -> tuple[Conv, ...]:
        """Every different Conv of the net."""
        return tuple(layer for layer in self.distinct if isinstance(layer, Conv))

    @property
    def kernel_size(self) -> int:
        """Largest kernel size of the net; 1 when it has no Conv."""
        return max((conv.kernel_size for conv in self.convolutions()), default=1)

    def architecture(self) -> dict:
        """The net in plain values, as results quote it (JSON: ``architecture``)."""
        if self.parameters:
            return {"name": self.name, **dict(self.parameters)}
        described = {"name": self.name, "depth": self.depth}
        if self.stem:
            described["stem"] = [describe(layer) for layer in self.stem]
        return {**described, "layers": _run_lengths([describe(layer) for layer in self.layers])}


def describe(layer) -> dict:
    """A layer as a table of plain values, the form a TOML specification has."""
    if isinstance(layer, Residual):
        table = {"type": "Residual", "branch": [describe(part) for part in layer.branch]}
        if layer.shortcut:
            table["shortcut"] = [describe(part) for part in layer.shortcut]
        if layer.scale != 1.0:
            table["scale"] = layer.scale
        return table
    defaults = {field.name: field.default for field in fields(layer)}
    changed = {name: value for name, value in asdict(layer).items() if value != defaults[name]}
    if "tap_variances" in changed:
        changed["tap_variances"] = [list(row) for row in changed["tap_variances"]]
    return {"type": type(layer).__name__, **changed}


def _run_lengths(tables: list[dict]) -> list[dict]:
    """Fold a periodic stack into ``{"repeat": n, "layers": [...]}``, so that deep nets stay short."""
    count = len(tables)
    for period in range(1, min(count // 2, 16) + 1):
        if count % period == 0 and all(tables[i] == tables[i % period] for i in range(count)):
            return [{"repeat": count // period, "layers": tables[:period]}]
    return tables


def unit_locs(unit: tuple) -> tuple[str, ...]:
    """Station names of a unit in the order a signal meets them; each is taken at its first occurrence."""
    layers = unit[0].branch if isinstance(unit[0], Residual) else unit
    name = {Conv: "conv", BatchNorm: "norm", ReLU: "act"}
    met = ["input", *(name[type(layer)] for layer in layers)]
    if isinstance(unit[0], Residual):
        met.append("merge")
    return tuple(dict.fromkeys(met))
