"""Fluctuations against sampled walks."""

import math

import hypothesis.strategies as st
import numpy as np
from hypothesis import given, settings
from numpy.testing import assert_allclose

from fastmoments.engines.finite_width.shared.fluctuations import (
    FluctuationRecursion,
    FluctuationState,
    merged_matrices,
)

seeds = st.integers(0, 2**32 - 1)


@settings(max_examples=20, deadline=None)
@given(seeds, st.floats(0.1, 1.0))
def test_a_trail_is_a_sampled_walk(seed, share):
    """Through a branch of two layers with a linear one behind each, from unit to unit, against formulas."""
    rng = np.random.default_rng(seed)
    memories, sources, factor = (
        rng.uniform(0.2, 1.0, (2, 3)),
        rng.uniform(0.1, 1.0, (2, 3)),
        rng.uniform(-1, 1, 3),
    )
    trail, law = FluctuationRecursion(np.full(3, 0.5)), FluctuationState(np.full(3, 0.5))
    for _ in range(4):
        trail.sampled(memories[0], sources[0])
        assert_allclose(trail.variance, law.observed(memories[0], sources[0]))
        trail.thinned(factor)
        trail.sampled(memories[1], sources[1])
        trail.thinned(factor)
        trail.merge(share)
        law = law.merged(share, list(memories * factor), list(sources * factor**2))
        assert_allclose(trail.at.variance, law.variance)
        assert_allclose(trail.variance, law.variance)
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
        FluctuationState(np.diag(variance), np.diag(cross)),
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
