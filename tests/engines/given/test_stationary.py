"""Covariances by displacement, and which layers are the same at all positions."""

import numpy as np
from given import covariance, stationary

import fastmoments as fm
from fastmoments.engines.given.propagation import field_of
from fastmoments.engines.given.stationary import cyclic_taps, cyclic_weights, stationary_part


def test_the_stationary_part_of_what_is_stationary_is_it():
    by_displacement, full = stationary(np.random.default_rng(0), 3, 4, 2)
    np.testing.assert_allclose(stationary_part(full), by_displacement.reshape(12, 2, 2), atol=1e-14)


def test_the_stationary_part_is_a_mean_over_positions():
    full = covariance(np.random.default_rng(1), 2, 3, 2)
    found = stationary_part(full).reshape(2, 3, 2, 2)
    wanted = sum(full[(i + 1) % 2, (j + 2) % 3, :, i, j] for i, j in np.ndindex(2, 3)) / 6
    np.testing.assert_allclose(found[1, 2], wanted, atol=1e-15)


def test_rows_and_columns_are_exchanged_with_the_displacement_turned_round():
    by_displacement, _ = stationary(np.random.default_rng(2), 3, 4, 2)
    field = field_of(np.zeros(2), by_displacement)
    np.testing.assert_allclose(field.turned(field.own[0]), field.own[0], atol=1e-15)
    np.testing.assert_array_equal(field.mirror[[0, 1, 4, 5]], [0, 3, 8, 11])
    assert field.storage == "stationary" and len(field.per_channel()[1]) == 2
    np.testing.assert_array_equal(field.of_channels()[1], np.eye(2))


def test_what_is_cyclic():
    conv, zeros = fm.Conv(3), fm.Conv(3, padding="zeros")
    np.testing.assert_array_equal(cyclic_taps(conv.taps(5), 5), [4, 0, 1])
    assert cyclic_taps(zeros.taps(5), 5) is None
    assert cyclic_taps(fm.Conv(3, stride=2).taps(6), 6) is not None
    assert cyclic_taps(fm.Conv(3, stride=2).taps(5), 5) is None
    np.testing.assert_array_equal(cyclic_weights(fm.AvgPool(2).averages(4)), [0.5, 0.5, 0, 0])
    assert cyclic_weights(fm.AvgPool(3, 1, pad=1).averages(4)) is None
    assert cyclic_weights(fm.AvgPool(2).averages(5)) is None
