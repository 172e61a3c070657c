"""The weights of one given net, by path; and how they are drawn at initialisation."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from hashlib import sha256
from types import MappingProxyType

import numpy as np

#: The arrays of one layer by their names.
Arrays = Mapping[str, np.ndarray]


class Weights(Mapping[str, Arrays]):
    """Arrays by the path of their layer, such as ``layers.3.branch.1``, and their names.

    Names and shapes are those of PyTorch: of a Conv `weight` (channels behind, channels before / groups,
    kernel, kernel) and `bias` (channels behind,), of a Dense `weight` (channels behind, channels before) and
    `bias`; of a BatchNorm `weight`, `bias`, `running_mean` and `running_var` (channels,). Channels that a
    Flatten has made are in the order (height, width, channel).

    They are kept as copies that cannot be written to.

    Parameters
    ----------
    arrays : mapping of str to mapping of str to array_like

    Raises
    ------
    ValueError
        If that is not what it is, or a number is not finite.
    """

    def __init__(self, arrays: Mapping[str, Mapping[str, object]]) -> None:
        if not isinstance(arrays, Mapping) or not all(isinstance(of, Mapping) for of in arrays.values()):
            raise ValueError(
                "weights must be arrays by path and name, such as {'layers.0': {'weight': array}}, not "
                f"{type(arrays).__name__}."
            )
        self._arrays = {
            str(path): MappingProxyType({name: _kept(path, name, array) for name, array in of.items()})
            for path, of in arrays.items()
        }

    def __getitem__(self, path: str) -> Arrays:
        """The arrays of the layer at a path."""
        return self._arrays[path]

    def __iter__(self) -> Iterator[str]:
        """Yield the paths."""
        return iter(self._arrays)

    def __len__(self) -> int:
        """How many layers have any."""
        return len(self._arrays)

    def __reduce__(self) -> tuple[type, tuple[dict]]:
        """For other processes: what they are made from."""
        return Weights, ({path: dict(of) for path, of in self._arrays.items()},)

    def __repr__(self) -> str:
        """Their number, since they are many."""
        return f"<Weights of {len(self)} layers, {self.count} numbers>"

    @property
    def count(self) -> int:
        """How many numbers they are."""
        return sum(array.size for of in self._arrays.values() for array in of.values())

    @cached_property
    def digest(self) -> str:
        """Their fingerprint."""
        found = sha256()
        for path, of in sorted(self._arrays.items()):
            for name, array in sorted(of.items()):
                found.update(f"{path} {name} {array.shape}".encode())
                found.update(array.tobytes())
        return found.hexdigest()


def _kept(path: str, name: str, array: object) -> np.ndarray:
    try:
        found = np.array(array, np.float64, order="C")
    except (TypeError, ValueError):
        raise ValueError(f"weights: {name} of {path} must be an array of numbers.") from None
    if not np.isfinite(found).all():
        raise ValueError(f"weights: {name} of {path} has values that are not finite; none may be.")
    found.flags.writeable = False
    return found
