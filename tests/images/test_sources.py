"""Images of every source, what is refused and in which words, and the properties of the normalisation."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from image_files import COLOUR, GREY, message
from numpy.testing import assert_allclose, assert_array_equal

from fastmoments.images.sources import Images, as_images, load_images, normalise

# --- sources ---------------------------------------------------------------------------------------------


def test_embedded_sample_is_the_default():
    images = load_images()
    assert (images.array.shape, images.array.dtype) == ((16, 28, 28, 1), np.float64)
    assert (images.source, images.seed) == ("fashion-mnist", 0)
    sample = load_images("fashion-mnist", count=None)
    assert sample.array.shape == (256, 28, 28, 1) and sample.seed is None
    assert (sample.array.min(), sample.array.max()) == (0, 255)
    assert len(np.unique(sample.array, axis=0)) > 250


def test_a_name_is_never_a_path_and_a_path_never_a_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "fashion-mnist").write_bytes(b"not images")
    assert load_images("fashion-mnist").source == "fashion-mnist"
    assert "must end in" in message(load_images, tmp_path / "fashion-mnist")


@given(st.integers(1, 6), st.integers(0, 2**64))
def test_draw_is_without_replacement_and_nested(count, seed):
    drawn = load_images(COLOUR, count, seed)
    assert (drawn.source, drawn.seed) == ("array", seed)
    assert len({image.tobytes() for image in drawn.array}) == count
    assert {image.tobytes() for image in drawn.array} <= {image.astype(float).tobytes() for image in COLOUR}
    assert_array_equal(drawn.array, load_images(COLOUR, 6, seed).array[:count])


def test_seed_decides_the_draw():
    first, other = load_images(count=8, seed=1).array, load_images(count=8, seed=2).array
    assert_array_equal(first, load_images(count=8, seed=1).array)
    assert not np.array_equal(first, other)


# --- synthetic -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("synthetic", (16, 16, 3)),
        ("synthetic:8x12", (8, 12, 3)),
        ("synthetic:5x7x2", (5, 7, 2)),
        ("synthetic:1x1x4", (1, 1, 4)),
    ],
)
def test_synthetic_shape_and_seed(name, shape):
    images = load_images(name, count=6, seed=5)
    assert (images.array.shape, images.source, images.seed) == ((6, *shape), name, 5)
    assert_array_equal(images.array[:2], load_images(name, count=2, seed=5).array)
    assert not np.isclose(images.array, load_images(name, count=6, seed=6).array).any()


def test_synthetic_statistics():
    n, size = 1000, 16
    x = load_images(f"synthetic:{size}x{size}x2", count=n, seed=0).array

    def z(per_image):
        return per_image.mean() / (per_image.std(ddof=1) / np.sqrt(n))

    assert abs(z(x.mean(axis=(1, 2, 3)))) < 4
    assert abs(z((x**2).mean(axis=(1, 2, 3)) - 1.0)) < 4
    assert abs(z((x[..., 0] * x[..., 1]).mean(axis=(1, 2)))) < 4  # the channels are independent
    across_edge, inside = x[:, :, 0] * x[:, :, -1], x[:, :, 7] * x[:, :, 8]
    assert abs(z((across_edge - inside).mean(axis=(1, 2)))) < 4  # and the fields periodic

    frequency = np.hypot(np.fft.fftfreq(size)[:, None], np.fft.fftfreq(size))
    power = (np.abs(np.fft.fft2(x, axes=(1, 2))) ** 2).mean(axis=(0, 3))
    brightness = power[0, 0] / power[[0, 1], [1, 0]].mean()  # as strong as the longest waves
    assert abs(brightness - 1.0) < 4 * np.sqrt(1 / n + 1 / (4 * n))

    low = (frequency > 0) & (frequency < 0.15)
    steepness = np.log(power[low].mean() / power[~low & (frequency > 0)].mean())
    expected = np.log((frequency[low] ** -2).mean() / (frequency[~low & (frequency > 0)] ** -2).mean())
    assert abs(steepness - expected) < 4 * np.sqrt(2 / (2 * n * low.sum()))  # half the waves are independent


# --- what is refused -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "options", "words"),
    [
        ("fashion_mnist", {}, ["unknown", "did you mean 'fashion-mnist'", "synthetic", "path"]),
        ("Fashion-MNIST", {}, ["did you mean 'fashion-mnist'"]),
        ("synthetik:8x8", {}, ["did you mean 'synthetic"]),
        ("", {}, ["unknown images ''"]),
        ("bad\0name", {}, ["unknown"]),
        ("missing.npy", {}, ["no file or folder 'missing.npy'"]),
        ("missing/folder", {}, ["no file or folder"]),
        (".", {}, ["folder", "data_batch_*.bin"]),
        ("synthetic:", {}, ["HxWxC", "16x16x3"]),
        ("synthetic:8", {}, ["HxWxC"]),
        ("synthetic:8x0", {}, ["from 1 up"]),
        ("synthetic:8x-8", {}, ["HxWxC"]),
        ("synthetic:8x8x3x1", {}, ["HxWxC"]),
        ("synthetic:99999x99999", {}, ["limit"]),
        ("synthetic", {"count": None}, ["no end", "None"]),
        (GREY, {"count": 7}, ["count is 7", "only 6"]),
        ("fashion-mnist", {"count": 257}, ["fashion-mnist", "only 256"]),
        *(
            (GREY, {"count": bad}, ["count", "positive whole number", repr(bad)])
            for bad in (0, -1, 2.0, "4", True)
        ),
        *((GREY, {"seed": bad}, ["seed", "of at least 0", repr(bad)]) for bad in (-1, 0.5, None, False, "a")),
        ([[[1, 2], [3]]], {}, ["one array"]),
        ([], {}, ["(n, h, w, c)"]),
        (b"bytes", {}, ["integers or floats"]),
        (None, {}, ["integers or floats"]),
    ],
)
def test_bad_argument_is_refused_in_one_sentence(tmp_path, monkeypatch, source, options, words):
    monkeypatch.chdir(tmp_path)
    text = message(load_images, source, **options)
    assert all(word in text for word in words), text


def test_bad_image_is_named_by_its_place_in_the_source():
    array = np.ones((6, 2, 2))
    array[5, 1, 0] = -np.inf
    assert "array: image 5" in message(load_images, array, count=6, seed=0)
    assert "array: image 5" in message(as_images, array)


def test_numpy_integers_are_numbers():
    drawn = load_images(GREY, count=np.int64(3), seed=np.uint8(4))
    assert_array_equal(drawn.array, load_images(GREY, 3, 4).array)
    assert type(drawn.seed) is int


# --- as_images -------------------------------------------------------------------------------------------


def test_as_images_adds_the_channel_axis_and_copies():
    array = GREY.astype(float)
    images = as_images(array)
    assert (images.source, images.seed) == ("array", None)
    assert_array_equal(images.array, array[..., np.newaxis])
    array[:] = 0.0
    assert images.array.any()
    assert_array_equal(as_images(GREY.tolist()).array, images.array)


def test_as_images_keeps_the_origin_and_checks_again():
    loaded = load_images(count=3, seed=9)
    again = as_images(loaded)
    assert (again.source, again.seed) == ("fashion-mnist", 9)
    assert_array_equal(again.array, loaded.array)
    assert "mine: every axis" in message(as_images, Images(np.ones((0, 2, 2, 1)), "mine", None))


@pytest.mark.skipif(np.finfo(np.longdouble).max == np.finfo(float).max, reason="no wider float here")
def test_values_beyond_float64_are_not_finite():
    wide = np.array([1, np.finfo(np.longdouble).max], dtype=np.longdouble)
    assert "image 1" in message(as_images, wide.reshape(2, 1, 1))


# --- normalisation ---------------------------------------------------------------------------------------

batches = hnp.arrays(
    np.int64,
    st.tuples(st.integers(2, 5), st.integers(1, 4), st.integers(1, 4), st.integers(1, 3)),
    elements=st.integers(0, 255),
)


def varying(batch, fully_connected):
    """Which channels, or features, are not constant."""
    flat = batch.reshape((len(batch), -1) if fully_connected else (-1, batch.shape[-1]))
    return np.array([len(np.unique(column)) > 1 for column in flat.T])


@given(batches, st.booleans())
def test_mean_is_zero_and_variance_one(batch, fully_connected):
    carries_signal = varying(batch, fully_connected)
    assume(carries_signal.any())
    x = normalise(batch, fully_connected, "nhwc")
    assert x.shape == ((len(batch), 1, 1, batch[0].size) if fully_connected else batch.shape)
    assert_allclose(x.mean(axis=(0, 1, 2)), 0.0, atol=1e-14)
    assert_allclose(x.var(axis=(0, 1, 2)), np.where(carries_signal, 1.0, 0.0), rtol=1e-13)
    assert not x[..., ~carries_signal].any()


@given(batches, st.booleans(), st.integers(1, 1000), st.integers(-(10**12), 10**12))
def test_affine_change_of_pixel_values_leaves_the_signal(batch, fully_connected, scale, offset):
    assume(varying(batch, fully_connected).any())
    x = normalise(batch, fully_connected, "nhwc")
    assert_allclose(normalise(scale * batch + offset, fully_connected, "nhwc"), x, rtol=1e-11, atol=1e-13)
    assert_allclose(normalise(-scale * batch + offset, fully_connected, "nhwc"), -x, rtol=1e-11, atol=1e-13)


@given(batches, st.booleans(), st.integers(0, 99))
def test_order_of_images_does_not_matter(batch, fully_connected, seed):
    assume(varying(batch, fully_connected).any())
    order = np.random.default_rng(seed).permutation(len(batch))
    x = normalise(batch, fully_connected, "nhwc")
    assert_allclose(normalise(batch[order], fully_connected, "nhwc"), x[order], rtol=1e-12, atol=1e-14)


def test_fully_connected_flattens_rows_columns_channels():
    batch = COLOUR[:, :3, :2]
    x, first = normalise(batch, True, "nhwc"), batch[:, 2, 1, 0].astype(float)
    assert_allclose(x[:, 0, 0, (2 * 2 + 1) * 3], (first - first.mean()) / first.std(), rtol=1e-13)


@pytest.mark.parametrize("scale", [1e-320, 1e-200, 1e200, 3e305])
def test_extreme_pixel_values_neither_overflow_nor_underflow(scale):
    batch = np.array([1.0, 2.0, 4.0, 8.0])[:, None, None] * scale
    x = normalise(batch)
    assert_allclose(x[0, 0, 0, 0], (1 - 3.75) / np.sqrt(7.1875), rtol=1e-3)
    assert_allclose([x.mean(), x.var()], [0, 1], atol=1e-13)


@pytest.mark.parametrize("fully_connected", [False, True])
def test_large_offset_leaves_no_mean_behind(fully_connected):
    batch = load_images("synthetic:8x8x2", count=50).array.round(1) * 10  # whole numbers: the sum is exact
    x = normalise(batch + 1e12, fully_connected)
    assert_allclose(x, normalise(batch, fully_connected), rtol=0, atol=1e-13)


def test_constant_channel_becomes_exactly_zero():
    batch = np.full((7, 3, 3, 2), 0.1)  # the mean of 63 times 0.1 is not 0.1
    batch[..., 1] = np.arange(63.0).reshape(7, 3, 3)
    x = normalise(batch)
    assert not x[..., 0].any()
    assert_allclose(x[..., 1].var(), 1.0)


@pytest.mark.parametrize(
    ("batch", "fully_connected", "words"),
    [
        (np.full((3, 2, 2), 0.1), False, "one channel"),
        (np.full((3, 2, 2), 0.1), True, "two different images"),
        (GREY[:1], True, "two different images"),
        (np.repeat(GREY[:1], 3, axis=0), True, "two different images"),
        (np.full((3, 2, 2), np.nan), False, "image 0"),
    ],
)
def test_batch_without_signal_is_refused(batch, fully_connected, words):
    assert words in message(normalise, batch, fully_connected)
