"""Images in: the embedded sample, synthetic fields, files and arrays, and their normalisation.

Every source ends as the same record, `Images`: a float64 batch (n, h, w, c) that knows where it came from.
Nothing here unpickles: a file is bytes in a documented layout or it is refused.
"""

from __future__ import annotations

import difflib
import gzip
import os
import re
import struct
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import ArrayLike

from ..validation import whole

NAMES = ("fashion-mnist", "synthetic", "synthetic:HxW", "synthetic:HxWxC")

_CIFAR_RECORD = 1 + 3 * 32 * 32  # one label byte, then the planes red, green, blue
_IDX_IMAGES = 0x00000803  # IDX: unsigned bytes (08) in three dimensions (03)
_SYNTHETIC_LIMIT = 2**27  # values, 1 GiB: beyond it a typing error is likelier than a wish


@dataclass(frozen=True, eq=False)
class Images:
    """A batch of images and its origin.

    Attributes
    ----------
    array : ndarray of float64, shape (n, h, w, c)
        Pixel values as in the source, not normalised.
    source : str
        The name given, the name of the file or folder, or "array".
    seed : int or None
        The seed that drew or made the images; None if chance had no part in it.
    """

    array: np.ndarray
    source: str
    seed: int | None


def load_images(
    source: str | os.PathLike[str] | ArrayLike = "fashion-mnist", count: int | None = 16, seed: int = 0
) -> Images:
    """Load a batch of images from a name, a path or an array.

    Parameters
    ----------
    source : str, path-like or array_like
        * "fashion-mnist": the embedded sample, 256 images of 28 x 28 x 1;
        * "synthetic", "synthetic:HxW" or "synthetic:HxWxC" (by default 16 x 16 x 3): Gaussian random fields,
          periodic, channels independent, power spectrum 1 / frequency^2 as in photographs;
        * a path: `.npy`; `.npz` with the array `images`; `.bin`, the binary version of CIFAR-10, or the
          folder of its data_batch_*.bin; `.idx` or `-ubyte`, the IDX format of MNIST, plain or `.gz`;
        * an array of shape (n, h, w, c) or (n, h, w).

        A string that is a name is never taken for a path; a `pathlib.Path` always is one.
    count : int or None
        How many images to draw, without replacement; None takes all in their order. With the same seed a
        larger batch begins with the smaller one.
    seed : int
        Seed of the draw, or of the synthetic images.

    Returns
    -------
    Images
        Of a `.npy` file only the chosen images are read.

    Raises
    ------
    ValueError
        If the name is unknown, the file missing, damaged or pickled, or images, count or seed are invalid.
    """
    if count is not None:
        count = whole("count", count, why=" (None: all images)")
    seed = whole("seed", seed, 0)
    if isinstance(source, str) and source.partition(":")[0] == "synthetic":
        return Images(_synthetic(source, count, seed), source, seed)
    array, label = _open(source)
    batch = _batch(array, label)
    if count is None:
        return Images(_float64(batch, range(len(batch)), label), label, None)
    if count > len(batch):
        raise ValueError(f"{label}: count is {count}, but there are only {len(batch)} images.")
    chosen = np.random.default_rng(seed).permutation(len(batch))[:count]
    return Images(_float64(batch[chosen], chosen, label), label, seed)


def as_images(images: Images | ArrayLike) -> Images:
    """Check a batch of images and bring it to float64 and four axes.

    Parameters
    ----------
    images : Images or array_like, shape (n, h, w, c) or (n, h, w)
        Integers or floats. Three axes are n grey images, never one image in colour.

    Returns
    -------
    Images
        A copy, of shape (n, h, w, c); source and seed are kept, or "array" and None.

    Raises
    ------
    ValueError
        If values are not real numbers or not finite, there are not 3 or 4 axes, or an axis is empty.
    """
    if not isinstance(images, Images):
        batch = _batch(images, "array")
        return Images(_float64(batch, range(len(batch)), "array"), "array", None)
    batch = _batch(images.array, images.source)
    return Images(_float64(batch, range(len(batch)), images.source), images.source, images.seed)


