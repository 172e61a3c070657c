"""Images as PyTorch hands them out: data loaders and datasets, known by their methods and not by import."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from .arrays import as_array


def is_loader(source: object) -> bool:
    """Whether it gives batches, as a DataLoader does."""
    return hasattr(source, "dataset") and hasattr(source, "__iter__")


def is_dataset(source: object) -> bool:
    """Whether it gives images one by one by their numbers, and is no array or sequence of some."""
    indexed = hasattr(source, "__getitem__") and hasattr(source, "__len__")
    known = (str, bytes, list, tuple, Mapping, np.ndarray)
    return indexed and not isinstance(source, known) and not hasattr(source, "__array__")


def handed_out(source: object) -> bool:
    """Whether it is a loader or a dataset."""
    return is_loader(source) or is_dataset(source)


def taken(source: Any, count: int | None, seed: int) -> tuple[np.ndarray, str, bool]:
    """The first images of a loader, or images of a dataset drawn without replacement.

    Parameters
    ----------
    source : loader or dataset
    count : int or None
        None takes a first batch, or all.
    seed : int

    Returns
    -------
    array : ndarray, shape (n, h, w, c) or (n, h, w), or as the source has it
    label : str
    known : bool
        Whether the axes are known, since it gives tensors of PyTorch: these have channels first.

    Raises
    ------
    ValueError
        In one sentence, if there are not so many, or some cannot be read or are not of one size.
    """
    loader = is_loader(source)
    label = type(source.dataset if loader else source).__name__
    held, tensors = list[np.ndarray](), True
    for number, item in enumerate(_batches(source, label) if loader else _items(source, count, seed, label)):
        given = _pixels(item[0] if isinstance(item, (tuple, list)) and item else _named(item))
        array, several = as_array(given, label), 3 + loader
        tensors &= hasattr(given, "detach")
        held.append(
            np.moveaxis(array, -3, -1) if hasattr(given, "detach") and array.ndim == several else array
        )
        if array.ndim not in (several, several - 1) or held[-1].shape[loader:] != held[0].shape[loader:]:
            raise ValueError(
                f"{label}: {'batch' if loader else 'image'} {number} has the shape {array.shape}; images "
                "must be of one size, (c, h, w) or (h, w): give the dataset a transform."
            )
        if loader and (count is None or sum(map(len, held)) >= count):
            break
    array = (np.concatenate if loader else np.stack)(held) if held else np.empty(0)
    if not held or (count is not None and len(array) < count):
        wanted = "at least one is needed" if count is None else f"count is {count}"
        raise ValueError(f"{label}: {wanted}, but there are only {len(array)} images.")
    return array[:count], label, tensors


def _batches(loader: Any, label: str) -> Iterator[Any]:
    """What a loader gives; whatever it raises becomes one sentence."""
    with _refusing(f"{label}: a batch"):
        yield from loader


def _items(dataset: Any, count: int | None, seed: int, label: str) -> Iterator[Any]:
    """What a dataset gives for numbers; whatever it raises becomes one sentence."""
    places: Sequence[int] = range(len(dataset))
    if count is not None:
        places = np.random.default_rng(seed).permutation(len(dataset))[:count].tolist()
    for place in places:
        with _refusing(f"{label}: image {place}"):
            item = dataset[place]
        yield item


@contextmanager
def _refusing(what: str) -> Iterator[None]:
    try:
        yield
    except Exception as problem:  # of code that is not ours
        said = " ".join(str(problem).split()).rstrip(".")
        raise ValueError(f"{what} cannot be read: {type(problem).__name__}: {said}.") from problem


def _named(item: Any) -> Any:
    """The images in a table, under a usual name or the first; anything else as it is."""
    if not isinstance(item, Mapping):
        return item
    usual = [name for name in ("image", "images", "img", "pixel_values", "x") if name in item]
    return item[usual[0]] if usual else next(iter(item.values()), None)


def _pixels(image: Any) -> Any:
    """The values of an image of Pillow, which is known by its mode; anything else as it is."""
    if hasattr(image, "mode") and hasattr(image, "convert"):
        return np.asarray(image if image.mode in ("L", "RGB", "RGBA", "I", "F") else image.convert("RGB"))
    return image
