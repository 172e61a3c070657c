"""Arrays in files: every format, and what is refused and in which words."""

import gzip
import pickle
import struct
import tracemalloc
import zipfile

import numpy as np
import pytest
from image_files import COLOUR, GREY, cifar, damaged, idx, message, npy, npz
from numpy.testing import assert_array_equal

from fastmoments.images.sources import load_images


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("grey.npy", npy(GREY), GREY[..., np.newaxis]),
        ("colour.npy", npy(COLOUR), COLOUR),
        ("fortran.npy", npy(np.asfortranarray(COLOUR)), COLOUR),
        ("big-endian.npy", npy(GREY.astype(">i4") - 300), GREY[..., np.newaxis] - 300.0),
        ("half.NPY", npy(COLOUR.astype(np.float16) / 2), COLOUR / 2),
        ("colour.npz", npz(images=COLOUR, labels=np.arange(6)), COLOUR),
        ("cifar.bin", cifar(COLOUR), COLOUR),
        ("train-images-idx3-ubyte", idx(GREY), GREY[..., np.newaxis]),
        ("t10k-images.idx3-ubyte.gz", gzip.compress(idx(GREY)), GREY[..., np.newaxis]),
        ("digits.idx", idx(GREY), GREY[..., np.newaxis]),
        ("digits.idx.gz", gzip.compress(idx(GREY)), GREY[..., np.newaxis]),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_every_file_format_round_trips(tmp_path, name, content, expected):
    path = tmp_path / name
    path.write_bytes(content)
    for source in (path, str(path)):
        images = load_images(source, count=None)
        assert images.array.dtype == np.float64
        assert images.source == name
        assert_array_equal(images.array, expected)
    drawn = load_images(path, count=4, seed=3)
    assert_array_equal(drawn.array, load_images(expected, count=4, seed=3).array)


def test_folder_of_cifar_batches_is_read_in_order(tmp_path):
    for number, part in ((2, COLOUR[2:]), (1, COLOUR[:2])):
        (tmp_path / f"data_batch_{number}.bin").write_bytes(cifar(part))
    (tmp_path / "test_batch.bin").write_bytes(cifar(COLOUR))
    images = load_images(tmp_path, count=None)
    assert_array_equal(images.array, COLOUR)
    assert images.source == tmp_path.name


def test_large_npy_is_read_only_where_needed(tmp_path):
    np.save(tmp_path / "large.npy", np.zeros((500, 200, 200), dtype=np.uint8))  # 20 MB
    tracemalloc.start()
    load_images(tmp_path / "large.npy", count=2)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2e6


FILES = {
    "truncated.npy": (npy(GREY)[:-10], ["cannot read", "truncated.npy", "cut short"]),
    "empty.npy": (b"", ["cannot read", "damaged"]),
    "header.npy": (npy(GREY)[:40], ["cannot read", "damaged"]),
    "objects.npy": (npy(np.array([GREY, None], dtype=object)), ["pickled", "never loaded"]),
    "pickle.npy": (pickle.dumps(GREY), ["not what its name says"]),
    "zip-inside.npy": (npz(images=GREY), ["not what its name says"]),
    "complex.npy": (npy(GREY * 1j), ["integers or floats", "complex128"]),
    "bool.npy": (npy(GREY > 9), ["integers or floats", "bool"]),
    "structured.npy": (npy(np.zeros((2, 2, 2), dtype="u1, f4")), ["integers or floats"]),
    "flat.npy": (npy(GREY[0]), ["(n, h, w, c)", "(5, 4)"]),
    "scalar.npy": (npy(np.float64(1)), ["(n, h, w, c)", "()"]),
    "none.npy": (npy(GREY[:0]), ["at least 1", "(0, 5, 4)"]),
    "nan.npy": (npy(np.where(np.arange(6) == 4, np.nan, 1.0)[:, None, None]), ["nan.npy: image 4", "NaN"]),
    "truncated.npz": (npz(images=GREY)[:-30], ["cannot read", "damaged"]),
    "bytes.npz": (damaged(npz(images=GREY)), ["cannot read", "damaged"]),
    "objects.npz": (npz(images=np.array([{}])), ["pickled", "never loaded"]),
    "keys.npz": (npz(x_train=GREY, y_train=GREY), ["'images'", "'x_train', 'y_train'"]),
    "no-keys.npz": (npz(), ["'images'", "nothing"]),
    "not-a-zip.npz": (npy(GREY), ["not what its name says"]),
    "short.bin": (cifar(COLOUR)[:-1], ["18437 bytes", "3073"]),
    "empty.bin": (b"", ["0 bytes", "3073"]),
    "labels.idx": (struct.pack(">2I", 0x801, 8) + bytes(8), ["0x00000801", "0x00000803"]),
    "short.idx": (idx(GREY)[:-1], ["6 x 5 x 4", "119"]),
    "long.idx": (idx(GREY) + b"0", ["6 x 5 x 4", "121"]),
    "header.idx": (idx(GREY)[:9], ["cut short"]),
    "no-images-ubyte": (idx(GREY[:0]), ["at least 1"]),
    "truncated.idx.gz": (gzip.compress(idx(GREY))[:-12], ["cut short"]),
    "plain.idx.gz": (idx(GREY), ["not what its name says"]),
    "photo.gif": (b"", ["photo.gif", "must end in", ".npz", ".png"]),
}


@pytest.mark.parametrize("name", FILES)
def test_bad_file_is_refused_in_one_sentence(tmp_path, name):
    content, words = FILES[name]
    (tmp_path / name).write_bytes(content)
    text = message(load_images, tmp_path / name, count=None)
    assert all(word in text for word in words), text


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("grey.npy", npy(GREY)),
        ("grey.npz", npz(images=GREY)),
        ("grey.idx", idx(GREY)),
        ("grey.idx.gz", gzip.compress(idx(GREY))),
        ("one.bin", cifar(COLOUR[:1])),
    ],
)
def test_every_truncation_is_refused(tmp_path, name, content):
    for length in range(0, len(content), 7):
        (tmp_path / name).write_bytes(content[:length])
        assert "cannot read" in message(load_images, tmp_path / name, count=None)


def test_npz_member_that_is_no_array_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "text.npz", "w") as archive:
        archive.writestr("images", "no .npy suffix and no array")
    assert "cannot read" in message(load_images, tmp_path / "text.npz")
