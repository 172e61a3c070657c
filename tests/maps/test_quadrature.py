import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import erfcx

from fastmoments.maps.quadrature import GRID_STEP, MAX_NODES, BatchNormWeight

spectra = st.lists(st.floats(1e-3, 1e3), min_size=3, max_size=30).map(np.array)
epsilons = st.sampled_from([0.0, 1e-6, 1e-3, 1.0, 1e3])


def weight(values, epsilon, points=None):
    return BatchNormWeight(values, np.ones(values.size), points or values.size + 1, epsilon)


@given(spectra, epsilons)
def test_the_mean_batch_variance_is_known_exactly(values, epsilon):
    """int w tr(S_s) / M + epsilon int w = 1: E[(q + epsilon) / (q + epsilon)]."""
    one = weight(values, epsilon)
    rule = one.rule(0.0, 1.0, 1e-10)
    traces = (values / (1.0 + np.outer(2.0 / one.points * rule.nodes, values))).sum(1)
    total = rule.weights @ traces / one.points + epsilon * one.integral()
    assert total == pytest.approx(1.0, abs=max(1e-7, 3 * rule.error))


@given(spectra, epsilons, st.sampled_from([(0.0, 0.0), (0.0, 1.0), (1.0, 2.0), (-0.5, 0.5)]))
def test_rules_have_positive_weights_that_add_up(values, epsilon, powers):
    power, decay = powers
    one = weight(values, epsilon)
    rule = one.rule(power, decay, 1e-6)
    assert rule.nodes.size <= MAX_NODES
    assert np.all(rule.weights > 0)
    assert np.all(np.diff(rule.nodes) > 0)
    if decay == 0.0:
        assert rule.weights.sum() == pytest.approx(one.integral(power), rel=1e-10)


@given(st.floats(0.01, 100), st.floats(0.01, 10))
def test_one_direction_has_a_closed_form(value, epsilon):
    """E[1 / (a g^2 + epsilon)] for a normal g, a = value / M, through the scaled error function."""
    one = weight(np.array([value]), epsilon, points=2)
    ratio = epsilon / (value / 2)
    exact = math.sqrt(math.pi / (2 * ratio)) * erfcx(math.sqrt(ratio / 2)) / (value / 2)
    assert one.integral() == pytest.approx(exact, rel=1e-9)


def test_a_large_batch_has_the_variance_of_its_mean():
    """With M equal eigenvalues q concentrates: int w = M / (M - 2) / a and the damping is that of 1/q."""
    points = 1000
    one = BatchNormWeight(np.array([2.0]), np.array([points]), points, 0.0)
    assert one.integral() == pytest.approx(points / (points - 2) / 2.0, rel=1e-9)
    # Two Beta integrals: the mean of t / (1 + t value) is 2 / (M value).
    assert one.mean_damping(np.array([2.0]))[0] == pytest.approx(1 / points, rel=1e-9)


@given(spectra, epsilons, st.sampled_from([1e-2, 1e-4, 1e-6]))
def test_the_error_is_as_small_as_asked_or_said_to_be_larger(values, epsilon, tolerance):
    rule = weight(values, epsilon).rule(0.0, 1.0, tolerance)
    assert rule.error <= tolerance or rule.nodes.size == MAX_NODES


@given(spectra, epsilons)
def test_a_quadratic_rule_knows_squares_of_s_times_damped_eigenvalues(values, epsilon):
    """Against the fine grid. Of a single eigenvalue the damped ones alone would be content with one node."""
    for these in (values, values[:1]):
        one = weight(these, epsilon or 1e-9, 50)
        rule = one.rule(0.0, 0.0, 1e-8, quadratic=True)
        grid = np.exp(one._log_weight) * one._s * GRID_STEP
        found, exact = (
            share @ (s[:, None] * these / (1.0 + np.outer(2.0 / 50 * s, these))) ** 2
            for s, share in ((rule.nodes, rule.weights), (one._s, grid))
        )
        share = these / these.sum()
        error = (share * np.abs(found - exact) / these**2).sum() / (share * exact / these**2).sum()
        assert error < max(1e-6, 3.0 * rule.error) or rule.nodes.size == MAX_NODES


@pytest.mark.parametrize("epsilon", [0.0, 0.1])
def test_weights_that_signal_and_noise_share(epsilon):
    """Against channels of sampled weights; a constant if all weights count alike and epsilon is 0."""
    points, values = 40, np.array([20.0, 6.0, 4.0, *[2.0] * 9, 0.0, 0.0])
    weight = BatchNormWeight(values[:12], np.ones(12), points, epsilon)
    squares = np.random.default_rng(3).standard_normal((1_000_000, len(values))) ** 2
    ratio = squares.sum(1) / (squares @ values / points + epsilon)
    batches = (ratio**2).reshape(100, -1).mean(1) / ratio.mean() ** 2
    found = weight.inverse_square_of_shared_weights(values)
    assert abs(found - batches.mean()) < 3.5 * batches.std() / 10.0
    alike = BatchNormWeight(np.ones(8), np.ones(8), points, 0.0)
    assert alike.inverse_square_of_shared_weights(np.ones(8)) == pytest.approx(1.0, rel=1e-6)
