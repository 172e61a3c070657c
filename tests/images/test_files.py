"""Arrays in files: every format, and what is refused and in which words."""

import contextlib
import gzip
import os
import pickle
import stat
import struct
import tracemalloc
import zipfile

import numpy as np
import pytest
from image_files import COLOUR, GREY, cifar, damaged, idx, message, npy, npz
from numpy.testing import assert_array_equal

from fastmoments import memory
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
    "text.npy": (npy(np.full((6, 5, 4), "a")), ["integers or floats", "<U1"]),
    "dates.npy": (npy(GREY.astype("M8[s]")), ["integers or floats", "datetime64"]),
    "empty-side.npy": (npy(GREY[:, :0]), ["at least 1", "(6, 0, 4)"]),
    "infinite.npz": (npz(x=np.where(np.arange(6) == 4, np.inf, 1.0)[:, None, None]), ["image 4", "infinite"]),
    "long-header.npy": (b"\x93NUMPY\x02\x00" + struct.pack("<I", 10**9) + b" " * 99, ["header is longer"]),
    "flat.npy": (npy(GREY[0]), ["(n, h, w, c)", "(5, 4)"]),
    "scalar.npy": (npy(np.float64(1)), ["(n, h, w, c)", "()"]),
    "none.npy": (npy(GREY[:0]), ["at least 1", "(0, 5, 4)"]),
    "nan.npy": (npy(np.where(np.arange(6) == 4, np.nan, 1.0)[:, None, None]), ["nan.npy: image 4", "NaN"]),
    "truncated.npz": (npz(images=GREY)[:-30], ["cannot read", "damaged"]),
    "bytes.npz": (damaged(npz(images=GREY)), ["cannot read", "damaged"]),
    "objects.npz": (npz(images=np.array([{}])), ["pickled", "never loaded"]),
    "keys.npz": (npz(x_train=GREY, y_train=GREY), ["'images'", "'x_train', 'y_train'", "file.npz:x_train"]),
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


def test_a_member_of_an_archive(tmp_path):
    path = tmp_path / "all.npz"
    path.write_bytes(npz(x_train=COLOUR, x_test=COLOUR[::-1], y=np.arange(6)))
    for source in (f"{path}:x_test", tmp_path / "all.npz:x_test"):
        images = load_images(source, None)
        assert_array_equal(images.array, COLOUR[::-1])
        assert images.source == "all.npz:x_test"
    text = message(load_images, f"{path}:x_tset")
    assert "it has no array 'x_tset' but 'x_train', 'x_test', 'y'" in text
    assert "shape" in message(load_images, f"{path}:y")
    assert "no file or folder" in message(load_images, f"{tmp_path}/none.npz:y")
    path.write_bytes(npz(**{f"a{number}": GREY for number in range(30)}))
    assert "'a7' and 22 more; name one, as in file.npz:a0" in message(load_images, path)


def test_the_only_array_of_an_archive_needs_no_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "one.npz").write_bytes(npz(data=COLOUR.transpose(0, 3, 1, 2)))
    images = load_images("one.npz", None)
    assert_array_equal(images.array, COLOUR)
    assert (images.source, images.notes) == (
        "one.npz", ("one.npz: shape (6, 3, 32, 32) read as (n, c, h, w).",),
    )  # fmt: skip
    assert_array_equal(load_images("one.npz:data", None, layout="nchw").array, COLOUR)
    (tmp_path / "a.npz:b.npy").write_bytes(npy(GREY))  # a file of that name comes first
    assert_array_equal(load_images("a.npz:b.npy", None).array, GREY[..., None])


# --- sizes -----------------------------------------------------------------------------------------------


def bomb(path, number):
    """A file of so many images of 1000 x 1000 zeros, a thousand times smaller."""
    with contextlib.ExitStack() as stack:
        if path.suffix == ".npz":
            archive = stack.enter_context(zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED))
            file = stack.enter_context(archive.open("images.npy", "w"))
            header = {"shape": (number, 1000, 1000), "fortran_order": False, "descr": "|u1"}
            np.lib.format.write_array_header_1_0(file, header)
        else:
            file = stack.enter_context(gzip.open(path, "wb"))
            file.write(struct.pack(">4I", 0x803, number, 1000, 1000))
        for _ in range(number):
            file.write(bytes(10**6))
    assert path.stat().st_size < 1100 * number


