"""Images as a mean and a covariance."""

import numpy as np
import pytest

import fastmoments as fm
from fastmoments.images.batches import Batch
from fastmoments.images.gaussian import checked_covariance, is_stationary
from fastmoments.images.sources import as_images


def test_the_mean_is_one_image():
    full = fm.gaussian_images(np.zeros((2, 3, 4)), np.eye(24).reshape(2, 3, 4, 2, 3, 4))
    features = fm.gaussian_images([1.0, 2.0], np.eye(2))
    field = fm.gaussian_images([1.0, 2.0], np.zeros((3, 5, 2, 2)))
    assert [each.array.shape for each in (full, features, field)] == [
        (1, 2, 3, 4), (1, 1, 1, 2), (1, 3, 5, 2),
    ]  # fmt: skip
    assert (field.array == [1.0, 2.0]).all() and field.source == "gaussian"
    kept = as_images(field, gaussian=True)
    np.testing.assert_array_equal(kept.covariance, field.covariance)
    batch = Batch(kept.array, True, False, kept.covariance)
    np.testing.assert_array_equal(batch.values, field.array)  # as they are
    assert batch.stationary and not Batch(full.array, True, False, full.covariance).stationary
    assert is_stationary(np.zeros(2), np.zeros((3, 5, 2, 2)))


def test_they_are_no_images_for_others():
    with pytest.raises(ValueError, match="Gaussian images have no values"):
        as_images(fm.gaussian_images([1.0, 2.0], np.eye(2)))


@pytest.mark.parametrize(
    ("mean", "covariance", "said"),
    [
        (np.zeros((2, 2)), np.eye(4), "mean must be of shape"),
        (np.zeros(0), np.eye(0), "mean must be of shape"),
        (np.zeros(2), np.eye(3), r"covariance must be of shape \(2, 2\) or \(h, w, 2, 2\), not \(3, 3\)"),
        (np.zeros(2), np.zeros((3, 3, 2, 1)), "covariance must be of shape"),
        (np.zeros(2), [[1.0, 0.5], [0.0, 1.0]], "symmetric"),
        (np.zeros(1), [[[[1.0]], [[0.5]], [[0.1]]]], "symmetric"),
        (np.zeros(2), np.diag([1.0, -1.0]), "no negative variances"),
        (np.zeros(2), np.diag([1.0, np.inf]), "finite"),
        ("zero", np.eye(2), "array of numbers"),
    ],
)
def test_what_is_no_law_is_refused(mean, covariance, said):
    with pytest.raises(ValueError, match=said):
        fm.gaussian_images(mean, covariance)


def test_axes_that_are_asked_for():
    with pytest.raises(ValueError, match="noise must be of shape"):
        checked_covariance(np.zeros(2), "noise", np.eye(2), axes=4)
