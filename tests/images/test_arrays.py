"""From arrays and tensors to a batch (n, h, w, c): which layout is found, what is said, asked and refused."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from image_files import GREY, message
from numpy.testing import assert_array_equal

from fastmoments import memory
from fastmoments.images.arrays import CHANNELS, LAYOUTS
from fastmoments.images.sources import Images, as_images, load_images, normalise

NHWC = [
    (8, 28, 28, 1), (8, 32, 32, 3), (8, 32, 32, 4), (8, 24, 32, 3), (2, 4, 4, 3), (2, 4, 4, 1), (2, 3, 3, 1),
    (8, 8, 8, 2), (8, 6, 4, 2), (8, 8, 8, 64), (8, 4, 4, 16), (8, 3, 3, 2), (5, 1, 1, 12), (5, 1, 1, 3),
    (1, 1, 1, 1), (5, 1, 9, 1), (6, 5, 4, 1),
]  # fmt: skip
NCHW = [
    (8, 1, 28, 28), (8, 3, 32, 32), (8, 4, 32, 32), (8, 3, 24, 32), (2, 3, 4, 4), (2, 1, 4, 4), (2, 1, 3, 3),
    (8, 2, 8, 8), (8, 2, 6, 5), (8, 64, 8, 8), (8, 16, 4, 4), (6, 3, 2, 2), (8, 512, 1, 1), (5, 3, 1, 1),
]  # fmt: skip
UNTOLD = [(8, 3, 32, 3), (8, 1, 28, 3), (8, 3, 3, 3), (8, 8, 8, 8), (8, 5, 7, 6), (8, 2, 9, 2)]


def values(shape):
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


@pytest.mark.parametrize("shape", NHWC)
def test_channels_in_the_last_axis(shape):
    array = values(shape)
    images = load_images(array, None)
    assert_array_equal(images.array, array)
    assert images.notes == (f"array: shape {shape} read as (n, h, w, c).",)
    assert_array_equal(as_images(array).array, array)


@pytest.mark.parametrize("shape", NCHW)
def test_channels_in_the_second_axis(shape):
    array = values(shape)
    images = load_images(array, None)
    assert_array_equal(images.array, array.transpose(0, 2, 3, 1))
    assert images.array.flags.c_contiguous
    assert images.notes == (f"array: shape {shape} read as (n, c, h, w).",)
    drawn, expected = load_images(array, 1, 3), load_images(array.transpose(0, 2, 3, 1), 1, 3, "nhwc")
    assert_array_equal(drawn.array, expected.array)


@pytest.mark.parametrize("shape", UNTOLD)
def test_what_the_shape_does_not_tell_is_asked(shape):
    array = values(shape)
    for function in (load_images, as_images, normalise):
        text = message(function, array)
        assert str(shape) in text and 'layout="nhwc" or "nchw"' in text and "--layout" in text
    assert_array_equal(as_images(array, "nhwc").array, array)
    assert_array_equal(as_images(array, "nchw").array, array.transpose(0, 2, 3, 1))
    assert as_images(array, "nchw").notes == ()


def test_a_torch_batch_of_digits_is_not_cut_in_stripes():
    """It was read as images of 1 x 28 positions with 28 channels."""
    digits = load_images("fashion-mnist", 8).array
    batch = digits.transpose(0, 3, 1, 2)
    assert batch.shape == (8, 1, 28, 28)
    assert_array_equal(normalise(batch), normalise(digits))


@pytest.mark.parametrize("shape", [(32, 32, 3), (4, 4, 3), (480, 640, 3), (480, 640, 4), (28, 30, 4)])
def test_one_image_in_colour_is_asked_about(shape):
    array = values(shape)
    for function in (load_images, as_images):
        text = message(function, array)
        assert "array[None]" in text and "array[..., None]" in text and f"{shape[0]} grey" in text
    assert as_images(array[None]).array.shape == (1, *shape)
    assert as_images(array[..., None], "nhwc").array.shape == (*shape, 1)


@pytest.mark.parametrize("shape", [(8, 28, 28), (6, 5, 4), (3, 32, 32), (1, 4, 4), (5, 3, 3), (7, 2, 1)])
def test_three_axes_are_grey_images(shape):
    images = as_images(values(shape))
    assert images.array.shape == (*shape, 1)
    assert images.notes == (f"array: shape {shape} read as (n, h, w), grey.",)


def test_a_layout_that_would_have_no_effect_is_refused():
    for source in ("fashion-mnist", "synthetic"):
        assert "the order of these axes is known" in message(load_images, source, layout="nchw")
        assert load_images(source, 2, layout="nhwc").array.shape[0] == 2
    assert "known" in message(as_images, load_images(count=2), "nchw")
    assert "layout must be one of auto, nhwc, nchw" in message(load_images, GREY, layout="NCHW")
    assert "layout must be one of" in message(normalise, GREY, layout=None)


# --- tensors ---------------------------------------------------------------------------------------------


class Tensor:
    """What a tensor of PyTorch has and this package uses: gradients and devices that numpy does not take."""

    def __init__(self, array, gradient=True, device="gpu", bits=16):
        self.array, self.gradient, self.device, self.bits = array, gradient, device, bits

    def __array__(self, *args, **kwargs):
        raise RuntimeError("Can't call numpy() on Tensor that requires grad.")

    def detach(self):
        return Tensor(self.array, False, self.device, self.bits)

    def cpu(self):
        return Tensor(self.array, self.gradient, "cpu", self.bits)

    def float(self):
        return Tensor(self.array.astype(np.float32), self.gradient, self.device, 32)

    def numpy(self):
        if self.gradient or self.device != "cpu":
            raise RuntimeError("Can't call numpy() on this tensor.")
        if self.bits < 32:
            raise TypeError("Got unsupported ScalarType BFloat16")
        return self.array


def test_tensors_are_known_by_their_methods():
    array = np.random.default_rng(0).standard_normal((4, 3, 8, 8)).astype(np.float32)
    assert_array_equal(as_images(Tensor(array)).array, array.transpose(0, 2, 3, 1))
    assert_array_equal(as_images([Tensor(each) for each in array]).array, array.transpose(0, 2, 3, 1))
    assert "integers or floats, not bool" in message(as_images, Tensor(array > 0, bits=32))


def test_a_tensor_that_holds_no_numbers_is_refused():
    class Sparse(Tensor):
        def detach(self):
            raise NotImplementedError("Cannot copy out of meta tensor")

    assert "one array of numbers" in message(as_images, Sparse(GREY))


def test_tensors_of_pytorch():
    torch = pytest.importorskip("torch")
    array = np.random.default_rng(0).standard_normal((4, 8, 8, 3)).astype(np.float32)
    tensor = torch.tensor(array).permute(0, 3, 1, 2)
    assert not tensor.is_contiguous()
    for each in (tensor, tensor.contiguous(), tensor.double(), tensor.clone().requires_grad_(), list(tensor)):
        images = load_images(each, 4, seed=1)
        assert_array_equal(images.array, load_images(array, 4, seed=1).array)
        assert "(4, 3, 8, 8) read as (n, c, h, w)" in images.notes[0]
    for dtype in (torch.bfloat16, torch.float16):
        rounded = tensor.to(dtype)
        expected = rounded.float().numpy().transpose(0, 2, 3, 1)
        assert_array_equal(as_images(rounded.requires_grad_()).array, expected)
    whole = (tensor * 20).to(torch.int8)
    assert_array_equal(as_images(whole).array.transpose(0, 3, 1, 2), whole.numpy())
    assert "bool" in message(as_images, tensor > 0)
    assert "complex64" in message(as_images, tensor * 1j)
    assert "one array of numbers" in message(as_images, tensor.to("meta"))
    assert "one array of numbers" in message(as_images, tensor.to_sparse())
    assert "image 2" in message(
        as_images, torch.where(torch.arange(4)[:, None, None, None] == 2, torch.nan, tensor)
    )


# --- values ----------------------------------------------------------------------------------------------


def test_alpha_that_is_the_same_everywhere_is_left_out_and_said():
    array = values((4, 8, 8, 4))
    array[..., 3] = 255
    for given_ in (array, array.transpose(0, 3, 1, 2)):
        images = load_images(given_, 3, seed=2)
        assert_array_equal(images.array, load_images(array[..., :3], 3, seed=2).array)
        assert images.notes[1:] == ("array: alpha, 255 everywhere, is left out.",)
    assert_array_equal(normalise(array), normalise(array[..., :3]))
    kept = Images(array.astype(float), "mine", None)
    assert as_images(kept).array.shape == (4, 8, 8, 4)  # it is what its maker made it


@pytest.mark.parametrize("shape", [(4, 8, 8, 4), (4, 1, 1, 4)])
def test_a_fourth_channel_that_is_no_alpha_stays(shape):
    array = values(shape)
    assert as_images(array).array.shape == shape
    array[..., 3] = 1
    assert as_images(array).array.shape == ((4, 8, 8, 3) if shape[1] > 1 else shape)
    array[:] = 7
    assert as_images(array).array.shape == shape


def test_masked_values_are_not_looked_under():
    array = np.ma.masked_greater(GREY, 250)
    assert "masked" in message(as_images, array)
    assert_array_equal(as_images(np.ma.array(GREY)).array, GREY[..., None])


def test_a_copy_that_does_not_fit_is_refused_before_it_is_made(monkeypatch):
    array = np.broadcast_to(np.uint8(1), (10**6, 1000, 1000, 1))  # 8 TB in float64, one byte as it is
    monkeypatch.setattr(memory, "free_memory", lambda: 10**10)
    text = message(load_images, array, None)
    assert "a batch of 1000000 in float64 takes 8000.00 GB of memory, and 10.00 GB are free" in text
    assert load_images(array, 2).array.shape == (2, 1000, 1000, 1)


# --- any array -------------------------------------------------------------------------------------------

KINDS = ["u1", "i2", "i8", "f2", "f4", "f8", "?", "c8", "U3", "S2", "O", "M8[s]"]


@given(
    hnp.arrays(
        st.sampled_from(KINDS).map(np.dtype),
        hnp.array_shapes(min_dims=0, max_dims=5, min_side=0, max_side=5),
    ),
    st.sampled_from(LAYOUTS),
    st.sampled_from([1.0, 1e-300, 1e-30, 1e30, 1e160, 1e300, np.inf, np.nan]),
    st.booleans(),
)
def test_any_array_gives_a_batch_or_one_sentence(array, layout, scale, fully_connected):
    if array.dtype.kind == "f":
        with np.errstate(all="ignore"):
            array = array * array.dtype.type(scale)
    for function in (as_images, normalise):
        more = (fully_connected,) if function is normalise else ()
        try:
            found = function(array, *more, layout=layout)
        except ValueError as refused:
            text = str(refused)
            assert text.endswith(".") and ". " not in text and "\n" not in text
            continue
        assert array.dtype.kind in "uif" and array.size and array.ndim in (3, 4)
        found = getattr(found, "array", found)
        assert np.isfinite(found).all() and found.dtype == np.float64 and len(found) == len(array)


@given(
    hnp.arrays(
        st.sampled_from(["u1", "i4", "f4", "f8"]).map(np.dtype),
        st.tuples(st.integers(1, 4), st.integers(5, 9), st.integers(5, 9), st.sampled_from(CHANNELS)),
        elements={"min_value": 0, "max_value": 100},
    ),
    st.sampled_from([1.0, 1e-300, 1e160, 1e300]),
    st.booleans(),
)
def test_both_orders_give_the_same_bits(array, scale, fully_connected):
    """Said or found out: sides of 5 and more, and 1, 3 or 4 channels, tell the layout."""
    array = array * scale if array.dtype == np.float64 else array
    moved = array.transpose(0, 3, 1, 2)
    outcomes = []
    for batch, layout in ((array, "nhwc"), (array, "auto"), (moved, "nchw"), (moved, "auto")):
        for each in (batch, np.ascontiguousarray(batch), np.asfortranarray(batch)):
            try:
                found = normalise(each, fully_connected, layout)
                outcomes.append((found.shape, found.tobytes()))
            except ValueError as refused:
                outcomes.append(str(refused))
    assert len(set(outcomes)) == 1
