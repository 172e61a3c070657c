"""From what holds numbers to a float64 batch (n, h, w, c): tensors, order of axes, alpha, bad values."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ..memory import excess

#: Orders of the four axes of a batch.
LAYOUTS = ("auto", "nhwc", "nchw")

#: Numbers of channels by which an axis is known: grey, colour, colour with alpha.
CHANNELS = (1, 3, 4)

# Images narrower than this are not expected in practice; of three axes the last may then be colours.
_NARROW = 8


def as_array(images: ArrayLike, label: str) -> np.ndarray:
    """An array of real numbers, from anything array-like or tensors of PyTorch; values are not read.

    Raises
    ------
    ValueError
        If it is no array, some of it is masked, or its values are not integers or floats.
    """
    held: Any = images
    try:
        several = isinstance(held, (list, tuple))
        array = np.asarray([_untorched(each) for each in held] if several else _untorched(held))
    except (TypeError, ValueError, RuntimeError):
        raise ValueError(f"{label}: images must form one array of numbers, all of the same size.") from None
    if np.ma.is_masked(images):
        raise ValueError(f"{label}: some pixel values are masked; fill them in first.")
    check_real(array.dtype, label)
    return array


def check_real(dtype: np.dtype, label: str) -> None:
    """Refuse what are no pixel values."""
    if dtype.kind not in "uif":
        raise ValueError(f"{label}: pixel values must be integers or floats, not {dtype}.")


def _untorched(images: Any) -> Any:
    """What a tensor of PyTorch holds, which is known by its methods; anything else as it is."""
    if not all(hasattr(images, name) for name in ("detach", "cpu", "numpy")):
        return images
    tensor = images.detach().cpu()
    try:
        return tensor.numpy()
    except TypeError:  # bfloat16 and smaller, which numpy does not know: float32 holds them exactly
        return tensor.float().numpy()


def order_of(shape: tuple[int, ...], label: str, layout: str = "auto") -> tuple[str, tuple[str, ...]]:
    """The order of the axes, "nhw", "nhwc" or "nchw", and what was taken for granted, in sentences.

    Four axes are (n, h, w, c) or (n, c, h, w). Where `layout` is "auto" three witnesses are asked in turn:
    images that are square in one order only (vectors have one position); an axis of 1, 3 or 4 that holds
    the channels in one order only; and one of 2. Three axes are n grey images.

    Raises
    ------
    ValueError
        If there are not 3 or 4 axes or one is empty; if all witnesses are silent, or three axes look like one
        image in colour: the sentence says how to tell.
    """
    if len(shape) not in (3, 4):
        raise ValueError(
            f"{label}: images must have shape (n, h, w, c), (n, c, h, w) or (n, h, w), not {shape}."
        )
    if 0 in shape:
        raise ValueError(f"{label}: every axis must be at least 1 long, but the shape is {shape}.")
    if len(shape) == 3:
        if _in_colour(shape):
            raise ValueError(
                f"{label}: shape {shape} may be one image in colour, then give array[None], or "
                f"{shape[0]} grey images, then give array[..., None]."
            )
        return "nhw", (f"shape {shape} read as (n, h, w), grey.",)
    told = layout if layout != "auto" else _told(shape)
    if told is None:
        raise ValueError(
            f"{label}: shape {shape} may be (n, h, w, c) or (n, c, h, w); "
            'say layout="nhwc" or "nchw" (--layout on the command line).'
        )
    axes = "(n, h, w, c)" if told == "nhwc" else "(n, c, h, w)"
    notes = (f"shape {shape} read as {axes}.",) if layout == "auto" else ()
    return told, notes


def _told(shape: tuple[int, ...]) -> str | None:
    """The layout that four axes tell; None if they do not."""
    _, second, third, last = shape
    if second == last == 1:  # one channel, whichever axis it is
        return "nhwc"
    witnesses = (
        {"nhwc": second == third, "nchw": third == last},
        {"nhwc": last in CHANNELS, "nchw": second in CHANNELS},
        {"nhwc": last == 2, "nchw": second == 2},
    )
    for witness in witnesses:
        said = [layout for layout, speaks in witness.items() if speaks]
        if len(said) == 1:
            return said[0]
    return None


def _in_colour(shape: tuple[int, ...]) -> bool:
    """Whether three axes may be (h, w, c) of one image."""
    height, width, last = shape
    return (last == 3 and width != 3) or (last == 4 and min(height, width) >= _NARROW)


def check_fits(count: int, shape: tuple[int, ...], label: str) -> None:
    """Refuse a batch of so many images out of `shape` that does not fit in memory as float64."""
    too_much = excess(8.0 * count * math.prod(shape[1:]))
    if too_much:
        raise ValueError(f"{label}: a batch of {count} in float64 {too_much}; take fewer or smaller images.")


def in_float64(
    array: np.ndarray, order: str, label: str, places: Sequence[int] | np.ndarray | None = None
) -> np.ndarray:
    """A copy in float64 and in the order (n, h, w, c), checked to be finite.

    Parameters
    ----------
    array : ndarray
    order : {"nhw", "nhwc", "nchw"}
    label : str
    places : sequence of int, optional
        Where the images stand in their source, 0, 1, ... if left out.

    Raises
    ------
    ValueError
        If an image holds NaN or infinite values.
    """
    moved = (
        array[..., np.newaxis] if order == "nhw" else array.transpose([order.index(axis) for axis in "nhwc"])
    )
    with np.errstate(over="ignore"):  # a long double beyond float64 becomes infinite and is reported as such
        batch = np.array(moved, dtype=np.float64, order="C")
    bad = np.flatnonzero(~np.isfinite(batch).all(axis=(1, 2, 3)))
    if bad.size:
        place = bad[0] if places is None else places[bad[0]]
        raise ValueError(f"{label}: image {place} (counted from 0) holds NaN or infinite values.")
    return batch


def without_alpha(array: np.ndarray) -> tuple[np.ndarray, tuple[str, ...]]:
    """Leave out a fourth channel that is the same everywhere while others vary, and say so."""
    if array.shape[3] != 4 or array.shape[1] * array.shape[2] == 1:
        return array, ()
    constant = array.min(axis=(0, 1, 2)) == array.max(axis=(0, 1, 2))
    if constant.all() or not constant[3]:
        return array, ()
    return array[..., :3].copy(), (left_out(array[0, 0, 0, 3]),)


def left_out(alpha: float) -> str:
    """What is said of an alpha channel that is the same everywhere."""
    return f"alpha, {alpha:g} everywhere, is left out."
