"""Memory that is said beforehand."""

import fastmoments as fm
from fastmoments.engines.given.costs import PROCESS, memory

SIZE = ((8, 8), 3)


def of(layers, storage, width=16):
    net = fm.sample_weights(fm.Network(layers), (8, 8, 3), width=width)
    return memory(net, SIZE, storage) - PROCESS


def test_it_grows_with_the_square_of_units_and_with_what_is_kept_for_a_merge():
    plain = (fm.Conv(), fm.ReLU())
    units = 64 * 16
    assert of(plain, "dense") == (16 + 24) * units**2
    assert of(plain, "stationary") == (16 + 24) * 64 * 16**2
    assert of((fm.Conv(), fm.Residual(plain)), "dense") == (3 * 16 + 24) * units**2
    inner = fm.Residual(plain)
    assert of((fm.Conv(), fm.Residual((inner, fm.Conv()))), "dense") == (6 * 16 + 24) * units**2


def test_a_stride_makes_it_smaller():
    assert of((fm.Conv(stride=2), fm.Conv(channels=8)), "dense", 12) == (16 + 24) * (64 * 3) ** 2