def normalise(images: Images | ArrayLike, fully_connected: bool = False) -> np.ndarray:
    """Bring each channel, or each feature, to mean 0 and variance 1 over the batch (no Bessel correction).

    The mean square of the signal, and its variance, are then 1 at the input of the net, up to the constant
    channels or features: they carry no signal and become 0.

    Parameters
    ----------
    images : Images or array_like, shape (n, h, w, c) or (n, h, w)
    fully_connected : bool
        Flatten each image in (h, w, c) order first; each feature is then normalised over the images.

    Returns
    -------
    ndarray of float64, shape (n, h, w, c), or (n, 1, 1, h*w*c) if fully connected

    Raises
    ------
    ValueError
        If nothing varies at all, or for the reasons of `as_images`.
    """
    x = as_images(images).array
    if fully_connected:
        x = x.reshape(len(x), 1, 1, -1)
    lowest, highest = x.min(axis=(0, 1, 2)), x.max(axis=(0, 1, 2))
    constant = lowest == highest  # exactly; the computed variance of a constant 0.1 is rounding noise, not 0
    if constant.all():
        wanted = "two different images" if fully_connected else "one channel that is not constant"
        raise ValueError(f"the images carry no signal: to normalise them takes at least {wanted}.")

    # A power of two takes the scale out without rounding, so that squares neither overflow nor underflow.
    x = np.ldexp(x, -np.frexp(np.maximum(abs(lowest), abs(highest)))[1])
    x -= x.mean(axis=(0, 1, 2))
    x -= x.mean(axis=(0, 1, 2))  # the first mean was rounded at the size of the offset, not of the signal
    deviation = np.sqrt(np.mean(x * x, axis=(0, 1, 2)))
    deviation[constant] = np.inf
    return x / deviation


def _batch(images: ArrayLike, label: str) -> np.ndarray:
    """Return `images` as a non-empty real array (n, h, w, c), values untouched and unread."""
    try:
        array = np.asarray(images)
    except (TypeError, ValueError):
        raise ValueError(f"{label}: images must form one array, so be all of the same size.") from None
    if array.dtype.kind not in "uif":
        raise ValueError(f"{label}: pixel values must be integers or floats, not {array.dtype}.")
    if array.ndim not in (3, 4):
        raise ValueError(f"{label}: images must have shape (n, h, w, c) or (n, h, w), not {array.shape}.")
    if array.size == 0:
        raise ValueError(f"{label}: every axis must be at least 1 long, but the shape is {array.shape}.")
    return array if array.ndim == 4 else array[..., np.newaxis]


def _float64(batch: np.ndarray, indices: Sequence[int] | np.ndarray, label: str) -> np.ndarray:
    """Copy a batch to float64 and check that it is finite; `indices` are the images' places in the source."""
    with np.errstate(over="ignore"):  # a long double beyond float64 becomes infinite and is reported as such
        array = np.array(batch, dtype=np.float64, order="C")
    bad = np.flatnonzero(~np.isfinite(array).all(axis=(1, 2, 3)))
    if bad.size:
        raise ValueError(f"{label}: image {indices[bad[0]]} (counted from 0) holds NaN or infinite values.")
    return array


def _synthetic(name: str, count: int | None, seed: int) -> np.ndarray:
    """Make `count` Gaussian random fields of variance 1; the size stands in the name."""
    match = re.fullmatch(r"synthetic(?::([0-9]{1,9})x([0-9]{1,9})(?:x([0-9]{1,9}))?)?", name)
    sizes = zip(match.groups(), (16, 16, 3), strict=True) if match else [(0, 0)] * 3
    h, w, c = (int(size or default) for size, default in sizes)
    if h * w * c == 0:
        raise ValueError(f"the size in {name!r} must be HxW or HxWxC, numbers from 1 up, as in 16x16x3.")
    if count is None:
        raise ValueError("synthetic images have no end, so count must be a number, not None.")
    if count * h * w * c > _SYNTHETIC_LIMIT:
        raise ValueError(f"{count} images of {name!r} have more than {_SYNTHETIC_LIMIT} values, the limit.")

    frequency = np.hypot(np.fft.fftfreq(h)[:, np.newaxis], np.fft.fftfreq(w))
    frequency[0, 0] = 1.0 / max(h, w)  # the brightness of an image varies like its longest wave
    amplitude = 1.0 / frequency
    amplitude /= np.sqrt(np.mean(amplitude**2))
    white = np.random.default_rng(seed).standard_normal((count, h, w, c))
    waves = np.fft.fft2(white, axes=(1, 2)) * amplitude[..., np.newaxis]
    return np.ascontiguousarray(np.fft.ifft2(waves, axes=(1, 2)).real)


