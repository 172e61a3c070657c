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
def _totals(rows):
    totals, known = np.empty(len(rows)), np.empty(len(rows))
    for n in range(len(rows)):
        totals[n] = _total(rows[n])
        known[n] = totals[n] == totals[n]
    return totals, known


@jit.jit()
def _divided(a, b):
    out = np.empty_like(a)
    for n in range(a.size):
        out[n] = a[n] / b[n]
    return out


def test_what_is_no_number_is_still_seen():
    """Also where sums may be taken in any order."""
    assert not {"nnan", "ninf", "fast"} & jit.FASTMATH
    rows = np.array([[1.0, math.nan, 2.0], [1.0, math.inf, 2.0], [1.0, 2.0, 3.0]])
    totals, known = _totals(rows)
    np.testing.assert_array_equal(totals, [math.nan, math.inf, 6.0])
    np.testing.assert_array_equal(known, [0.0, 1.0, 1.0])


def test_division_by_nothing_is_that_of_numpy():
    found = _divided(np.array([1.0, -1.0, 0.0]), np.zeros(3))
    np.testing.assert_array_equal(found, [math.inf, -math.inf, math.nan])
