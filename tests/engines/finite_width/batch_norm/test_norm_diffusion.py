"""The diffusion of norms against a sampled law."""

import math

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings
from numpy.testing import assert_allclose
from scipy import stats

from fastmoments.engines.finite_width.batch_norm.norm_diffusion import diffused

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
