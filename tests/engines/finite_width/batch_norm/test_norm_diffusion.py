"""The diffusion of norms against a sampled law, and how it is fed back into a covariance."""

import math

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings
from numpy.testing import assert_allclose
from scipy import stats

from fastmoments.covariances.storage import Covariance
from fastmoments.engines.finite_width.batch_norm.norm_diffusion import diffused, fed_back, feed_back
from fastmoments.engines.finite_width.shared.matrices import centred, image_norms

seeds = st.integers(0, 2**32 - 1)


@given(seeds, st.integers(2, 100), st.floats(1e-5, 0.3))
@settings(max_examples=50)
def test_diffusion_adds_its_variance_and_keeps_mean_and_order(seed, points, fresh):
    rng = np.random.default_rng(seed)
    before = np.exp(0.4 * rng.standard_normal(points))
    after = diffused(before, fresh)
    assert_allclose(after.mean(), before.mean(), rtol=1e-12)
    assert np.all(np.diff(after[np.argsort(before)]) >= 0)
    added = np.log(after).var() - np.log(before).var()
    # So many quantiles of a Gaussian have a little less variance than it has.
    quantiles = stats.norm.ppf((np.arange(points) + 0.5) / points)
    assert_allclose(added, fresh * quantiles.var(), rtol=1e-8)
    assert_allclose(diffused(before, 0.0), before)


@pytest.mark.parametrize("fresh", [1e-4, 0.02, 0.3])
def test_diffusion_keeps_a_gaussian_law(fresh):
    quantiles = stats.norm.ppf((np.arange(200) + 0.5) / 200)
    after = np.log(diffused(np.exp(0.5 * quantiles), fresh))
    expected = math.sqrt(0.25 + fresh) * quantiles
    kick = np.abs(expected - 0.5 * quantiles).max()
    assert_allclose((after - after.mean())[20:-20], expected[20:-20], rtol=0, atol=0.1 * kick)


def test_diffusion_is_that_of_a_sampled_law():
    rng = np.random.default_rng(2)
    before = np.exp(np.sort(rng.gamma(2.0, 0.2, 64)))
    before /= before.mean()
    after = before
    for _ in range(10):
        after = diffused(after, 0.005)
    noise = math.sqrt(0.05) * rng.standard_normal((20_000, 64)) - 0.025
    cells = np.sort((np.log(before) + noise).ravel()).reshape(64, -1)
    expected = np.exp(cells).mean(1)
    assert_allclose(after[2:], expected[2:], rtol=0.1)
    assert_allclose(after[:2], expected[:2], rtol=0.2)  # the far end, which no moment depends on
    assert np.abs(after - expected).mean() < 0.5 * np.abs(before - expected).mean()


@given(seeds, st.integers(2, 8), st.integers(1, 3), st.floats(1e-4, 0.2))
@settings(max_examples=50)
def test_norms_of_images_are_fed_back_at_the_same_correlations(seed, images, side, fresh):
    features = np.random.default_rng(seed).standard_normal((images, side, side, 2 * images * side**2)) + 0.5
    signal = Covariance.from_features(features, 1.0, tile=1 if side == 1 else None)
    before, means = signal.dense(), signal.means
    inner = centred(before)
    norms = image_norms(np.diag(inner), images)
    feed_back(signal, images, fresh)
    after = signal.dense()
    factors = np.repeat(np.sqrt(diffused(norms, fresh) / norms), side * side)
    assert_allclose(centred(after), centred(inner * np.outer(factors, factors)), atol=1e-9)
    assert_allclose(after, after.T, atol=1e-12)
    assert np.linalg.eigvalsh(centred(after)).min() > -1e-9 * np.trace(inner)
    assert_allclose(signal.diagonal, np.diag(after), rtol=1e-9)
    assert_allclose(signal.row_sums, after.sum(0), rtol=1e-9, atol=1e-9 * np.abs(after).sum(0).max())
    if side == 1:  # an image of one position is a point
        assert_allclose(centred(after), fed_back(inner, fresh), atol=1e-9)
    assert np.abs(after - before).max() > 0.0 and np.all(np.isfinite(means))


def test_images_that_have_no_norm_are_left_alone():
    signal = Covariance.from_features(np.ones((3, 2, 2, 5)), 1.0)
    feed_back(signal, 3, 0.1)
    assert_allclose(signal.dense(), 5.0)
