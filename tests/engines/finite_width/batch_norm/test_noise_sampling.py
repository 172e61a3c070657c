"""Sampling of the noise's variances by channels that persist: its orders, and simulated channels."""

import math

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given
from numpy.testing import assert_allclose

from fastmoments.engines.finite_width.batch_norm.noise_sampling import (
    HermiteOrders,
    NoiseFluctuationState,
    NoiseSampling,
)
from fastmoments.engines.finite_width.batch_norm.response import batch_norm_response
from fastmoments.engines.finite_width.shared.fluctuations import FluctuationState

shares = st.floats(0.0, 1.0)


@given(st.floats(1.0, 2.0), st.floats(0.25, 0.5), shares, shares)
def test_parts_add_up_to_the_variance(inverse, masks, coherence, part):
    channels = NoiseSampling(10, inverse, 0.7, masks, coherence, part)
    alone = 6.0 * inverse - 1.0
    across = 4.0 * masks * inverse * (1.0 + 2.0 * coherence) - 1.0
    assert_allclose(10 * channels.point.variance, alone, rtol=1e-12)
    assert_allclose(10 * channels.pair.variance, across, atol=1e-12)
    assert_allclose(10 * channels.correlation.variance, 1.0 + across, rtol=1e-12)
    assert_allclose(10 * channels.batch.variance, part * alone + (1.0 - part) * across, atol=1e-12)


@given(st.floats(1.0, 2.0), shares, shares)
def test_what_persists_is_all_of_it_at_most_and_nothing_without_a_shortcut(inverse, signal, noise):
    for name in ("point", "pair", "correlation", "batch"):
        parts = getattr(NoiseSampling(10, inverse, 0.7, 0.3, 0.01, 0.1), name)
        left = parts.persist(signal, noise)
        assert np.all((left >= 0.0) & (left <= 1.0))
        assert_allclose(parts.persist(1.0, 1.0), 1.0)
        assert_allclose(parts.persist(0.0, 0.0), 0.0)


@given(
    shares, st.floats(0.0, 1.0), st.floats(0.1, 1.0), st.lists(st.floats(0.1, 1.0), min_size=1, max_size=3)
)
def test_one_part_walks_like_a_coherent_fluctuation(share, persists, memory, sources):
    memories = [memory] * len(sources)
    parts = [HermiteOrders(np.array([source]), np.ones(1), np.zeros(1)) for source in sources]
    law, expected = NoiseFluctuationState(0.3), FluctuationState(0.3)
    for _ in range(3):
        law = law.merged(share, parts, np.array([persists]), memories)
        expected = expected.merged(share, memories, sources, persists=persists)
    assert_allclose(law.variance, expected.variance, rtol=1e-12)
    assert_allclose(law.observed(parts[0], memory), expected.observed(memory, sources[0]), rtol=1e-12)
    assert law.sampled == 0.0


@pytest.mark.parametrize(("signal", "noise"), [(0.9, 0.8), (0.6, 0.4)])
def test_sampling_noise_persists_as_that_of_simulated_channels(signal, noise):
    """Products nu^2 m / q of single channels, 12 points of unequal variance, one unit and the next."""
    rng, count, points = np.random.default_rng(8), 400_000, 12
    sizes = np.sqrt(np.linspace(0.5, 1.5, points))

    def next_of(values, share, fresh):
        return math.sqrt(share) * values + math.sqrt(1.0 - share) * fresh

    def normal():
        return rng.standard_normal((count, 2))

    x, nu = sizes * rng.standard_normal((count, points)), normal()
    later = next_of(x, signal, sizes * rng.standard_normal((count, points))), next_of(nu, noise, normal())

    def of(x, nu):  # of the first two points: variances, and amplitudes before they are squared
        amplitude = nu * (x[:, :2] > 0.0) * math.sqrt(2.0) / np.sqrt((x**2).mean(1))[:, None]
        return amplitude**2, amplitude.prod(1)

    (squares, product), (after, product_after) = of(x, nu), of(*later)
    mean = squares.mean()
    inverse = 1.0 / (x**2).mean(1)
    through = batch_norm_response(np.diag(sizes**2), 0.0, 0.0)
    channels = NoiseSampling(1, through.inverse_square, through.inverse_order_2, 0.25, 0.0, 0.0)
    excess = np.mean(inverse**2) / np.mean(inverse) ** 2 - 1.0
    assert_allclose(through.inverse_square - 1.0, excess, rtol=0.02)
    together = 1.0 / (inverse.mean() * np.mean(1.0 / inverse)) - 1.0  # 1 / q and q
    assert_allclose(through.inverse_with_variance, together, rtol=0.02)
    for name, ours in (
        ("point", squares[:, 0] * after[:, 0] / mean**2 - 1.0),
        ("pair", squares[:, 0] * after[:, 1] / mean**2 - 1.0),
        ("correlation", product * product_after / mean**2),
    ):
        parts = getattr(channels, name)
        expected = float(parts.variances @ parts.persist(signal, noise))
        error = ours.std() / math.sqrt(count)
        # Orders above 4 of 1 / q, and above 3 of a mask, count for a few hundredths.
        assert abs(ours.mean() - expected) < 3.5 * error + 0.04 * parts.variance, (
            name,
            ours.mean(),
            expected,
        )
