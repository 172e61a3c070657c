"""Branches side by side along the channels, as in DenseNet and Inception; how many channels each has."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from .layers import Layer
from .network import Network, checked_stack, output_channels, output_grid, unrolled


@dataclass(frozen=True)
class Concat(Layer):
    """The channels of several branches of one signal, one behind the other.

    Parameters
    ----------
    branches : sequence of sequences of layers
        At least two. An empty one is the identity, which a dense block's layers have:
        ``Concat([(), (BatchNorm(), ReLU(), Conv(channels=32))])``. Stations inside are named as
        those of a residual unit, by the first branch that holds layers.

    Raises
    ------
    ValueError
        If there are less than two, all are empty, or they hold anything else than layers.
    """

    branches: tuple[tuple[Layer, ...], ...]

    loc = "merge"
    merges = True
    nested = ("branches",)

    def __post_init__(self) -> None:
        try:
            given = tuple(self.branches)
        except TypeError:
            raise ValueError(
                f"Concat: branches must be a sequence of stacks, not {self.branches!r}."
            ) from None
        branches = tuple(checked_stack(f"Concat: branch {k}", stack) for k, stack in enumerate(given, 1))
        if len(branches) < 2 or not any(branches):
            raise ValueError("Concat needs two branches at least, not all of them empty.")
        object.__setattr__(self, "branches", branches)
        # Each stands under a name of its own, as the stacks of other layers do: branch0, branch1, ...
        object.__setattr__(self, "stacks", tuple(f"branch{number}" for number in range(len(branches))))
        for name, branch in zip(self.stacks, branches, strict=True):
            object.__setattr__(self, name, branch)

    @property
    def main(self) -> str:
        """The first branch that holds layers."""
        return next(name for name in self.stacks if getattr(self, name))

    def rebuilt(self, change: Callable[[str, int, Layer], Layer]) -> Concat:
        """A copy whose branches hold what ``change(stack, index, layer)`` makes of each of their layers."""
        return Concat(
            tuple(
                tuple(change(name, index, layer) for index, layer in enumerate(branch))
                for name, branch in zip(self.stacks, self.branches, strict=True)
            )
        )

    def output_grid(self, grid: tuple[int, int]) -> tuple[int, int]:
        """Positions (height, width) behind its first branch, which are those of all."""
        return output_grid(self.branches[0], grid)

    def output_channels(self, channels: int, grid: tuple[int, int], width: int) -> int:
        """Channels of all branches together."""
        return sum(self.branch_channels(channels, grid, width))

    def branch_channels(self, channels: int, grid: tuple[int, int], width: int) -> tuple[int, ...]:
        """Channels of every branch, of so many before it at `grid` positions."""
        return tuple(output_channels(branch, channels, grid, width) for branch in self.branches)


def concatenated_channels(network: Network, shape: tuple[int, int, int, int]) -> dict[str, tuple[int, ...]]:
    """Channels of the branches of every Concat of a net by its path, up to a common factor.

    Parameters
    ----------
    network : Network
    shape : (n, h, w, c)
        Of the images.

    Raises
    ------
    ValueError
        If their shares depend on how wide the layers are that do not say.
    """
    if not network.has(Concat):
        return {}
    found, other = (_of_width(network, shape, width) for width in (1, 2))
    for path, channels in found.items():
        total, doubled = sum(channels), sum(other[path])
        if any(one * doubled != two * total for one, two in zip(channels, other[path], strict=True)):
            raise ValueError(
                f"Concat at {path}: the shares of its branches depend on the width of layers that do not say "
                "how many channels they have; give channels= to every Conv and Dense in it and before it."
            )
    return found


def _of_width(network: Network, shape: tuple[int, int, int, int], width: int) -> dict[str, tuple[int, ...]]:
    found: dict[str, tuple[int, ...]] = {}

    def take(pairs: Iterable[tuple[str, Layer]], channels: int, grid: tuple[int, int]) -> None:
        for path, layer in pairs:
            for stack in layer.stacks:
                take(unrolled(getattr(layer, stack), path, stack), channels, grid)
            if isinstance(layer, Concat):
                found[path] = layer.branch_channels(channels, grid, width)
            channels, grid = layer.output_channels(channels, grid, width), layer.output_grid(grid)

    stacks = (("stem", network.stem), ("layers", network.layers))
    take((pair for name, layers in stacks for pair in unrolled(layers, "", name)), shape[3], shape[1:3])
    return found
