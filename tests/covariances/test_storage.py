import naive
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.linalg import block_diag
from states import seeds, sizes, state

from fastmoments.covariances.storage import Covariance, NoiseCovariance, assembled, cut, tile_size


@given(seeds, sizes)
def test_storage_gives_back_the_full_matrix_and_its_products(seed, size):
    signal, _, full, _ = state(seed, size)
    matrix = naive.flat(full)
    np.testing.assert_allclose(signal.dense(), matrix, rtol=1e-12, atol=1e-13 * np.abs(matrix).max())
    vectors = np.random.default_rng(seed).standard_normal((signal.points, 3))
    centred = naive.centre(matrix)
    scale = np.abs(matrix).max() * signal.points
    np.testing.assert_allclose(signal.centred_product(vectors), centred @ vectors, atol=1e-12 * scale)
    np.testing.assert_allclose(signal.centred_diagonal, np.diag(centred), atol=1e-12 * scale)
    np.testing.assert_allclose(
        signal.centred_square_diagonal(), np.diag(centred @ centred), atol=1e-12 * scale**2
    )


@given(seeds, sizes)
def test_noise_products(seed, size):
    _, noise, _, blocks = state(seed, size)
    points, positions = noise.points, blocks.shape[1]
    full = np.zeros((points, points))
    for i, block in enumerate(blocks):
        full[i * positions : (i + 1) * positions, i * positions : (i + 1) * positions] = block
    vectors = np.random.default_rng(seed).standard_normal((points, 2))
    centred = naive.centre(full)
    np.testing.assert_allclose(noise.centred_product(vectors), centred @ vectors, atol=1e-11)
    assert noise.centred_trace() == pytest.approx(np.trace(centred), abs=1e-11)


def test_noise_shared_by_all_images_is_that_of_each():
    shared, apart = NoiseCovariance.white(3, 2, 2), NoiseCovariance.white(3, 2, 2)
    apart.separate()
    assert apart.blocks.shape == (3, 4, 4)
    assert shared.points == apart.points == 12
    assert shared.mean_variance() == apart.mean_variance() == 1.0
    assert shared.centred_trace() == pytest.approx(apart.centred_trace())


@given(seeds, sizes)
def test_noise_of_all_images_together_is_that_of_each(seed, size):
    _, apart, _, blocks = state(seed, size)
    joint = apart.copy()
    joint.join()
    assert joint.joint == (size[0] > 1) and not apart.joint
    assert (joint.points, joint.images, joint.grid) == (apart.points, 1, apart.grid)
    np.testing.assert_array_equal(joint.blocks[0], block_diag(*blocks))
    assert joint.mean_variance() == pytest.approx(apart.mean_variance())
    assert joint.centred_trace() == pytest.approx(apart.centred_trace())
    vectors = np.random.default_rng(seed).standard_normal((apart.points, 2))
    np.testing.assert_allclose(joint.centred_product(vectors), apart.centred_product(vectors), atol=1e-11)
    for _ in range(2):  # it stays as it is
        joint.join()
        joint.separate()
        assert joint.blocks.shape == (1, joint.points, joint.points)


@given(seeds, st.integers(1, 4), st.integers(1, 5))
def test_a_matrix_is_put_together_again_from_its_blocks(seed, images, size):
    full = np.random.default_rng(seed).standard_normal((images * size,) * 2)
    full = full + full.T
    blocks = cut(full, images)
    assert blocks.shape == (images * (images + 1) // 2, size, size)
    np.testing.assert_array_equal(assembled(blocks, images), full)


@given(st.integers(1, 3000))
def test_tiles_cover_the_points(points):
    size = tile_size(points)
    assert points % size == 0
    assert size <= 128 or size == points


def test_copies_share_no_memory():
    signal, noise, _, _ = state(0, (2, 2, 2))
    for one in (signal, noise):
        other = one.copy()
        other.blocks[:] = 0.0
        assert np.any(one.blocks)


def test_one_position_per_image_is_tiled():
    features = np.random.default_rng(0).standard_normal((96, 1, 1, 5))
    whole, tiles = (Covariance.from_features(features, 0.2, 0.1, tile=tile) for tile in (96, 24))
    assert tiles.grid == (4, 24, 1)
    assert tiles.blocks.shape == (10, 24, 24)
    np.testing.assert_allclose(whole.dense(), tiles.dense(), rtol=1e-12)


@pytest.mark.parametrize("size", [(3, 2, 2), (1, 4, 3)])
def test_diagonal_of_the_square(size):
    signal, _, full, _ = state(0, size)
    full = naive.flat(full)
    centred = full - full.mean(0) - full.mean(1)[:, None] + full.mean()
    np.testing.assert_allclose(signal.centred_square_diagonal(), np.diag(centred @ centred), rtol=1e-12)
