"""The engine at infinite width: its options."""

import numpy as np
import pytest

import fastmoments as fm


def images(seed=0, shape=(3, 6, 4, 2)):
    return np.random.default_rng(seed).standard_normal(shape) + 0.3


@pytest.mark.parametrize(
    ("options", "scans", "words"),
    [
        ({"convolution": "slow"}, {}, "auto, direct, fft"),
        ({"rank": 0}, {}, "rank must be"),
        ({}, {"reff_locs": ("output",)}, "reff_locs"),
    ],
)
def test_wrong_options(options, scans, words):
    with pytest.raises(ValueError, match=words):
        fm.scan(fm.vanilla(2), images(), fm.InfiniteWidth(**options), **scans)
