"""A batch as engines take it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from image_files import message

from fastmoments.images.batches import LEAST, MOST, Batch
from fastmoments.images.sources import normalise

ARRAY = np.random.default_rng(0).standard_normal((6, 3, 2, 2)) + 1.5


@pytest.mark.parametrize("flattened", [False, True])
@pytest.mark.parametrize("normalised", [False, True])
def test_values_have_the_shape_that_is_said_before_they_are_computed(normalised, flattened):
    batch = Batch(ARRAY, normalised, flattened)
    assert batch.values.shape == batch.shape == ((6, 1, 1, 12) if flattened else (6, 3, 2, 2))
    expected = normalise(ARRAY, flattened, "nhwc") if normalised else ARRAY
    np.testing.assert_array_equal(batch.values.ravel(), expected.ravel())


@given(st.lists(st.integers(0, 5), min_size=2, max_size=6, unique=True), st.booleans())
def test_some_images_are_a_batch_of_their_own(indices, flattened):
    """Normalised by their own mean and variance, not by those of all images."""
    chosen = Batch(ARRAY, True, flattened).chosen(np.array(indices))
    np.testing.assert_array_equal(chosen, Batch(ARRAY[indices], True, flattened).values)
    np.testing.assert_allclose(chosen.mean((0, 1, 2)), 0.0, atol=1e-12)
    np.testing.assert_allclose((chosen**2).mean((0, 1, 2)), 1.0, rtol=1e-12)


def test_images_as_they_are_keep_their_mean():
    np.testing.assert_array_equal(
        Batch(ARRAY, False, True).chosen(np.array([4, 1])), ARRAY[[4, 1]].reshape(2, 1, 1, -1)
    )


def test_images_as_they_are_have_a_scale_whose_powers_are_numbers():
    array = ARRAY / np.abs(ARRAY).max()
    for scale in (LEAST, MOST):
        assert Batch(array * scale, False, False).values.any()
    for scale in (1e-300, 1e-160, 1e160, 1e300):
        assert "1e-20 to 1e+20" in message(Batch, array * scale, False, False)
        np.testing.assert_allclose(Batch(array * scale, True, False).values, Batch(array, True, False).values)
