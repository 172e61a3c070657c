"""Logarithms of scales."""

import math

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from fastmoments.covariances.scales import log, log_mean

positive = st.floats(1e-300, 1e300)


@given(positive)
def test_the_exponential_gives_the_number_back(value):
    assert math.exp(log(value)) == pytest.approx(value, rel=1e-12)


def test_nothing_has_a_logarithm_and_what_is_no_number_stays_none():
    assert log(0.0) == log_mean(np.zeros(3)) == -math.inf
    assert math.isnan(log(math.nan)) and math.isnan(log_mean(np.array([1.0, math.nan])))
    with pytest.raises(ValueError):
        log(-1.0)


@given(st.lists(st.floats(0.0, 1e100), min_size=1).filter(any), positive.filter(lambda c: 1e-100 < c < 1e100))
def test_a_mean_does_not_depend_on_order_and_scales(values, factor):
    values = np.array(values)
    assert log_mean(values[::-1]) == pytest.approx(log_mean(values), abs=1e-12)
    if values.min() * factor > 1e-290 or values.min() == 0.0:
        assert log_mean(factor * values) == pytest.approx(log(factor) + log_mean(values), abs=1e-9)
    assert log_mean(values) <= log(values.max()) + 1e-12
