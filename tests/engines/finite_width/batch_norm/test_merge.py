"""The merge of a unit: numbers where matrices are diagonal, and limits of the shares."""

import numpy as np
from numpy.testing import assert_allclose

from fastmoments.engines.finite_width.batch_norm.merge import (
    held_norms,
    merged_noise,
    merged_norms,
    merged_with_signal,
    signal_noise_shares,
)
from fastmoments.engines.finite_width.batch_norm.noise_sampling import HermiteOrders, NoiseFluctuationState
from fastmoments.engines.finite_width.closures import CLOSURES
from fastmoments.engines.finite_width.shared.fluctuations import (
    FluctuationMatrices,
    FluctuationState,
    NoiseGain,
)


def test_norms_and_their_gain_are_those_of_a_sampled_unit():
    """d' = (1 - w) d + w (f d + n); log mu2 of the noise moves by w_n h d."""
    rng, nets, points, w, w_n = np.random.default_rng(0), 400_000, 3, 0.4, 0.7
    response, fresh, pull = np.diag([0.9, 0.8, 1.1]), 0.05 * np.eye(points), np.array([0.2, -0.3, 0.1])
    before = FluctuationMatrices(0.1 * np.eye(points), np.zeros((points, points)))
    norms, gain = merged_norms(
        before, NoiseGain(0.0, np.zeros(points)), (w, w_n), [pull], [response], [fresh]
    )
    d = np.sqrt(0.1) * rng.standard_normal((nets, points))
    n = np.sqrt(0.05) * rng.standard_normal((nets, points))
    g = w_n * d @ pull
    after = (1.0 - w) * d + w * (d @ response + n)
    assert_allclose(norms.variance, np.cov(after.T), atol=1e-3)
    assert_allclose(gain.variance, g.var(), rtol=0.01)
    assert_allclose(gain.cross, (after * g[:, None]).mean(0), atol=1e-3)
    free, kept = held_norms(norms, gain, 10.0, CLOSURES)
    assert_allclose(free.variance, norms.variance)
    assert_allclose(kept.cross, gain.cross)
    held, scaled = held_norms(norms, gain, 0.0, CLOSURES)
    assert_allclose(np.diag(held.variance), 0.0, atol=1e-12)  # norms that are alike do not vary
    assert_allclose(scaled.cross, 0.0, atol=1e-12)


def test_without_a_shortcut_all_is_fresh():
    orders = HermiteOrders(np.array([0.2, 0.1]), np.array([1.0, 0.0]), np.array([0.0, 1.0]))
    merged = merged_noise(NoiseFluctuationState(0.3, np.array([0.05, 0.0])), (1.0, 1.0), [orders], [1.0])
    assert_allclose(merged.variance, 0.3 + 2.0 * 0.05 + 0.3)
    assert_allclose(merged.cross, 0.0)
    kept = merged_noise(NoiseFluctuationState(0.3, np.array([0.05, 0.0])), (0.0, 0.0), [orders], [1.0])
    assert_allclose((kept.variance, *np.atleast_1d(kept.cross)), (0.3, 0.05, 0.0))
    assert_allclose(signal_noise_shares((1.0, 1.0)), (1.0, 0.0))
    assert_allclose(signal_noise_shares((0.2, 0.8)), (0.4, 0.4))
    alone = merged_with_signal(FluctuationState(0.0, 0.5), (1.0, 1.0), [0.1])
    assert alone.cross == 0.0  # fresh channels share nothing with what was
