"""How layers nest: residual units, networks inside networks; paths, units of depth and their stations."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import groupby
from typing import NamedTuple

from ..validation import finite
from . import activations, dense, fixed, layer_norm, linear, max_pool, norms  # noqa: F401  # known by name
from .layers import Layer, describe, joined
from .linear import Conv
from .norms import BatchNorm
from .toml_text import folded, toml_text
from .weights import Weights
from .widths import widened

#: Names of stations on curves over depth, in the order in which a unit meets them. "branch" is the end of
#: a residual branch where no other name stands for it, "out" the end of what follows a merge.
LOCS = ("input", "conv", "norm", "act", "branch", "merge", "out")


#: Stands for the channels of a layer that does not say how many it has; more than any net says.
_UNSAID = 2**62


def checked_stack(owner: str, layers: Iterable[object]) -> tuple[Layer, ...]:
    """The layers of a stack, or a ValueError that names its owner."""
    try:
        given = tuple(layers)
    except TypeError:
        raise ValueError(f"{owner} must be a sequence of layers, not {layers!r}.") from None
    found = tuple(layer for layer in given if isinstance(layer, Layer))
    for layer in given:
        if not isinstance(layer, Layer):
            raise ValueError(f"{owner} may hold {', '.join(sorted(Layer.TYPES))}; it got {layer!r}.")
    return found


@dataclass(frozen=True)
class Residual(Layer):
    """A residual unit: ``shortcut(x) + scale * branch(x)``.

    Parameters
    ----------
    branch : sequence of layers
        At least one Conv, so that the branch carries fresh weights.
    shortcut : sequence of layers
        Empty for the identity.
    scale : float
        Factor on the branch; 0 shuts it off (SkipInit).

    Raises
    ------
    ValueError
        If the branch holds no Conv, or anything else than layers, or the scale is negative or not finite.
    """

    branch: tuple[Layer, ...]
    shortcut: tuple[Layer, ...] = ()
    scale: float = 1.0

    loc = "merge"
    merges = True
    main = "branch"
    stacks = ("branch", "shortcut")

    def __post_init__(self) -> None:
        finite("Residual: scale", self.scale, positive=False)
        object.__setattr__(self, "branch", checked_stack("Residual: branch", self.branch))
        object.__setattr__(self, "shortcut", checked_stack("Residual: shortcut", self.shortcut))
        if not any(layer.weighted for _, layer in walk(self.branch)):
            raise ValueError("Residual: the branch needs a Conv, or it would have no weights of its own.")

    def output_grid(self, grid: tuple[int, int]) -> tuple[int, int]:
        """Positions (height, width) behind it, of `grid` before it."""
        return output_grid(self.branch, grid)

    def output_channels(self, channels: int, grid: tuple[int, int], width: int) -> int:
        """Channels behind its branch."""
        return output_channels(self.branch, channels, grid, width)


class Place(NamedTuple):
    """Where a station can be taken: behind a layer.

    Attributes
    ----------
    path : str
        Such as ``layers.3.branch.1``; "" for the images.
    layer : Layer or None
    loc : str or None
        Its name on curves over depth (`LOCS`); None where an earlier layer of the unit has that name.
    """

    path: str
    layer: Layer | None
    loc: str | None


def _holds(stack: Sequence[Layer], *kinds: type) -> bool:
    """Whether a layer of a stack is of these kinds, or holds one."""
    return any(isinstance(layer, kinds) for _, layer in walk(stack))


def _normalises(unit: tuple[Layer, ...]) -> bool:
    """Whether a unit holds a batch norm, in its branch if it is residual."""
    return _holds(unit[0].branch if isinstance(unit[0], Residual) else unit, BatchNorm)


@dataclass(frozen=True)
class Network(Layer):
    """A stack of layers, cut into units of depth; it may stand inside another one, as a stage.

    Depth counts units: one begins at every `Residual` or `Concat` and, in a flat stack, at every `Conv` or
    `Dense`. What follows belongs to the unit it follows, such as a ReLU behind a merge; layers before the
    first of them belong to the first unit. The stem stands before depth 1. Of a network inside another the
    layers count as if they stood there themselves.

    Parameters
    ----------
    layers : sequence of layers
    stem : sequence of layers
        Layers that bring the images in and are not counted, such as the presets' strided convolution.
    name : str
    parameters : sequence of (str, value)
        What the net was made from; quoted in results. Nets of the same layers and name are equal.
    weights : mapping of str to mapping of str to array_like, optional
        Of one given net, by the paths of its layers (`Weights`), for `GivenNetwork`; other engines draw
        theirs.
    """

    layers: tuple[Layer, ...] = ()
    stem: tuple[Layer, ...] = ()
    name: str = "custom"
    parameters: tuple[tuple[str, object], ...] = field(default=(), compare=False)
    weights: Weights | None = field(default=None, compare=False, repr=False)

    stacks = ("stem", "layers")

    def __post_init__(self) -> None:
        object.__setattr__(self, "layers", checked_stack("Network: layers", self.layers))
        object.__setattr__(self, "stem", checked_stack("Network: stem", self.stem))
        object.__setattr__(self, "parameters", tuple(self.parameters))
        if self.weights is not None and not isinstance(self.weights, Weights):
            object.__setattr__(self, "weights", Weights(self.weights))

    def output_grid(self, grid: tuple[int, int]) -> tuple[int, int]:
        """Positions (height, width) behind it, of `grid` before it."""
        return output_grid((*self.stem, *self.layers), grid)

    def output_channels(self, channels: int, grid: tuple[int, int], width: int) -> int:
        """Channels behind it."""
        return output_channels((*self.stem, *self.layers), channels, grid, width)

    @cached_property
    def _units(self) -> tuple[tuple[tuple[str, Layer], ...], ...]:
        """The layers with their paths, grouped by depth."""
        units: list[list[tuple[str, Layer]]] = []
        begun = False  # whether the last unit has its Conv or its merge
        for path, layer in unrolled(self.layers, "", "layers"):
            begins = layer.weighted or layer.merges
            if not units or (begins and (begun or layer.merges)):
                units.append([])
            begun = begun or begins
            units[-1].append((path, layer))
        return tuple(map(tuple, units))

    @cached_property
    def units(self) -> tuple[tuple[Layer, ...], ...]:
        """The layers grouped by depth: unit l is ``units[l - 1]``."""
        return tuple(tuple(layer for _, layer in unit) for unit in self._units)

    @property
    def depth(self) -> int:
        """Number of units after the stem."""
        return len(self._units)

    def unit(self, depth: int) -> tuple[tuple[str, Layer], ...]:
        """The layers of a unit with their paths; what they hold is in `places`."""
        return self._units[depth - 1]

    def stem_layers(self) -> tuple[tuple[str, Layer], ...]:
        """The layers of the stem with their paths, those inside residual units included."""
        return tuple(pair for path, layer in unrolled(self.stem, "", "stem") for pair in walk([layer], path))

    def entrance(self, depth: int) -> tuple[str, Layer | None]:
        """Path and layer before a unit, where its input is; "" and None for the images themselves."""
        before = self._units[depth - 2] if depth > 1 else tuple(unrolled(self.stem, "", "stem"))
        return before[-1] if before else ("", None)

    def places(self, depth: int) -> tuple[Place, ...]:
        """The places of a unit, those inside residual branches included, in the order a signal meets them."""
        found: list[Place] = []
        named: set[str] = set()

        def take(path: str, layer: Layer, loc: str) -> None:
            found.append(Place(path, layer, loc if loc and loc not in named else None))
            named.add(loc)

        (head, first), *rest = self._units[depth - 1]
        if not first.merges:
            for path, layer in self._units[depth - 1]:
                take(path, layer, layer.loc)
            return tuple(found)
        branch = [f"{head}.{first.main}.{index}" for index in range(len(getattr(first, first.main)))]
        for path, layer in walk([first], head):
            loc = layer.loc if path == head or (path in branch and not layer.stacks) else ""
            last = path == branch[-1]
            take(path, layer, "branch" if last and (not loc or loc in named) else loc)
        for path, layer in rest:
            take(path, layer, "out" if path == rest[-1][0] else "")
        return tuple(found)

    def locs(self, depth: int) -> tuple[str, ...]:
        """Names of the stations of a unit on curves over depth, its input first."""
        return ("input", *(place.loc for place in self.places(depth) if place.loc))

    @cached_property
    def fully_connected(self) -> bool:
        """Whether no layer mixes positions, so that images are flattened to one position."""
        return all(layer.pointwise for layer in self.distinct)

    @cached_property
    def distinct(self) -> tuple[Layer, ...]:
        """Every different layer of the net that holds no others, those inside residual units included."""
        found: dict[Layer, None] = {}
        for layer in dict.fromkeys((*self.stem, *self.layers)):
            found.update(dict.fromkeys(each for _, each in walk([layer]) if not each.stacks))
        return tuple(found)

    @cached_property
    def outputs(self) -> int | None:
        """Channels of a Dense at its end, behind which there is no other layer with weights; else None."""
        last = next(
            (layer for layer in reversed(self.units[-1] if self.units else ()) if layer.weighted), None
        )
        return last.channels if isinstance(last, dense.Dense) else None

    def channel_numbers(self, channels: int, grid: tuple[int, int]) -> dict[str, int | None]:
        """Channels behind every layer by its path, of images with so many; None where it does not say."""
        found: dict[str, int | None] = {"": channels}

        def follow(
            pairs: Iterable[tuple[str, Layer]], channels: int, grid: tuple[int, int]
        ) -> tuple[int, tuple[int, int]]:
            for path, layer in pairs:
                start = channels, grid
                for _, stack in groupby(layer.inside(path), lambda pair: pair[0].rpartition(".")[0]):
                    end = follow(stack, *start)
                    start = end if isinstance(layer, Network) else start
                channels = layer.output_channels(channels, grid, _UNSAID)
                grid = layer.output_grid(grid)
                found[path] = channels if channels < _UNSAID else None
            return channels, grid

        follow(self.inside(""), channels, grid)
        return found

    @property
    def normalised(self) -> bool:
        """Whether every unit holds a batch norm, in its branch if it is residual."""
        return all(map(_normalises, set(self.units)))

    @property
    def spreading(self) -> bool:
        """Whether units are normalised, all of those that activate: else points grow alike with depth."""
        plain = (unit for unit in set(self.units) if not _normalises(unit))
        return self.has(BatchNorm) and not any(_holds(unit, activations.Nonlinearity) for unit in plain)

    def has(self, *kinds: type) -> bool:
        """Whether any layer is of these kinds, inside others or holding them."""
        once = tuple(dict.fromkeys((*self.stem, *self.layers)))
        return _holds(once, *kinds)

    def convolutions(self) -> tuple[Conv, ...]:
        """Every different Conv of the net."""
        return tuple(layer for layer in self.distinct if isinstance(layer, Conv))

    @property
    def kernel_size(self) -> int:
        """Largest kernel size of the net; 1 when it has no Conv."""
        return max((conv.kernel_size for conv in self.convolutions()), default=1)

    def widened(self, factor: float) -> Network:
        """The net with `factor` times as many channels where layers say how many (`widths.widened`)."""
        return widened(self, factor)

    def architecture(self) -> dict:
        """The net in plain values, as results quote it (JSON: ``architecture``)."""
        if self.parameters:
            return {"name": self.name, **dict(self.parameters)}
        return {"name": self.name, "depth": self.depth, **self._described()}

    def to_toml(self) -> str:
        """The net as a specification that `load_network` reads back, equal to the last bit.

        Raises
        ------
        ValueError
            If a layer holds a function of your own, which TOML cannot.
        """
        for path, layer in walk((self,)):
            if type(layer).__name__ not in Layer.TYPES:
                where = path.removeprefix("0.")
                raise ValueError(f"{self.name}: TOML cannot hold the {type(layer).__name__} at {where}.")
        return toml_text({"name": self.name, **self._described()})

    def _described(self) -> dict:
        stacks = {"stem": self.stem, "layers": self.layers} if self.stem else {"layers": self.layers}
        return {name: folded([describe(layer) for layer in stack]) for name, stack in stacks.items()}


def unrolled(layers: Iterable[Layer], path: str, stack: str) -> Iterator[tuple[str, Layer]]:
    """The layers of a stack with their paths, networks in it unrolled; what residual units hold is not."""
    for index, layer in enumerate(layers):
        here = joined(path, stack, index)
        if isinstance(layer, Network):
            yield from unrolled(layer.stem, here, "stem")
            yield from unrolled(layer.layers, here, "layers")
        else:
            yield here, layer


def walk(layers: Sequence[Layer], *paths: str) -> Iterator[tuple[str, Layer]]:
    """Every layer of a tree with its path in the order a signal meets them: what a layer holds comes first.

    Parameters
    ----------
    layers : sequence of layers
    paths : str
        Theirs; by their numbers if left out.
    """
    for path, layer in zip(paths or map(str, range(len(layers))), layers, strict=True):
        inside = list(layer.inside(path))
        if inside:
            yield from walk([each for _, each in inside], *(where for where, _ in inside))
        if not isinstance(layer, Network):
            yield path, layer


def output_grid(layers: Iterable[Layer], grid: tuple[int, int]) -> tuple[int, int]:
    """Positions (height, width) behind a stack of layers."""
    for layer in layers:
        grid = layer.output_grid(grid)
    return grid


def output_channels(layers: Iterable[Layer], channels: int, grid: tuple[int, int], width: int) -> int:
    """Channels behind a stack of layers, `width` behind those that do not say."""
    for layer in layers:
        channels = layer.output_channels(channels, grid, width)
        grid = layer.output_grid(grid)
    return channels
