"""The diffusion of norms against a sampled law."""

import math

import hypothesis.strategies as st
import numpy as np
from hypothesis import given, settings
from numpy.testing import assert_allclose

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
    assert 0.1 * fresh < added < 1.05 * fresh
    assert_allclose(diffused(before, 0.0), before)


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
