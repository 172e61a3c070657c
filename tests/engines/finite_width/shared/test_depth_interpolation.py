"""Sums over layers, evaluated at some of them."""

import hypothesis.strategies as st
import numpy as np
from hypothesis import given
from numpy.testing import assert_allclose

from fastmoments.engines.finite_width.shared import depth_interpolation


@given(st.integers(1, 300))
def test_layers_between_the_ends(depth):
    layers = depth_interpolation.layers_towards_both_ends(depth)
    assert {1, depth} <= layers <= set(range(1, depth + 1))
    assert len(layers) <= 2 * depth_interpolation.EVALUATED
    if depth <= 12:
        assert len(layers) == depth


def test_a_sum_over_layers_is_interpolated_between_those_that_are_evaluated():
    every, some = (
        depth_interpolation.LayerSum(100, layers)
        for layers in (range(1, 101), depth_interpolation.layers_towards_both_ends(100))
    )
    for total in (every, some):
        for layer in total.layers:
            total.add(layer, [1.0, layer**-1.5, 1.0 / (101 - layer)])
    exact = np.sum([[1.0, layer**-1.5, 1.0 / layer] for layer in range(1, 101)], 0)
    assert_allclose(every.total(), exact, rtol=1e-12)
    assert_allclose(some.total(), exact, rtol=2e-3)
