"""Images in: the embedded sample, synthetic fields, files and arrays, and their normalisation.

Every source ends as the same record, `Images`: a float64 batch (n, h, w, c) that knows where it came from.
Nothing here unpickles: a file is bytes in a documented layout or it is refused.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from ..validation import one_of, whole
from .arrays import LAYOUTS, as_array, check_fits, check_real, in_float64, order_of, without_alpha
from .files import OF_ARRAYS, OF_IMAGES, Defect, Packed, packed_npz, read_cifar, read_npz
from .loaders import handed_out, is_loader, taken
from .pictures import ENDINGS, Pictures, as_size

#: Images of a batch, if nothing is said.
COUNT = 16
NAMES = ("fashion-mnist", "synthetic", "synthetic:HxW", "synthetic:HxWxC")

_MEMBER = re.compile(r"(.+\.npz):(.+)", re.IGNORECASE | re.DOTALL)
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
    notes : tuple of str
        What was taken for granted, in sentences: the order of the axes, an alpha channel left out.
    covariance : ndarray, optional
        Of Gaussian images, whose mean the one in `array` is (`gaussian_images`).
    """

    array: np.ndarray
    source: str
    seed: int | None
    notes: tuple[str, ...] = ()
    covariance: np.ndarray | None = None


def load_images(
    source: str | os.PathLike[str] | ArrayLike = "fashion-mnist", count: int | None = COUNT, seed: int = 0,
    layout: str = "auto", size: int | str | tuple[int, int] | None = None,
) -> Images:  # fmt: skip
    """Load a batch of images from a name, a path or an array.

    Parameters
    ----------
    source : str, path-like or array_like
        * "fashion-mnist": the embedded sample, 256 images of 28 x 28 x 1;
        * "synthetic", "synthetic:HxW" or "synthetic:HxWxC" (by default 16 x 16 x 3): Gaussian random fields,
          periodic, channels independent, power spectrum 1 / frequency^2 as in photographs;
        * a path: `.npy`; `.npz` with one array or the array `images`, or `file.npz:name` for another; `.bin`,
          the binary version of CIFAR-10, or the folder of its data_batch_*.bin; `.idx` or `-ubyte`, the IDX
          format of MNIST, plain or `.gz`; a PNG or JPEG file or a folder of them, sorted by name (Pillow);
        * an array, or a tensor of PyTorch, of shape (n, h, w, c), (n, c, h, w) or (n, h, w);
        * a DataLoader of PyTorch, of whose first batches the first images are taken, or a dataset such as
          those of torchvision, indexed by numbers; of pairs and tables the image is taken.

        A string that is a name is never taken for a path; a `pathlib.Path` always is one.
    count : int or None
        How many images to draw, without replacement; None takes all in their order, of a DataLoader its first
        batch. With the same seed a larger batch begins with the smaller one.
    seed : int
        Seed of the draw, or of the synthetic images.
    layout : {"auto", "nhwc", "nchw"}
        Whether the channels are the last or the second of the four axes of an array. "auto" finds out by
        square images and by an axis of 1, 3 or 4, says what it took in `Images.notes`, and asks where they
        do not tell.
    size : int, "HxW" or (H, W), optional
        Stretch PNG and JPEG images to it; without it they must be of one size.

    Returns
    -------
    Images
        Only the chosen images are kept, and of a `.npy` file and of a folder only they are read. An alpha
        channel that is the same everywhere is left out.

    Raises
    ------
    ValueError
        If the name is unknown, the file missing, damaged or pickled, no regular file or too large for the
        memory that is free, or if images or arguments are invalid.
    ImportError
        If Pillow is needed and missing.
    """
    if count is not None:
        count = whole("count", count, why=" (None: all images)")
    seed = whole("seed", seed, 0)
    one_of("layout", layout, LAYOUTS)
    sides = as_size(size)
    if isinstance(source, str) and source.partition(":")[0] == "synthetic":
        _check_for_arrays(source, layout, size)
        return Images(_synthetic(source, count, seed), source, seed)
    if handed_out(source):
        array, label, known = taken(source, count, seed)
        _check_for_arrays(label, layout if known else "auto", size)
        found = _taken(array, label, "nhwc" if known and array.ndim == 4 else layout, None, seed)
        return replace(found, seed=None if count is None or is_loader(source) else seed)
    held, label, known = _open(source, sides)
    _check_for_arrays(label, layout if known else "auto", None if isinstance(held, Pictures) else size)
    return _taken(held, label, "nhwc" if known else layout, count, seed)


