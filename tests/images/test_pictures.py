"""PNG and JPEG files, one and a folder of them: what their values are, what is said, and what is refused."""

import io
import subprocess
import sys
import zlib

import numpy as np
import pytest
from image_files import COLOUR, GREY, message
from numpy.testing import assert_allclose, assert_array_equal

from fastmoments import memory
from fastmoments.images.pictures import as_size
from fastmoments.images.sources import load_images

WITHOUT = """
import sys
sys.modules["PIL"] = None
import fastmoments as fm
try:
    fm.load_images(sys.argv[1])
except ImportError as missing:
    print(missing)
"""


@pytest.fixture(autouse=True, scope="module")
def pillow():
    pytest.importorskip("PIL")


def picture(array, mode=None):
    from PIL import Image

    made = Image.fromarray(np.ascontiguousarray(array))
    return made if mode is None else made.convert(mode)


def png(made, **options):
    made.save(stream := io.BytesIO(), "PNG", **options)
    return stream.getvalue()


@pytest.fixture
def folder(tmp_path):
    """Six PNG files whose names are not in the order in which they are written."""
    for place in (3, 0, 5, 1, 4, 2):
        picture(COLOUR[place]).save(tmp_path / f"{place}.png")
    return tmp_path


def test_a_folder_is_read_in_the_order_of_names(folder):
    (folder / "labels.txt").write_text("cat, dog")
    (folder / ".hidden.png").write_bytes(b"no picture")
    (folder / "more").mkdir()
    images = load_images(folder, None)
    assert_array_equal(images.array, COLOUR)
    assert (images.source, images.notes) == (folder.name, ())
    assert_array_equal(load_images(folder, 4, 3).array, load_images(COLOUR, 4, 3).array)
    assert load_images(folder, 4, 3).seed == 3
    assert "count is 7, but there are only 6 images" in message(load_images, folder, 7)
    assert "order of these axes is known" in message(load_images, folder, layout="nchw")


def test_only_the_chosen_ones_are_decoded(folder):
    (folder / "9.png").write_bytes((folder / "0.png").read_bytes()[:-100])  # its header is whole
    drawn = next(seed for seed in range(99) if 6 not in np.random.default_rng(seed).permutation(7)[:3])
    assert load_images(folder, 3, drawn).array.shape == (3, 32, 32, 3)
    assert "9.png is damaged, cut short" in message(load_images, folder, None)


def test_one_file(tmp_path):
    picture(COLOUR[0]).save(tmp_path / "one.PNG", "PNG")
    images = load_images(tmp_path / "one.PNG", 1)
    assert_array_equal(images.array, COLOUR[:1])
    assert images.source == "one.PNG"
    assert "count is 2, but there is only 1 image" in message(load_images, tmp_path / "one.PNG", 2)


def test_jpeg(tmp_path):
    smooth = np.linspace(0, 255, 16 * 16).reshape(16, 16).astype(np.uint8)
    picture(smooth).save(tmp_path / "a.jpg", quality=95)
    picture(np.stack([smooth] * 3, -1)).save(tmp_path / "b.JPEG", "JPEG", quality=95)
    images = load_images(tmp_path, None)
    assert images.array.shape == (2, 16, 16, 3)
    assert_allclose(images.array, np.broadcast_to(smooth[..., None], (2, 16, 16, 3)), atol=4)
    picture(np.stack([smooth] * 3, -1), "CMYK").save(tmp_path / "c.jpg", quality=95)
    assert_allclose(load_images(tmp_path / "c.jpg", 1).array[0], images.array[1], atol=6)


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (lambda: picture(GREY[0]), GREY[0][..., None]),
        (lambda: picture(COLOUR[0]), COLOUR[0]),
        (lambda: picture(GREY[0] > 99), 255 * (GREY[0] > 99)[..., None]),
        (lambda: picture(GREY[0].astype(np.uint16) * 257), GREY[0].astype(float)[..., None] * 257),
        (lambda: picture(COLOUR[0] // 64 * 64).quantize(64), COLOUR[0] // 64 * 64),
    ],
    ids=["grey", "colour", "black and white", "16 bits", "palette"],
)
def test_values_are_those_of_the_file(tmp_path, made, expected):
    (tmp_path / "a.png").write_bytes(png(made()))
    images = load_images(tmp_path, None)
    assert_array_equal(images.array[0], expected)
    assert images.notes == ()