def peak(function, *args):
    tracemalloc.start()
    try:
        return function(*args), tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("name", ["bomb.npz", "bomb.idx.gz"])
def test_of_a_large_file_only_the_chosen_images_are_kept(tmp_path, monkeypatch, name):
    monkeypatch.setattr(memory, "free_memory", lambda: 10**8)
    bomb(tmp_path / name, 150)
    images, took = peak(load_images, tmp_path / name, 2)
    assert images.array.shape == (2, 1000, 1000, 1) and took < 4e7
    text, took = peak(message, load_images, tmp_path / name, None)
    assert "a batch of 150 in float64 takes 1.20 GB of memory, and 100 MB are free" in text and took < 5e6


def test_an_array_in_the_order_of_fortran_must_fit_as_a_whole(tmp_path, monkeypatch):
    np.savez_compressed(tmp_path / "a.npz", np.asfortranarray(np.arange(10**6).reshape(100, 100, 100)))
    expected = np.arange(10**6).reshape(100, 100, 100, 1)
    assert_array_equal(load_images(tmp_path / "a.npz", None).array, expected)
    assert_array_equal(load_images(tmp_path / "a.npz", 3, 1).array, load_images(expected, 3, 1).array)
    monkeypatch.setattr(memory, "free_memory", lambda: 10**6)
    assert "what it announces takes 8 MB of memory, and 1 MB are free" in message(
        load_images, tmp_path / "a.npz", 3
    )


@pytest.mark.parametrize("count", [2, None])
def test_no_more_is_read_than_a_header_announces(tmp_path, count):
    """120 bytes of pixels by the header, and hundreds of millions behind them; or as many of the header."""
    (tmp_path / "long.idx.gz").write_bytes(gzip.compress(idx(GREY) + bytes(3 * 10**8), 1))
    for name, text in (
        ("long", npy(GREY) + bytes(10**8)),
        ("header", b"\x93NUMPY\x02\x00" + struct.pack("<I", 10**8) + b" " * 10**8),
    ):
        with zipfile.ZipFile(tmp_path / f"{name}.npz", "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("images.npy", text)
    for name, words in (
        ("long.idx.gz", "6 x 5 x 4 x 1 values, 120 bytes, but at least 121 follow"),
        ("long.npz", "6 x 5 x 4 values, 120 bytes, but at least 121 follow"),
        ("header.npz", "header is longer"),
    ):
        said, took = peak(message, load_images, tmp_path / name, count)
        assert words in said and took < 5e6


def test_large_cifar_is_refused_before_it_is_read(tmp_path, monkeypatch):
    (tmp_path / "data_batch_1.bin").write_bytes(cifar(COLOUR))
    monkeypatch.setattr(memory, "free_memory", lambda: 10_000)
    for source in (tmp_path, tmp_path / "data_batch_1.bin"):
        assert "what it announces takes" in message(load_images, source)


@pytest.mark.parametrize("name", ["a.npy", "a.npz", "a.bin", "a.idx", "a.idx.gz", "a-ubyte", "a.png"])
def test_a_pipe_is_refused_at_once(tmp_path, name):
    os.mkfifo(tmp_path / name)
    (tmp_path / f"link-{name}").symlink_to(tmp_path / name)
    for path in (tmp_path / name, tmp_path / f"link-{name}"):
        assert "only regular files are read" in message(load_images, path)
        assert stat.S_ISFIFO(os.stat(path).st_mode)


def test_a_pipe_in_a_folder_is_refused_at_once(tmp_path):
    (tmp_path / "data_batch_1.bin").write_bytes(cifar(COLOUR))
    os.mkfifo(tmp_path / "data_batch_2.bin")
    assert "only regular files are read" in message(load_images, tmp_path)


@pytest.mark.parametrize("name", ["a.npy", "a.npz", "a.bin", "a.png"])
def test_a_folder_is_no_file_whatever_its_name(tmp_path, name):
    (tmp_path / name).mkdir()
    assert "the folder has no PNG or JPEG files" in message(load_images, tmp_path / name)
