"""Closures: what they are by themselves, and that another one is used where it is handed over."""

import dataclasses
import math

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given
from numpy.testing import assert_allclose
from scipy import stats

import fastmoments as fm
from fastmoments.engines.finite_width import closures
from fastmoments.engines.finite_width.batch_norm import fully_connected
from fastmoments.engines.finite_width.closures import CLOSURES, Closures
from fastmoments.engines.finite_width.plain import feedforward
from fastmoments.engines.finite_width.shared.units import Task


@given(st.floats(0.2, 20.0), st.floats(0.2, 20.0))
def test_the_third_moment_is_that_of_a_beta_law(a, b):
    law = stats.beta(a, b)
    assert_allclose(closures.beta_third_moment(law.moment(1), law.moment(2)), law.moment(3), rtol=1e-7)


def test_the_rule_integrates_gaussians():
    nodes, weights = closures.gauss_hermite(7)
    for power, moment in ((0, 1.0), (2, 1.0), (4, 3.0), (12, 10395.0)):
        assert_allclose(weights @ nodes**power, moment, rtol=1e-10)


def test_bounds_hold_variances_and_leave_smaller_ones():
    variance = np.array([[4.0, 1.0], [1.0, 0.5]])
    factors = closures.bounding_factors(variance, 1.0)
    assert_allclose(np.diag(variance * np.outer(factors, factors)), [1.0, 0.5])


def test_positions_are_always_the_same_and_cover_what_they_say():
    places = closures.seeded_positions(5, 12, 4)
    assert places.shape == (5, 4) and places.min() >= 0 and places.max() < 12
    assert all(len(set(row)) == 4 for row in places)
    assert_allclose(places, closures.seeded_positions(5, 12, 4))


def test_orders_of_a_mask_add_up_to_the_arc_sine():
    """E m m'' = 1 + (2 / pi) asin sqrt s: all of it at s = 1, within 0.02 up to 0.9."""
    for s in (0.1, 0.5, 0.9, 1.0):
        found = sum(share * s**order for order, share in CLOSURES.mask_orders)
        assert abs(found - 2.0 / math.pi * math.asin(math.sqrt(s))) < (1e-12 if s == 1.0 else 0.02)


def test_increments_of_a_collapsed_signal_have_their_skewness():
    z = np.random.default_rng(0).standard_normal(4_000_000)
    for x, skewness in (
        (z**2, CLOSURES.skewness_square),
        (2.0 * np.maximum(z, 0.0) ** 2, CLOSURES.skewness_rectified),
        (2.0 * (z > 0.0), CLOSURES.skewness_mask),
    ):
        x = x - 1.0
        # A mean over N channels has 1 / N of the variance and 1 / N^2 of the third moment.
        assert abs(np.mean(x**3) / np.mean(x**2) ** 2 - skewness) < 0.03


def test_what_batch_norm_takes_is_bounded_and_points_share_no_negative_variance():
    assert_allclose(CLOSURES.log_kept(0.1), math.log(0.9))
    assert_allclose(CLOSURES.log_kept(7.0), math.log(0.5))
    assert_allclose(4.0 * Closures.least_masks(1.3) * 1.3 - 1.0, 0.0, atol=1e-15)


@pytest.mark.parametrize(
    ("theory", "family", "change"),
    [
        (feedforward, "vanilla", {"third_moment": lambda first, second: 0.0}),
        (feedforward, "vanilla", {"angle_order": 3}),
        (feedforward, "vanilla", {"most_factors": 1}),
        (feedforward, "vanilla", {"tracy_widom_share": 0.4}),
        (fully_connected, "bn_ff", {"most_lost": 1e-3}),
        (fully_connected, "bn_ff", {"most_memory": 0.5}),
        (fully_connected, "bn_ff", {"bound": lambda variance, bound: 0.5 * np.ones(len(variance))}),
        (fully_connected, "bn_ff", {"density_width": lambda count, variance: 3.0 * variance}),
        (fully_connected, "bn_ff", {"largest_quantiles": 1}),
        (fully_connected, "bn_res", {"mask_orders": ((0.5, 1.0),)}),
    ],
)
def test_another_closure_is_used(theory, family, change):
    net, images = getattr(fm, family)(6, 1), np.random.default_rng(3).standard_normal((8, 30))

    def laws(used):
        walk = theory.stations(Task(net, images, 64, frozenset({6}), 0.0, used))
        return {(loc, name): law for _, loc, found in walk if loc is not None for name, law in found.items()}

    usual, other = laws(CLOSURES), laws(dataclasses.replace(CLOSURES, **change))
    assert usual.keys() == other.keys()
    assert any(usual[key] != other[key] for key in usual)
    assert usual == laws(Closures())
