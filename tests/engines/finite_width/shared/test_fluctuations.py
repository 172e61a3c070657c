"""Fluctuations against sampled walks."""

import math

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings
from numpy.testing import assert_allclose

from fastmoments.engines.finite_width.shared.fluctuations import (
    FluctuationMatrices,
    FluctuationRecursion,
    FluctuationState,
    merged_matrices,
)

seeds = st.integers(0, 2**32 - 1)


def walked(share):
    """Fluctuations of 200,000 nets whose channels persist with the shortcut, beside the recursion of them.

    Two layers a branch, each with a linear one behind it. Yields which station it is, the fluctuations in
    three modes, and the recursion.
    """
    rng, nets, modes = np.random.default_rng(3), 200_000, 3
    memories, sources = rng.uniform(0.2, 1.0, (2, modes)), rng.uniform(0.1, 1.0, (2, modes))
    factor = rng.uniform(-1.0, 1.0, modes)

    def drawn(variance):
        return np.sqrt(variance) * rng.standard_normal((nets, modes))

    d, channels, recursion = drawn(0.5), drawn(sources[0]), FluctuationRecursion(np.full(modes, 0.5))
    for _ in range(5):
        branch = memories[0] * d + channels
        recursion.sampled(memories[0], sources[0])
        yield "branch", branch, recursion
        branch = factor * branch
        recursion.thinned(factor)
        yield "branch", branch, recursion
        branch = memories[1] * branch + drawn(sources[1])
        recursion.sampled(memories[1], sources[1])
        yield "branch", branch, recursion
        branch = factor * branch
        recursion.thinned(factor)
        yield "branch", branch, recursion
        d = (1.0 - share) * d + share * branch
        recursion.merge(share)
        yield "merge", d, recursion
        channels = (1.0 - share) * channels + drawn((1.0 - (1.0 - share) ** 2) * sources[0])


def z_of_variance(sampled, variance):
    return (sampled.var(0) / variance - 1.0) / math.sqrt(2.0 / len(sampled))


@pytest.mark.parametrize("share", [0.1, 0.5, 1.0])
def test_a_recursion_is_a_sampled_walk(share):
    for station, sampled, recursion in walked(share):
        assert np.abs(z_of_variance(sampled, recursion.variance)).max() < 4.0
        if station == "merge":
            assert np.all(recursion.variance == recursion.at.variance)
    fresh = FluctuationRecursion(2.0)
    fresh.thinned(0.5)  # before any batch norm
    assert fresh.variance == fresh.at.variance == 0.5


@settings(max_examples=20, deadline=None)
@given(seeds, st.floats(0.0, 1.0), st.integers(1, 3))
def test_merged_matrices_are_numbers_where_points_are_alone(seed, share, layers):
    rng = np.random.default_rng(seed)
    memories, fresh = rng.uniform(0.2, 1.2, (layers, 4)), rng.uniform(0.1, 1.0, (layers, 4))
    variance, cross = rng.uniform(0.0, 1.0, (2, 4))
    found = merged_matrices(
        FluctuationMatrices(np.diag(variance), np.diag(cross)),
        share,
        list(map(np.diag, memories)),
        list(map(np.diag, fresh)),
    )
    expected = FluctuationState(variance, cross).merged(share, list(memories), list(fresh))
    assert_allclose(found.variance, np.diag(expected.variance), atol=1e-12)
    assert_allclose(found.cross, np.diag(expected.cross), atol=1e-12)


def test_coherent_noise_is_that_of_a_sampled_walk():
    rng, nets, share, f, g = np.random.default_rng(1), 100_000, 0.2, 0.7, 0.8
    d, n = np.zeros(nets), rng.standard_normal(nets)
    law = FluctuationState(0.0)
    law = law.merged(share, [f, g], [1.0, 0.5])
    for _ in range(12):
        second = g * (f * d + n) + math.sqrt(0.5) * rng.standard_normal(nets)
        d = (1 - share) * d + share * second
        n = (1 - share) * n + math.sqrt(1 - (1 - share) ** 2) * rng.standard_normal(nets)
        assert_allclose(d.var(), law.variance, rtol=0.03)
        law = law.merged(share, [f, g], [1.0, 0.5])
    assert_allclose(FluctuationState(0.3).merged(1.0, [f], [0.1]).variance, f * f * 0.3 + 0.1)
