"""What means over positions leave of the noise, by stretches of the net."""

import math

import pytest

from fastmoments.engines.averages import Averages
from fastmoments.nets.fixed import AvgPool, GlobalAvgPool
from fastmoments.nets.linear import Conv
from fastmoments.nets.max_pool import MaxPool


def test_white_noise_leaves_its_share():
    averages = Averages()
    averages.passed("layers.0", AvgPool(2), (8, 8), math.log(0.25))
    averages.passed("layers.1", Conv(3), (4, 4), 5.0)
    averages.passed("layers.2", GlobalAvgPool(), (4, 4), math.log(1 / 16))
    assert averages.so_far == pytest.approx((0.0,))


def test_a_stretch_ends_behind_windows_that_overlap():
    averages = Averages()
    averages.passed("stem.0", MaxPool(3, 2, 1), (8, 8), 0.0)
    assert averages.so_far == (0.0, 0.0)
    averages.passed("layers.0", AvgPool(2), (4, 4), math.log(0.5))
    averages.passed("layers.1.layers.0", AvgPool(3, 1), (4, 4), math.log(2 / 9))
    averages.passed("layers.2", GlobalAvgPool(), (2, 2), 0.0)
    assert averages.so_far == pytest.approx((0.0, math.log(4.0), math.log(4.0)))


def test_what_a_part_of_the_signal_passes_does_not_count():
    averages = Averages((1.0,))
    averages.passed("layers.0.branch.1", MaxPool(3, 2, 1), (8, 8), 0.0)
    averages.passed("layers.0.shortcut.0", AvgPool(2), (8, 8), 0.0)
    assert averages.so_far == (1.0,)
