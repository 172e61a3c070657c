"""Arrays in files: NumPy's formats, the binary CIFAR-10, the IDX format of MNIST.

Nothing here unpickles: a file is bytes in a documented layout or it is refused. Of what a stream holds only
the images that are asked for are kept, and nothing is read beyond what its header announces.
"""

from __future__ import annotations

import gzip
import math
import os
import stat
import struct
import zipfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import IO, cast

import numpy as np

from ..memory import excess

_CHUNK = 2**20  # bytes that are skipped at a time
_HEADER = 10_000  # bytes of a .npy header, the limit of numpy, which reads first and looks then
_NAMED = 8  # members of an .npz that a message names
_CIFAR_RECORD = 1 + 3 * 32 * 32  # one label byte, then the planes red, green, blue
_IDX_IMAGES = 0x00000803  # IDX: unsigned bytes (08) in three dimensions (03)


class Defect(Exception):
    """What is wrong with a file, said without its name, which its reader's caller adds."""


def check_regular(path: Path) -> int:
    """The size of a regular file; of anything else reading might never end.

    Raises
    ------
    Defect
        If it is a pipe, a device or a socket.
    """
    status = os.stat(path)
    if not stat.S_ISREG(status.st_mode):
        raise Defect("it is a pipe or a device, and only regular files are read")
    return status.st_size


def _check_memory(size: float) -> None:
    too_much = excess(size)
    if too_much:
        raise Defect(f"what it announces {too_much}")


class _Values:
    """The values in an open stream, counted as they are read."""

    def __init__(self, file: IO[bytes], shape: tuple[int, ...], size: int) -> None:
        self._file, self._shape, self._size, self.got = file, shape, size, 0

    def read(self, size: int) -> bytes:
        """So many bytes, or a Defect: there are fewer."""
        content = self._file.read(size)
        self.got += len(content)
        if len(content) < size:
            raise self._mismatch(self.got)
        return content

    def skip_to(self, place: int) -> None:
        """Read on up to a place and keep nothing."""
        while self.got < place:
            self.read(min(place - self.got, _CHUNK))

    def end(self) -> None:
        """Read on to the end, where checksums are looked at; a Defect if it is not where it should be."""
        self.skip_to(self._size)
        if self._file.read(1):
            raise self._mismatch(f"at least {self._size + 1}")

    def _mismatch(self, follow: object) -> Defect:
        sides = " x ".join(map(str, self._shape))
        return Defect(f"its header announces {sides} values, {self._size} bytes, but {follow} follow")


class Packed:
    """An array in a stream, read from end to end whenever images are taken.

    Parameters
    ----------
    opened : callable
        Opens the stream.
    header : callable
        Reads what stands before the values: shape, whether they are in the order of Fortran, and dtype.
    """

    def __init__(
        self,
        opened: Callable[[], AbstractContextManager[IO[bytes]]],
        header: Callable[[IO[bytes]], tuple[tuple[int, ...], bool, np.dtype]],
    ) -> None:
        self._opened, self._header = opened, header
        with opened() as file:
            self.shape, self._fortran, self.dtype = header(file)

    def take(self, chosen: np.ndarray | None = None) -> np.ndarray:
        """The chosen images, or all.

        Raises
        ------
        Defect
            If the stream is shorter or longer than its header says, or what is taken does not fit in memory.
        """
        one = math.prod(self.shape[1:]) * self.dtype.itemsize
        if chosen is not None and self._fortran:  # whose images are not one behind the other
            return self.take()[chosen]
        _check_memory(one * (self.shape[0] if chosen is None else len(chosen)))
        with self._opened() as file:
            self._header(file)
            values = _Values(file, self.shape, one * self.shape[0])
            if chosen is None:
                content = np.frombuffer(values.read(one * self.shape[0]), self.dtype)
                array = content.reshape(self.shape, order="F" if self._fortran else "C")
            else:
                array = np.empty((len(chosen), *self.shape[1:]), self.dtype)
                for row in np.argsort(chosen):
                    values.skip_to(int(chosen[row]) * one)
                    array[row] = np.frombuffer(values.read(one), self.dtype).reshape(self.shape[1:])
            values.end()
        return array


