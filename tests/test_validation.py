import math

import numpy as np
import pytest

from fastmoments import validation


@pytest.mark.parametrize("value", [3, np.int64(3)])
def test_whole_numbers(value):
    found = validation.whole("x", value, 1, 4)
    assert found == 3 and type(found) is int


@pytest.mark.parametrize(
    ("value", "bounds", "said"),
    [
        (0, (), "x must be a positive whole number, not 0."),
        (True, (), "x must be a positive whole number, not True."),
        (2.0, (), "x must be a positive whole number, not 2.0."),
        (None, (0,), "x must be a whole number of at least 0, not None."),
        ("3", (2, 5), "x must be a whole number from 2 to 5, not '3'."),
        (6, (2, 5), "x must be a whole number from 2 to 5, not 6."),
    ],
)
def test_what_is_no_whole_number_in_range(value, bounds, said):
    with pytest.raises(ValueError) as caught:
        validation.whole("x", value, *bounds)
    assert str(caught.value) == said


@pytest.mark.parametrize("value", [math.nan, math.inf, -1.0, "1", True, None, [1.0], 10**400])
def test_what_is_no_finite_number(value):
    with pytest.raises(ValueError, match="x must be a finite non-negative number, not"):
        validation.finite("x", value, positive=False)


def test_finite_numbers():
    assert validation.finite("x", np.float32(0.5), positive=True) == 0.5
    assert validation.finite("x", 0, positive=False) == 0.0
    with pytest.raises(ValueError, match="finite positive number, not 0"):
        validation.finite("x", 0, positive=True)


def test_words_and_truths():
    assert validation.one_of("x", "a", ("a", "b")) == "a"
    assert validation.truth("x", False) is False
    with pytest.raises(ValueError, match="x must be one of a, b, not 'c'"):
        validation.one_of("x", "c", ("a", "b"))
    with pytest.raises(ValueError, match=r"x must be one of a, b, not \['a'\]"):
        validation.one_of("x", ["a"], ("a", "b"))
    with pytest.raises(ValueError, match="x must be true or false, not 1"):
        validation.truth("x", 1)
