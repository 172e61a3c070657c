"""Arrays in files: NumPy's formats, the binary CIFAR-10, the IDX format of MNIST.

Nothing here unpickles: a file is bytes in a documented layout or it is refused. What its header announces is
held against the memory that is free before it is read, and no more than that is read.
"""

from __future__ import annotations

import gzip
import math
import os
import stat
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import IO

import numpy as np

from ..memory import excess

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


def _announced(file: IO[bytes]) -> int:
    """Bytes of values that an open .npy stream announces; it is rewound.

    Raises
    ------
    Defect
        If they are Python objects.
    """
    npy = np.lib.format
    version = npy.read_magic(file)
    length = file.read(2 if version == (1, 0) else 4)
    if int.from_bytes(length, "little") > _HEADER:
        raise Defect("its header is longer than that of any array")
    file.seek(npy.MAGIC_LEN)
    shape, _, dtype = (npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0)(file)
    if dtype.hasobject:
        raise Defect("it holds pickled Python objects, which are never loaded; save an array of numbers")
    file.seek(0)
    return math.prod(shape) * dtype.itemsize


def read_npy(path: Path) -> np.ndarray:
    """Map the array of a .npy file; its values are not read yet."""
    check_regular(path)
    with open(path, "rb") as file:
        _announced(file)
    return np.lib.format.open_memmap(path, mode="r")


def read_npz(path_or_file: Path | IO[bytes], member: str | None = None) -> np.ndarray:
    """Read an array of an .npz archive: the one named, or the only one, or `images`."""
    if isinstance(path_or_file, Path):
        check_regular(path_or_file)
    with zipfile.ZipFile(path_or_file) as archive:
        keys = [name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")]
        wanted = member or (keys[0] if len(keys) == 1 else "images")
        if wanted not in keys:
            rest = f" and {len(keys) - _NAMED} more" if len(keys) > _NAMED else ""
            held = ", ".join(map(repr, keys[:_NAMED])) + rest if keys else "nothing at all"
            hint = f"; name one, as in file.npz:{keys[0]}" if keys and not member else ""
            raise Defect(f"it has no array {wanted!r} but {held}{hint}")
        with archive.open(f"{wanted}.npy") as file:
            _check_memory(_announced(file))
            return np.lib.format.read_array(file, allow_pickle=False)


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


def read_idx(path: Path) -> np.ndarray:
    """Read the images of an IDX file, plain or gzipped: (n, h, w, 1)."""
    check_regular(path)
    with gzip.open(path) if path.suffix.lower() == ".gz" else open(path, "rb") as file:
        magic, n, h, w = struct.unpack(">4I", file.read(16))
        if magic != _IDX_IMAGES:
            raise Defect(f"its IDX magic number is 0x{magic:08x}, but that of images is 0x{_IDX_IMAGES:08x}")
        size = n * h * w
        _check_memory(size)
        raw = file.read(size + 1)  # one more than there should be: the end is reached, or is not the end
    if len(raw) != size:
        follow = f"at least {len(raw)}" if len(raw) > size else len(raw)
        raise Defect(f"its IDX header announces {n} x {h} x {w} bytes of pixels, but {follow} follow")
    return np.frombuffer(raw, dtype=np.uint8).reshape(n, h, w, 1)


#: Readers by the end of a name: of arrays, whose axes may be in either order, and of images (n, h, w, c).
OF_ARRAYS: dict[str, Callable[[Path], np.ndarray]] = {".npy": read_npy, ".npz": read_npz}
OF_IMAGES: dict[str, Callable[[Path], np.ndarray]] = {
    ".bin": read_cifar,
    **dict.fromkeys((".idx", ".idx.gz", "-ubyte", "-ubyte.gz"), read_idx),
}
