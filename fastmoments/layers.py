"""What a net is: frozen descriptions of layers, and the order in which a signal meets them.

A description says nothing about how a layer acts on a covariance or on a sampled signal; each
engine holds that in one place of its own. What several engines need to agree on stands here: the
validation of the parameters, the geometry of a convolution (:meth:`Conv.padded_index`), the
division of a stack into units of depth and the names of the stations inside a unit.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, fields
from functools import cached_property

import numpy as np

PADDINGS = ("periodic", "zeros", "symmetric")

#: Station names in the order in which a unit of each family meets them.
LOCS = ("input", "conv", "norm", "act", "merge")


def _positive_int(layer: str, name: str, value) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
        raise ValueError(f"{layer}: {name} must be a positive whole number, not {value!r}.")


def _finite(layer: str, name: str, value, *, positive: bool) -> None:
    number = isinstance(value, (int, float, np.number)) and not isinstance(value, bool)
    if not number or not math.isfinite(value) or value < 0 or (positive and value == 0):
        kind = "positive" if positive else "non-negative"
        raise ValueError(f"{layer}: {name} must be a finite {kind} number, not {value!r}.")


@dataclass(frozen=True)
class Conv:
    """A convolution with fresh Gaussian weights; ``kernel_size=1`` is a fully connected layer.

    Parameters
    ----------
    kernel_size : int
        Side k of the square k x k kernel.
    gain : float
        The weights have variance ``gain / (k^2 * channels in)``; 2 is He's initialisation.
    bias_variance : float
        Variance of the bias, one per output channel; 0 means no bias.
    stride, dilation : int
        Step between outputs and between taps, in positions.
    padding : {"periodic", "zeros", "symmetric"}
        What stands beyond the border: the opposite side, nothing, or the mirror image with the edge
        repeated (numpy's "symmetric"). The output has ceil(size / stride) positions; of an odd
        amount of padding the extra position stands behind (TensorFlow's rule).
    tap_variances : sequence of k sequences of k numbers, optional
        Profile of the kernel: the variance of its weights by tap (row, column), up to a common factor, so
        that `gain` keeps its meaning. Left out, all taps are alike.

    Raises
    ------
    ValueError
        If a parameter is outside its range.
    """

    kernel_size: int = 3
    gain: float = 2.0
    bias_variance: float = 0.0
    stride: int = 1
    padding: str = "periodic"
    dilation: int = 1
    tap_variances: tuple | None = None

    def __post_init__(self):
        for name in ("kernel_size", "stride", "dilation"):
            _positive_int("Conv", name, getattr(self, name))
        _finite("Conv", "gain", self.gain, positive=True)
        _finite("Conv", "bias_variance", self.bias_variance, positive=False)
        if self.padding not in PADDINGS:
            raise ValueError(f"Conv: padding must be one of {', '.join(PADDINGS)}, not {self.padding!r}.")
        if self.tap_variances is not None:
            object.__setattr__(self, "tap_variances", _profile(self.tap_variances, self.kernel_size))

    @cached_property
    def tap_weights(self) -> np.ndarray:
        """Variance of each tap's weights relative to their mean, shape (kernel_size, kernel_size)."""
        if self.tap_variances is None:
            return np.ones((self.kernel_size, self.kernel_size))
        profile = np.array(self.tap_variances)
        return profile / profile.mean()

    @cached_property
    def tap_factors(self) -> tuple[np.ndarray, np.ndarray]:
        """`tap_weights` as a sum of products of (down, across) the image, each of shape (terms, k)."""
        if self.tap_variances is None:
            return np.ones((1, self.kernel_size)), np.ones((1, self.kernel_size))
        left, values, right = np.linalg.svd(self.tap_weights)
        terms = np.count_nonzero(values > 1e-15 * values[0])
        roots = np.sqrt(values[:terms])[:, None]
        return roots * left.T[:terms], roots * right[:terms]

    @property
    def pointwise(self) -> bool:
        """Whether every output position sees exactly its own input position."""
        return self.kernel_size == 1 and self.stride == 1

    def output_size(self, size: int) -> int:
        """Positions along one side after the convolution, of `size` before it."""
        return -(-size // self.stride)

    def padded_index(self, size: int) -> np.ndarray:
        """Input position at each position of the padded side; -1 where zero padding stands.

        Output ``o`` and tap ``t`` meet at padded position ``o * stride + t * dilation``.

        Returns
        -------
        ndarray of int64, shape ((output_size - 1) * stride + (kernel_size - 1) * dilation + 1,)
        """
        reach = (self.kernel_size - 1) * self.dilation + 1
        length = (self.output_size(size) - 1) * self.stride + reach
        before = max(length - size, 0) // 2
        position = np.arange(length, dtype=np.int64) - before
        if self.padding == "periodic":
            return position % size
        if self.padding == "symmetric":
            folded = position % (2 * size)
            return np.minimum(folded, 2 * size - 1 - folded)
        return np.where((position >= 0) & (position < size), position, -1)


@dataclass(frozen=True)
class ReLU:
    """The rectifier max(x, 0)."""


@dataclass(frozen=True)
class BatchNorm:
    """Batch normalisation over all images and positions of a channel, without learnt parameters.

    Parameters
    ----------
    epsilon : float
        Added to the batch variance.
    """

    epsilon: float = 1e-3

    def __post_init__(self):
        _finite("BatchNorm", "epsilon", self.epsilon, positive=False)


def _profile(given, size: int) -> tuple:
    """A kernel's profile as a tuple of tuples."""
    wrong = f"Conv: tap_variances must be {size} rows of {size} non-negative numbers, not all of them 0"
    try:
        profile = np.array(given, dtype=np.float64)
    except (TypeError, ValueError):
        raise ValueError(f"{wrong}, not {given!r}.") from None
    if profile.shape != (size, size):
        raise ValueError(f"{wrong}; it got an array of shape {profile.shape}.")
    if not np.isfinite(profile).all() or profile.min() < 0 or profile.max() == 0:
        raise ValueError(f"{wrong}, not {profile.tolist()}.")
    return tuple(map(tuple, profile.tolist()))


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