def _npy_header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Shape, order and dtype of a .npy stream, which then stands before the values.

    Raises
    ------
    Defect
        If they are Python objects, or the header is no header.
    """
    npy = np.lib.format
    version = npy.read_magic(file)
    length = file.read(2 if version == (1, 0) else 4)
    if int.from_bytes(length, "little") > _HEADER:
        raise Defect("its header is longer than that of any array")
    file.seek(npy.MAGIC_LEN)
    shape, fortran, dtype = (npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0)(
        file
    )
    if dtype.hasobject:
        raise Defect("it holds pickled Python objects, which are never loaded; save an array of numbers")
    if min(shape, default=0) < 0:
        raise Defect(f"its header announces the shape {shape}")
    return shape, fortran, dtype


def read_npy(path: Path) -> np.ndarray:
    """Map the array of a .npy file; its values are not read yet."""
    check_regular(path)
    with open(path, "rb") as file:
        _npy_header(file)
    return np.lib.format.open_memmap(path, mode="r")


def read_npz(path: Path, member: str | None = None) -> Packed:
    """An array of an .npz archive: the one named, or the only one, or `images`."""
    check_regular(path)
    return packed_npz(lambda: open(path, "rb"), member)


def packed_npz(opened: Callable[[], AbstractContextManager[IO[bytes]]], member: str | None = None) -> Packed:
    """As `read_npz`, of anything that can be opened."""
    with opened() as raw, zipfile.ZipFile(raw) as archive:
        keys = [name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")]
    wanted = member or (keys[0] if len(keys) == 1 else "images")
    if wanted not in keys:
        rest = f" and {len(keys) - _NAMED} more" if len(keys) > _NAMED else ""
        held = ", ".join(map(repr, keys[:_NAMED])) + rest if keys else "nothing at all"
        hint = f"; name one, as in file.npz:{keys[0]}" if keys and not member else ""
        raise Defect(f"it has no array {wanted!r} but {held}{hint}")

    @contextmanager
    def opened_member() -> Iterator[IO[bytes]]:
        with opened() as raw, zipfile.ZipFile(raw) as archive, archive.open(f"{wanted}.npy") as file:
            yield file

    return Packed(opened_member, _npy_header)


def read_cifar(path: Path) -> np.ndarray:
    """Read a .bin of the binary version of CIFAR-10, or all data_batch_*.bin of a folder: (n, h, w, c)."""
    files = sorted(path.glob("data_batch_*.bin")) if path.is_dir() else [path]
    sizes = [check_regular(file) for file in files]
    for file, size in zip(files, sizes, strict=True):
        if size == 0 or size % _CIFAR_RECORD:
            raise Defect(f"{file.name} has {size} bytes, no multiple of {_CIFAR_RECORD} as in CIFAR-10")
    _check_memory(2 * sum(sizes))
    batches = [np.fromfile(file, dtype=np.uint8, count=size) for file, size in zip(files, sizes, strict=True)]
    pixels = np.concatenate(batches).reshape(-1, _CIFAR_RECORD)[:, 1:]
    return pixels.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)


def read_idx(path: Path) -> Packed:
    """The images of an IDX file, plain or gzipped: (n, h, w, 1)."""
    check_regular(path)
    zipped = path.suffix.lower() == ".gz"
    return Packed(lambda: cast(IO[bytes], gzip.open(path)) if zipped else open(path, "rb"), _idx_header)


def _idx_header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype]:
    magic, n, h, w = struct.unpack(">4I", file.read(16))
    if magic != _IDX_IMAGES:
        raise Defect(f"its IDX magic number is 0x{magic:08x}, but that of images is 0x{_IDX_IMAGES:08x}")
    return (n, h, w, 1), False, np.dtype(np.uint8)


#: Readers by the end of a name: of arrays, whose axes may be in either order, and of images (n, h, w, c).
OF_ARRAYS: dict[str, Callable[[Path], np.ndarray | Packed]] = {".npy": read_npy, ".npz": read_npz}
OF_IMAGES: dict[str, Callable[[Path], np.ndarray | Packed]] = {
    ".bin": read_cifar,
    **dict.fromkeys((".idx", ".idx.gz", "-ubyte", "-ubyte.gz"), read_idx),
}