def as_images(images: Images | ArrayLike, layout: str = "auto", gaussian: bool = False) -> Images:
    """Check a batch of images and bring it to float64 and four axes.

    Parameters
    ----------
    images : Images or array_like, shape (n, h, w, c), (n, c, h, w) or (n, h, w)
        Integers or floats.
    layout : {"auto", "nhwc", "nchw"}
        Of an array, as for `load_images`; `Images` are (n, h, w, c).
    gaussian : bool
        Whether they may be a mean and a covariance.

    Returns
    -------
    Images
        A copy, of shape (n, h, w, c); source, seed and notes are kept, or "array", None and what was found.

    Raises
    ------
    ValueError
        If values are not real numbers or not finite, there are not 3 or 4 axes, an axis is empty, or the
        layout does not tell.
    """
    one_of("layout", layout, LAYOUTS)
    if handed_out(images):
        return load_images(images, None if is_loader(images) else min(COUNT, len(images)), layout=layout)  # type: ignore[arg-type]
    if not isinstance(images, Images):
        return _taken(as_array(images, "array"), "array", layout, None, 0)
    if images.covariance is not None and not gaussian:
        raise ValueError(
            "Gaussian images have no values; they are for fastmoments.GivenNetwork, a net with weights."
        )
    _check_for_arrays(images.source, layout, None)
    array = as_array(images.array, images.source)
    order, _ = order_of(array.shape, images.source, "nhwc")
    return replace(images, array=in_float64(array, order, images.source))


def normalise(images: Images | ArrayLike, fully_connected: bool = False, layout: str = "auto") -> np.ndarray:
    """Bring each channel, or each feature, to mean 0 and variance 1 over the batch (no Bessel correction).

    The mean square of the signal, and its variance, are then 1 at the input of the net, up to the constant
    channels or features: they carry no signal and become 0.

    Parameters
    ----------
    images : Images or array_like, shape (n, h, w, c), (n, c, h, w) or (n, h, w)
    fully_connected : bool
        Flatten each image in (h, w, c) order first; each feature is then normalised over the images.
    layout : {"auto", "nhwc", "nchw"}
        As for `as_images`.

    Returns
    -------
    ndarray of float64, shape (n, h, w, c), or (n, 1, 1, h*w*c) if fully connected

    Raises
    ------
    ValueError
        If nothing varies at all, or for the reasons of `as_images`.
    """
    x = as_images(images, layout).array
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


def _taken(
    held: np.ndarray | Packed | Pictures, label: str, layout: str, count: int | None, seed: int
) -> Images:
    """Draw images from what holds them, or take all, and bring them to the order (n, h, w, c)."""
    order, notes = order_of(held.shape, label, layout)
    number = held.shape[0]
    if count is not None and count > number:
        there = f"are only {number} images" if number > 1 else "is only 1 image"
        raise ValueError(f"{label}: count is {count}, but there {there}.")
    check_fits(number if count is None else count, held.shape, label)
    chosen = None if count is None else np.random.default_rng(seed).permutation(number)[:count]
    with _refusing(label):
        if isinstance(held, Pictures):
            array, notes = held.take(chosen)
        elif isinstance(held, Packed):
            array = held.take(chosen)
        else:
            array = held if chosen is None else held[chosen]
    batch, more = without_alpha(in_float64(array, order, label, chosen))
    said = tuple(f"{label}: {note}" for note in (*notes, *more))
    return Images(batch, label, None if count is None else seed, said)