def _open(source: str | os.PathLike[str] | ArrayLike) -> tuple[ArrayLike, str]:
    """Return the array behind a name, a path or an array-like, perhaps a memory map, and its label."""
    if isinstance(source, str):
        if source == "fashion-mnist":
            with (resources.files(__package__) / "embedded" / "fashion_mnist_256.npz").open("rb") as file:
                return _read_npz(file), source
        if not (os.path.exists(source) or "/" in source or os.sep in source or _reader(source)):
            close = difflib.get_close_matches(source.lower(), NAMES, n=1)
            hint = f" (did you mean {close[0]!r}?)" if close else ""
            raise ValueError(f"unknown images {source!r}{hint}: give one of {', '.join(NAMES)}, or a path.")
    elif not isinstance(source, os.PathLike):
        return source, "array"

    path = Path(os.fsdecode(source))
    if not os.path.exists(path):
        raise ValueError(f"there is no file or folder {str(path)!r}.")
    read = _read_cifar if path.is_dir() else _reader(path.name)
    if read is None:
        raise ValueError(f"cannot read {str(path)!r}: its name must end in one of {', '.join(_READERS)}.")
    try:
        return read(path), path.name or str(path)
    except _Defect as defect:
        reason = str(defect)
    except Exception as error:  # on damaged bytes numpy, zipfile, gzip and zlib raise a dozen types
        reason = getattr(error, "strerror", None) or "it is damaged, cut short, or not what its name says"
    raise ValueError(f"cannot read {str(path)!r}: {reason}.")


class _Defect(Exception):
    """What is wrong with a file, said without its name; `_open` adds that."""


def _reader(name: str) -> Callable[[Path], np.ndarray] | None:
    """Return the reader for a file name, None if no ending fits."""
    return next((read for ending, read in _READERS.items() if name.lower().endswith(ending)), None)


def _refuse_objects(file: IO[bytes]) -> None:
    """Raise if an open .npy stream announces Python objects; then rewind it."""
    npy = np.lib.format
    header = npy.read_array_header_1_0 if npy.read_magic(file) == (1, 0) else npy.read_array_header_2_0
    _, _, dtype = header(file)
    if dtype.hasobject:
        raise _Defect("it holds pickled Python objects, which are never loaded; save an array of numbers")
    file.seek(0)


def _read_npy(path: Path) -> np.ndarray:
    with open(path, "rb") as file:
        _refuse_objects(file)
    return np.lib.format.open_memmap(path, mode="r")


def _read_npz(path_or_file: Path | IO[bytes]) -> np.ndarray:
    with zipfile.ZipFile(path_or_file) as archive:
        keys = [name.removesuffix(".npy") for name in archive.namelist()]
        if "images" not in keys:
            raise _Defect(f"it has no array 'images' but {', '.join(map(repr, keys)) or 'nothing at all'}")
        with archive.open("images.npy") as file:
            _refuse_objects(file)
            return np.lib.format.read_array(file, allow_pickle=False)


def _read_cifar(path: Path) -> np.ndarray:
    files = sorted(path.glob("data_batch_*.bin")) if path.is_dir() else [path]
    if not files:
        raise _Defect("the folder has no data_batch_*.bin, as the binary version of CIFAR-10 has")
    batches = [np.fromfile(file, dtype=np.uint8) for file in files]
    for file, batch in zip(files, batches, strict=True):
        if batch.size == 0 or batch.size % _CIFAR_RECORD:
            raise _Defect(
                f"{file.name} has {batch.size} bytes, no multiple of {_CIFAR_RECORD} as in CIFAR-10"
            )
    pixels = np.concatenate(batches).reshape(-1, _CIFAR_RECORD)[:, 1:]
    return pixels.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)


def _read_idx(path: Path) -> np.ndarray:
    raw = path.read_bytes()
    raw = gzip.decompress(raw) if path.suffix.lower() == ".gz" else raw
    magic, n, h, w = struct.unpack(">4I", raw[:16])
    if magic != _IDX_IMAGES:
        raise _Defect(f"its IDX magic number is 0x{magic:08x}, but that of images is 0x{_IDX_IMAGES:08x}")
    if len(raw) != 16 + n * h * w:
        raise _Defect(f"its IDX header announces {n} x {h} x {w} bytes of pixels, but {len(raw) - 16} follow")
    return np.frombuffer(raw, dtype=np.uint8, offset=16).reshape(n, h, w)


_READERS: dict[str, Callable[[Path], np.ndarray]] = {
    ".npy": _read_npy,
    ".npz": _read_npz,
    ".bin": _read_cifar,
}
_READERS |= dict.fromkeys((".idx", ".idx.gz", "-ubyte", "-ubyte.gz"), _read_idx)
