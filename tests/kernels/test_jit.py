"""The compiler's options: what they allow, and what they must not."""

import math

import numpy as np

from fastmoments.kernels import jit


@jit.helper(reassociate=True)
def _total(values):
    total = 0.0
    for value in values:
        total += value
    return total


@jit.jit()
def _least_and_total(values):
    return min(max(values[0], 0.0), 1.0), _total(values), values[0] != values[0]


def test_what_is_no_number_is_still_seen():
    """Of numbers that fast math may take for granted NaN and infinity are none."""
    assert not {"nnan", "ninf", "fast"} & jit.FASTMATH
    assert _least_and_total(np.array([math.nan, 1.0]))[2]
    assert math.isnan(_least_and_total(np.array([1.0, math.nan]))[1])
    assert _least_and_total(np.array([1.0, math.inf]))[1] == math.inf


def test_division_by_nothing_is_that_of_numpy():
    @jit.jit()
    def divided(a, b):
        return a / b

    assert divided(1.0, 0.0) == math.inf
