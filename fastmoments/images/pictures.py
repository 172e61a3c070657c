"""PNG and JPEG files, one or a folder of them, by Pillow, which is asked for only here."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..memory import excess
from ..validation import whole
from .arrays import left_out
from .files import Defect, check_regular

if TYPE_CHECKING:
    from PIL.Image import Image

#: Ends of their names.
ENDINGS = (".png", ".jpg", ".jpeg")

_GREY = ("1", "L", "LA")  # modes of Pillow; those of 16 bits, which are grey, begin with I
_ALPHA = ("LA", "PA", "RGBA", "RGBa", "La")


def as_size(size: object) -> tuple[int, int] | None:
    """Height and width from "HxW" or "N", a number N or a pair (H, W); None from None.

    Raises
    ------
    ValueError
        If it is none of these, or not from 1 up.
    """
    if size is None:
        return None
    sides: Sequence = size if isinstance(size, (tuple, list)) else (size,)
    if isinstance(size, str):
        sides = [int(side) for side in size.split("x")] if re.fullmatch(r"\d{1,9}(x\d{1,9})?", size) else ()
    if len(sides) not in (1, 2):
        raise ValueError(f"size must be HxW or N, as in 32x48 or 32, not {size!r}.")
    height, width = (whole("size", side) for side in (sides[0], sides[-1]))
    return height, width


@dataclass(frozen=True)
class _Header:
    """What a file says of its picture before it is decoded."""

    path: Path
    size: tuple[int, int]  # height and width
    deep: bool  # 16 bits
    colour: bool
    alpha: bool
    halved: bool  # 16 bits of colour, of which Pillow reads 8


class Pictures:
    """Files of one size and depth, not decoded yet.

    Parameters
    ----------
    paths : sequence of Path
    size : (height, width), optional
        What each is stretched to; they may then be of different sizes.

    Raises
    ------
    Defect
        In one sentence, if a file cannot be read, or the first two that differ are of different sizes, or
        of 8 and of 16 bits.
    ImportError
        If Pillow is missing.
    """

    def __init__(self, paths: Sequence[Path], size: tuple[int, int] | None = None) -> None:
        self._headers = [_header(path) for path in paths]
        first = self._headers[0]
        for each in self._headers:
            if size is None and each.size != first.size:
                raise Defect(
                    f"{first.path.name} is {_sides(first.size)}, but {each.path.name} {_sides(each.size)}; "
                    "say a size for all, as in 32x32 (--size on the command line)"
                )
            if each.deep != first.deep:
                bits = {True: "16", False: "8"}
                raise Defect(
                    f"{first.path.name} has {bits[first.deep]} bits, but {each.path.name} {bits[each.deep]}; "
                    "save them alike"
                )
        self._size = size or first.size
        self._resized = size is not None
        self._colour = any(each.colour for each in self._headers)

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(n, h, w, c) of all of them."""
        return len(self._headers), *self._size, 3 if self._colour else 1

    def take(self, chosen: np.ndarray | None = None) -> tuple[np.ndarray, tuple[str, ...]]:
        """Decode some of them, or all.

        Grey ones among coloured ones get three equal channels. Values are those of the file, 16 bits of
        grey included; of 16 bits of colour the upper 8 are read.

        Returns
        -------
        array : ndarray, shape (n, h, w, c)
        notes : tuple of str
            What was taken for granted, in sentences.

        Raises
        ------
        Defect
            If a file is damaged, its transparency varies, or it does not fit in memory.
        """
        headers = self._headers if chosen is None else [self._headers[index] for index in chosen]
        alphas: set = set()
        arrays = [self._decoded(each, alphas) for each in headers]
        notes = tuple(left_out(alpha) for alpha in alphas)
        grey = sum(not each.colour for each in headers)
        if self._colour and grey:
            notes += (f"{grey} grey ones among those in colour have three equal channels.",)
        if any(each.halved for each in headers):
            notes += ("of 16 bits of colour 8 are read.",)
        return np.stack(arrays).reshape(len(headers), *self.shape[1:]), notes

    def _decoded(self, header: _Header, alphas: set) -> np.ndarray:
        """Values of a picture without its alpha, whose value is added to `alphas`, all of them alike."""
        too_much = excess(8.0 * header.size[0] * header.size[1])
        if too_much:
            raise Defect(f"{header.path.name}, {_sides(header.size)}, {too_much}")
        with _opened(header.path) as picture:
            if header.alpha:
                alphas.update(picture.convert("RGBA").getchannel("A").getextrema())
                if len(alphas) > 1:
                    raise Defect(f"{header.path.name} has transparency that varies; lay it on a background")
            if not header.deep:
                picture = picture.convert("RGB" if self._colour else "L")
            if self._resized and header.size != self._size:
                from PIL import Image

                if header.deep:  # as floats, which every Pillow resizes, without rounding
                    picture = Image.fromarray(np.asarray(picture, dtype=np.float32))
                picture = picture.resize(self._size[::-1], Image.Resampling.BILINEAR)
            return np.asarray(picture)


def _header(path: Path) -> _Header:
    check_regular(path)
    with _opened(path) as picture:
        size = picture.height, picture.width
        deep = picture.mode.startswith("I")
        alpha = not deep and (picture.mode in _ALPHA or "transparency" in picture.info)
        colour = not deep and picture.mode not in _GREY
    with open(path, "rb") as file:
        start = file.read(25)  # of a PNG the bits stand behind signature, width and height
    halved = colour and start.startswith(b"\x89PNG") and start[24] == 16
    return _Header(path, size, deep, colour, alpha, halved)


@contextmanager
def _opened(path: Path) -> Iterator[Image]:
    """A picture whose pixels are not decoded yet; what Pillow raises becomes a sentence."""
    try:
        from PIL import Image
    except ImportError:
        raise ImportError('PNG and JPEG files need Pillow: pip install "fastmoments[images]".') from None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the size is held against the memory that is free
            with Image.open(path, formats=("PNG", "JPEG")) as picture:
                yield picture
    except Image.DecompressionBombError:
        raise Defect(f"{path.name} announces more pixels than Pillow decodes") from None
    except (Defect, MemoryError):
        raise
    except Exception as problem:  # on damaged bytes Pillow raises half a dozen types
        reason = getattr(problem, "strerror", None)
        said = f": {reason}" if reason else " is damaged, cut short, or no PNG or JPEG"
        raise Defect(path.name + said) from None


def _sides(size: tuple[int, int]) -> str:
    return f"{size[0]} x {size[1]}"
