"""Spectra of the noise over channels against sampled matrices."""

import math

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings
from numpy.testing import assert_allclose

from fastmoments.engines.finite_width.batch_norm.channel_noise_rank import (
    channel_noise_rank,
    channel_variances,
    edge,
)


@settings(max_examples=40, deadline=None)
@given(st.floats(0.0, 0.5), st.floats(0.01, 0.95), st.floats(0.25, 0.4))
def test_variances_of_channels_have_the_mean_and_variance_that_are_known(sizes, share, masks):
    found = channel_variances(sizes, share, masks)
    assert found.min() >= 0.0
    assert_allclose(found.mean(), 1.0)
    assert found.var() <= sizes + 1e-9
    if share > 0.2 or masks > 0.3:
        assert_allclose(found.var(), sizes, atol=1e-9)


def test_the_edge_is_that_of_sampled_matrices():
    rng, width, samples = np.random.default_rng(2), 200, 1000
    variances = channel_variances(0.1, 0.5, 0.28)
    own = np.quantile(variances, (np.arange(width) + 0.5) / width)
    found = []
    for _ in range(60):
        x = rng.standard_normal((samples, width)) * np.sqrt(own)
        found.append(np.linalg.eigvalsh(x.T @ x / samples)[-1])
    assert_allclose(edge(own, [width / samples], np.ones(1)), np.mean(found), rtol=0.03)
    one = edge(np.ones(5), [0.25], np.ones(1))
    assert_allclose(one, 2.25, rtol=1e-6)  # Marchenko and Pastur: (1 + sqrt(c))^2
    assert_allclose(edge(np.ones(5), [0.25, 0.0], np.ones(1)), one)
    mean, deviation = channel_noise_rank(width, [width / samples], (0.0, 0.0), 0.1, 0.5, 0.28)
    ranks = own.sum() / np.array(found)
    assert abs(mean / ranks.mean() - 1.0) < 0.05
    assert 0.5 < deviation / ranks.std() < 1.5


@pytest.mark.parametrize("kept", [0.5, 0.25])
def test_the_edge_behind_a_layer_of_few_dimensions(kept):
    """What is kept of a covariance of rank 27, sampled again by points of half as many channels."""
    rng, width, rank, found = np.random.default_rng(5), 200, 27, []
    for _ in range(60):
        x = rng.standard_normal((width, rank))
        root = np.linalg.cholesky((1.0 - kept) * np.eye(width) + kept / rank * x @ x.T)
        y = root @ rng.standard_normal((width, 2 * width)) / math.sqrt(2 * width)
        values = np.linalg.eigvalsh(y @ y.T)
        found.append(values.sum() / values[-1])
    mean, deviation = channel_noise_rank(width, [0.5], (kept, kept**2 * width / rank), 0.0, 0.5, 0.25)
    # The mean of the largest eigenvalue is 0.95 of its deviations below the edge (Tracy and Widom).
    assert_allclose(mean + 0.95 * deviation, np.mean(found), rtol=0.02)
    assert 0.6 < deviation / np.std(found) < 1.5
    merged, _ = channel_noise_rank(width, [0.5, kept**2 * width / rank], (0.0, 0.0), 0.0, 0.5, 0.25)
    assert abs(merged / np.mean(found) - 1.0) > 0.05  # one law for both says something else