def _check_for_arrays(label: str, layout: str, size: object) -> None:
    """Refuse options that would have no effect."""
    if layout == "nchw":
        raise ValueError(f'{label}: the order of these axes is known; layout="nchw" is for other arrays.')
    if size is not None:
        raise ValueError(f"{label}: only PNG and JPEG images are brought to a size.")


def _open(
    source: str | os.PathLike[str] | ArrayLike, size: tuple[int, int] | None
) -> tuple[np.ndarray | Packed | Pictures, str, bool]:
    """What holds the images behind a name, a path or an array-like; its label; whether its axes are known.

    They are (n, h, w, c) then; an array, of which only the header may be read yet, may be (n, c, h, w) too.
    """
    if isinstance(source, str):
        if source == "fashion-mnist":
            sample = resources.files(__package__) / "embedded" / "fashion_mnist_256.npz"
            return packed_npz(lambda: sample.open("rb")), source, True
        a_path = "/" in source or os.sep in source or _ending(source) or _MEMBER.fullmatch(source)
        if not (a_path or os.path.exists(source)):
            close = difflib.get_close_matches(source.lower(), NAMES, n=1)
            hint = f" (did you mean {close[0]!r}?)" if close else ""
            raise ValueError(f"unknown images {source!r}{hint}: give one of {', '.join(NAMES)}, or a path.")
    elif not isinstance(source, os.PathLike):
        return as_array(source, "array"), "array", False

    path, member = Path(os.fsdecode(source)), None
    named = _MEMBER.fullmatch(str(path))
    if named and not os.path.exists(path):
        path, member = Path(named[1]), named[2]
    if not os.path.exists(path):
        raise ValueError(f"there is no file or folder {str(path)!r}.")
    label = path.name or str(path)
    with _refusing(str(path)):
        if path.is_dir():
            return _folder(path, size), label, True
        ending = _ending(path.name)
        if ending in ENDINGS:
            return Pictures([path], size), label, True
        if ending in OF_IMAGES:
            return OF_IMAGES[ending](path), label, True
        if ending is None:
            raise Defect(f"its name must end in one of {', '.join(_ENDINGS)}")
        opened = OF_ARRAYS[ending](path) if member is None else read_npz(path, member)
    label = label if member is None else f"{label}:{member}"
    check_real(opened.dtype, label)
    return opened, label, False


def _folder(path: Path, size: tuple[int, int] | None) -> np.ndarray | Pictures:
    """CIFAR-10, or PNG and JPEG files."""
    files = sorted(file for file in path.iterdir() if not file.name.startswith("."))
    if any(file.match("data_batch_*.bin") for file in files):
        return read_cifar(path)
    found = [file for file in files if _ending(file.name) in ENDINGS]
    if not found:
        raise Defect("the folder has no PNG or JPEG files, nor the data_batch_*.bin of CIFAR-10")
    return Pictures(found, size)


_ENDINGS = (*OF_ARRAYS, *OF_IMAGES, *ENDINGS)


def _ending(name: str) -> str | None:
    """The end of a file name that says its format, None if no one fits."""
    return next((ending for ending in _ENDINGS if name.lower().endswith(ending)), None)


@contextmanager
def _refusing(name: str) -> Iterator[None]:
    """Whatever goes wrong while something is read becomes one sentence."""
    try:
        yield
        return
    except (ImportError, MemoryError):
        raise
    except Defect as defect:
        reason = str(defect)
    except Exception as error:  # on damaged bytes numpy, zipfile, gzip and zlib raise a dozen types
        reason = getattr(error, "strerror", None) or "it is damaged, cut short, or not what its name says"
    raise ValueError(f"cannot read {name!r}: {reason}.") from None
