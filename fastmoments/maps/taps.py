"""What the taps of a convolution see, and the tables of them for the kernel `kernels.blocks.convolve`."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from itertools import product
from typing import NamedTuple

import numpy as np

from ..nets.linear import Conv


class TapTables(NamedTuple):
    """Where the taps of a convolution are and what they weigh, for its kernel, which begins along the width.

    Taps come in threes; those that fill up, and those that a padding with zeros leaves out, weigh nothing.

    Attributes
    ----------
    slots : int64, shape (height, 2)
        Output row before which the sums along the width of an input row are taken, -1 for never, and the
        slot that keeps them.
    kept : int
        Slots.
    lines, down : shape (output height, terms taps)
        First line of the slot in which an output row finds a tap, and the tap's weight. The terms of the
        weights stand one after the other.
    drops : int64, shape (terms taps,)
        Shift of a flattened image by each tap along the height.
    columns, across, inside : shapes (output width, taps), (terms output width, taps), (output width, taps)
        Columns that an output column sees through the taps, their weights, and 1 where there is one.
    low, high : int
        The output columns that see no border, if what they see is a shift of the flattened image.
    top : int
        Padded rows above the image.
    """

    slots: np.ndarray
    kept: int
    lines: np.ndarray
    down: np.ndarray
    drops: np.ndarray
    columns: np.ndarray
    across: np.ndarray
    inside: np.ndarray
    low: int
    high: int
    top: int


@lru_cache(maxsize=64)
def seen_along(conv: Conv, size: int) -> list[tuple[np.ndarray, np.ndarray | None]]:
    """What each tap sees along one side: input positions, and where there are none, if some see zeros."""
    indices = conv.taps(size).T
    return [(index, None if index.min() >= 0 else index < 0) for index in indices]


def seen_by_taps(conv: Conv, images: np.ndarray, fill: float = 0) -> Iterator[np.ndarray]:
    """Yield what each tap sees at every output position, shape (n, output h, output w, channels)."""
    rows, columns = (conv.taps(size) for size in images.shape[1:3])
    for down, across in product(rows.T, columns.T):
        seen = images[:, down[:, None], across]
        if down.min() < 0 or across.min() < 0:
            seen[:, down < 0] = fill
            seen[:, :, across < 0] = fill
        yield seen


@lru_cache(maxsize=64)
def tap_tables(conv: Conv, height: int, width: int) -> TapTables:
    """The tables for images of a size."""
    fill = (0, -conv.kernel_size % 3)
    taps = np.arange(conv.kernel_size)

    def seen(size: int) -> tuple[np.ndarray, np.ndarray]:
        index = np.pad(conv.taps(size), ((0, 0), fill), constant_values=-1)
        return np.maximum(index, 0), np.where(index >= 0, 1.0, 0.0)

    (rows, inside_h), (columns, inside_w) = seen(height), seen(width)
    down, across = (np.pad(factors, ((0, 0), fill)) for factors in conv.tap_factors)
    slots = _slots(rows, inside_h, height)
    kept, new_width = slots[:, 1].max() + 1, len(columns)
    lines = [(term * kept + slots[rows, 1]) * new_width for term in range(len(down))]
    first = np.arange(new_width) * conv.stride - conv.pad_before(width)
    free = np.flatnonzero((first >= 0) & (first + taps[-1] * conv.dilation < width))
    shifted = free.size and width == conv.stride * new_width
    return TapTables(
        slots=slots,
        kept=int(kept),
        lines=np.hstack(lines),
        down=np.hstack([inside_h * weights for weights in down]),
        drops=np.tile(np.pad(taps * conv.dilation * new_width, fill), len(down)),
        columns=columns,
        across=np.vstack([inside_w * weights for weights in across]),
        inside=inside_w,
        low=int(free[0]) if shifted else 0,
        high=int(free[-1]) + 1 if shifted else 0,
        top=conv.pad_before(height),
    )


def _slots(rows: np.ndarray, inside: np.ndarray, height: int) -> np.ndarray:
    """Slots of the input rows, as few as can be: `TapTables.slots`.

    A row's is free again behind the last output row that needs it. A row is read before the output row in its
    place is written, since the one may overwrite the other.
    """
    spans = []
    for row in range(height):
        outputs = np.flatnonzero(((rows == row) & (inside > 0)).any(axis=1))
        if outputs.size:
            spans.append((min(row, outputs[0]), outputs[-1], row))
    slots = np.full((height, 2), (-1, 0))
    ends: list[int] = []  # last output row that needs what is in each slot
    for start, end, row in sorted(spans):
        slot = next((slot for slot, last in enumerate(ends) if last < start), len(ends))
        ends[slot : slot + 1] = [end]
        slots[row] = start, slot
    return slots


def memory_of_workers(
    workers: int, tables: TapTables, pad_h: np.ndarray, size: int, dtype: np.dtype
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Memory in which workers convolve: sums along the width, starts of taps, two rows; and nothing.

    Parameters
    ----------
    workers : int
    tables : TapTables
    pad_h
        As for the kernel.
    size : int
        Of the blocks of the result.
    dtype : dtype
        Of the blocks.
    """
    lines, new_width = tables.across.shape[0] * tables.kept, len(tables.columns)
    columns = max(pad_h.size, tables.top + len(tables.slots)) * new_width
    # Zeros, since a tap without weight may point to a slot that is never filled.
    sums = np.zeros((workers, lines, columns), dtype)
    starts = np.empty((workers, 1, tables.drops.size), np.int64)
    return sums, starts, np.empty((workers, 2, size), dtype), np.empty((0, 0))