def chunk(kind, content):
    return len(content).to_bytes(4, "big") + kind + content + zlib.crc32(kind + content).to_bytes(4, "big")


def test_of_colours_of_sixteen_bits_half_are_read_and_said(tmp_path):
    """Pillow writes none: a PNG by hand, whose lower bytes are all 7."""
    pixels = np.stack([COLOUR[0], np.full_like(COLOUR[0], 7)], axis=-1)  # big-endian
    rows = b"".join(b"\0" + row.tobytes() for row in pixels)
    header = (32).to_bytes(4, "big") * 2 + bytes([16, 2, 0, 0, 0])
    parts = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + parts)
    images = load_images(tmp_path, 1)
    assert_array_equal(images.array, COLOUR[:1])
    assert images.notes == (f"{tmp_path.name}: of 16 bits of colour 8 are read.",)


def test_grey_among_colour(folder):
    picture(GREY[0]).resize((32, 32)).save(folder / "6.png")
    images = load_images(folder, None)
    assert (images.array[6] == images.array[6, ..., :1]).all()
    assert images.notes == (f"{folder.name}: 1 grey ones among those in colour have three equal channels.",)


# --- alpha -----------------------------------------------------------------------------------------------


def with_alpha(array, alpha):
    return np.concatenate([array, np.broadcast_to(np.uint8(alpha), (*array.shape[:2], 1))], axis=2)


@pytest.mark.parametrize("alpha", [255, 128, 0])
def test_alpha_that_is_the_same_everywhere_is_left_out_and_said(tmp_path, alpha):
    for place in range(2):
        picture(with_alpha(COLOUR[place], alpha)).save(tmp_path / f"{place}.png")
    images = load_images(tmp_path, None)
    assert_array_equal(images.array, COLOUR[:2])
    assert images.notes == (f"{tmp_path.name}: alpha, {alpha} everywhere, is left out.",)
    small = load_images(tmp_path, None, size=8).array
    assert_allclose(small.mean((1, 2)), COLOUR[:2].mean((1, 2)), atol=3)  # colours stay under any alpha
    picture(with_alpha(GREY[0][..., None], alpha), "LA").save(tmp_path / "grey.png")
    assert_array_equal(load_images(tmp_path / "grey.png", 1).array[0, ..., 0], GREY[0])


