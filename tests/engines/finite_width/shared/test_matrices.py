"""Operations on covariances against their definitions."""

import hypothesis.strategies as st
import numpy as np
from hypothesis import given, settings
from numpy.testing import assert_allclose

import fastmoments as fm
from fastmoments.engines.finite_width.shared.matrices import (
    between_pairs,
    by_images,
    centred,
    image_norms,
    mean_of_pairs,
    with_diagonal,
    with_means,
)

seeds = st.integers(0, 2**32 - 1)


def images(count=6, side=12, seed=0):
    return fm.load_images(f"synthetic:{side}x{side}x3", count, seed=seed)


@settings(max_examples=20, deadline=None)
@given(seeds, st.integers(1, 5), st.integers(1, 4), st.integers(4, 50))
def test_few_positions_stand_for_all(seed, images, each, positions):
    """A matrix that only tells images and equal positions apart has the means of all its positions."""
    apart, same = np.random.default_rng(seed).standard_normal((2, images))
    few = np.add.outer(np.repeat(apart, each), np.repeat(apart, each))
    few += np.diag(np.repeat(same, each)) * (1.0 if each > 1 else 0.0)
    found = by_images(few, images, positions)
    expected = np.add.outer(apart, apart) + (np.diag(same) / positions if each > 1 else 0.0)
    if each > 1:
        assert_allclose(found, expected, atol=1e-12)
    else:  # with one position of an image, nothing is known of two
        np.fill_diagonal(expected, 2.0 * apart / positions)
        assert_allclose(found, expected, atol=1e-12)


def random_covariance(seed, points):
    x = np.random.default_rng(seed).standard_normal((points, points + 2))
    return x @ x.T


@given(seeds, st.integers(2, 8))
def test_centring_diagonals_and_means(seed, points):
    matrix, h = random_covariance(seed, points), np.eye(points) - 1.0 / points
    inner = h @ matrix @ h
    assert_allclose(centred(matrix), inner, atol=1e-12)
    # C_ij + u_i + u_j + m has the diagonal that was asked for, and is centred to C.
    back = with_means(inner, np.diag(matrix))
    assert_allclose(np.diag(back), np.diag(matrix), atol=1e-12)
    assert_allclose(centred(back), inner, atol=1e-12)
    wanted = np.arange(1.0, points + 1.0)
    factor = np.sqrt(wanted / np.diag(inner))
    assert_allclose(with_diagonal(inner, wanted), h @ (inner * np.outer(factor, factor)) @ h, atol=1e-10)


@given(seeds, st.integers(1, 6))
def test_pairs_are_of_different_points(seed, points):
    matrix = random_covariance(seed, points)
    off = [matrix[i, j] for i in range(points) for j in range(points) if i != j]
    assert_allclose(mean_of_pairs(matrix), np.mean(off) if off else 0.0, atol=1e-12)
    apart = between_pairs(matrix, points)
    assert_allclose(apart, matrix * (1.0 - np.eye(points)))
    assert_allclose(between_pairs(2.0, points), 2.0 * (1.0 - np.eye(points)))


def test_norms_of_images_are_sums_over_positions():
    assert_allclose(image_norms(np.array([1.0, 2.0, 3.0, 4.0, 5.0, 6.0]), 2), [6.0, 15.0])