def test_alpha_that_varies_is_refused(tmp_path):
    picture(with_alpha(COLOUR[0], np.arange(32 * 32).reshape(32, 32, 1) % 255)).save(tmp_path / "a.png")
    assert "a.png has transparency that varies; lay it on a background" in message(
        load_images, tmp_path, None
    )
    for name, alpha in (("a", 255), ("b", 254)):
        picture(with_alpha(COLOUR[0], alpha)).save(tmp_path / f"{name}.png")
    assert "b.png has transparency that varies" in message(load_images, tmp_path, None)
    palette = picture(COLOUR[0] // 64 * 64).quantize(64)
    (tmp_path / "b.png").write_bytes(png(palette, transparency=0))
    assert "b.png has transparency that varies" in message(load_images, tmp_path / "b.png", 1)


# --- sizes -----------------------------------------------------------------------------------------------


def test_the_first_two_that_differ_are_named(folder):
    picture(COLOUR[0][:20]).save(folder / "44.png")
    picture(COLOUR[0][:10]).save(folder / "7.png")
    text = message(load_images, folder, 2)
    assert "0.png is 32 x 32, but 44.png 20 x 32; say a size for all, as in 32x32 (--size" in text
    assert load_images(folder, None, size=16).array.shape == (8, 16, 16, 3)
    assert load_images(folder, None, size="12x20").array.shape == (8, 12, 20, 3)
    assert_array_equal(
        load_images(folder, 4, size=(12, 20)).array, load_images(folder, 4, size="12x20").array
    )


@pytest.mark.parametrize(("dtype", "rounding"), [(np.uint8, 0.5), (np.uint16, 0.0)])
def test_a_ramp_stays_a_ramp(tmp_path, dtype, rounding):
    """Rows of 16 equal steps, and columns all alike, stretched by two: h before w, no value out of range."""
    ramp = np.repeat(np.arange(16)[:, None] * 15, 8, axis=1).astype(dtype)
    picture(ramp).save(tmp_path / "a.png")
    found = load_images(tmp_path, 1, size="32x8").array[0, ..., 0]
    assert found.shape == (32, 8)
    expected = 15 * np.clip(np.arange(32) / 2 - 0.25, 0, 15)
    assert_allclose(found, np.repeat(expected[:, None], 8, axis=1), atol=rounding + 1e-3)
    assert_array_equal(load_images(tmp_path, 1, size="16x8").array[0, ..., 0], ramp)


@pytest.mark.parametrize(
    ("size", "sides"),
    [(None, None), (32, (32, 32)), ("32", (32, 32)), ("32x48", (32, 48)), ((32, 48), (32, 48))],
)
def test_sizes(size, sides):
    assert as_size(size) == sides


@pytest.mark.parametrize(
    "size", ["", "x", "32x", "32x32x3", "-1", "0", "0x4", 0, -1, 2.5, True, (), (1, 2, 3), (4, 0)]
)
def test_wrong_sizes(size):
    assert "size must be" in message(as_size, size)


def test_a_size_is_only_for_pictures():
    for source in ("synthetic", "fashion-mnist", GREY):
        assert "only PNG and JPEG images are brought to a size" in message(load_images, source, 2, size=8)


# --- what is refused -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content",
    [
        lambda whole: b"",
        lambda whole: whole[:20],
        lambda whole: whole[:-400],
        lambda whole: whole[:200] + bytes([whole[200] ^ 255]) + whole[201:],
        lambda whole: b"GIF89a" + whole,
        lambda whole: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n",
    ],
    ids=["empty", "header", "cut short", "a byte", "a GIF", "PostScript"],
)
@pytest.mark.parametrize("name", ["a.png", "a.jpg"])
def test_a_damaged_file_is_refused_in_one_sentence(tmp_path, content, name):
    (tmp_path / "0.png").write_bytes(png(picture(COLOUR[0])))
    (tmp_path / name).write_bytes(content(png(picture(COLOUR[0]))))
    for source in (tmp_path, tmp_path / name):
        text = message(load_images, source, None)
        assert text.startswith("cannot read") and f"{name} is damaged, cut short, or no PNG or JPEG" in text


def test_eight_and_sixteen_bits_do_not_mix(tmp_path):
    picture(GREY[0]).save(tmp_path / "a.png")
    picture(GREY[0].astype(np.uint16) * 257).save(tmp_path / "b.png")
    assert "a.png has 8 bits, but b.png 16" in message(load_images, tmp_path, None)


def announcing(side):
    """A grey PNG of so many rows and columns, by its header: of pixels there is hardly one."""
    header = chunk(b"IHDR", side.to_bytes(4, "big") * 2 + bytes([8, 0, 0, 0, 0]))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", bytes(8))


def test_pictures_that_do_not_fit_are_refused_before_they_are_decoded(tmp_path, monkeypatch):
    (tmp_path / "a.png").write_bytes(announcing(10_000))
    monkeypatch.setattr(memory, "free_memory", lambda: 5 * 10**8)
    text = message(load_images, tmp_path, 1)
    assert "a batch of 1 in float64 takes 800 MB of memory, and 500 MB are free" in text
    assert "a.png, 10000 x 10000, takes 800 MB" in message(load_images, tmp_path, 1, size=8)
    (tmp_path / "a.png").write_bytes(announcing(20_000))
    assert "a.png announces more pixels than Pillow decodes" in message(load_images, tmp_path, 1, size=8)


def test_without_pillow_it_says_what_to_install(folder):
    said = subprocess.run(
        [sys.executable, "-P", "-c", WITHOUT, str(folder)], capture_output=True, text=True, check=True
    )
    assert said.stdout == 'PNG and JPEG files need Pillow: pip install "fastmoments[images]".\n'
