"""What engines and those behind them agree on."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fastmoments as fm
from fastmoments.engines.protocol import Wanted, input_log_variances, recorded_depths


def test_depths():
    assert recorded_depths(0, 5) == [0]
    assert recorded_depths(7, 3) == [3, 6, 7]
    assert recorded_depths(2, 10) == [2]


@given(st.integers(1, 300), st.integers(1, 300))
def test_depths_rise_in_steps_and_end_at_the_last(depth, every):
    depths = recorded_depths(depth, every)
    assert depths[-1] == depth
    assert all(one % every == 0 for one in depths[:-1])
    assert depths == sorted(set(depths)) and len(depths) == -(-depth // every)


@given(st.floats(1e-20, 1e20))
def test_the_scale_of_images_is_in_the_logarithm_of_their_variance(scale):
    images = np.random.default_rng(0).normal(size=(3, 4, 4, 1))
    signal, noise = input_log_variances(scale * images)
    assert (signal - 2.0 * np.log(scale), noise) == pytest.approx(input_log_variances(images), abs=1e-9)


def test_stations_of_a_unit_are_known_by_path_and_name():
    wanted = Wanted(fm.bn_ff(4), [2, 4])
    wanted.begin(2)
    assert wanted.knows("layers.3", "conv") and wanted.knows("layers.2", "input")
    assert not wanted.knows("layers.3", "act") and not wanted.knows("layers.6", "conv")
    wanted.begin(3)  # which is not recorded
    assert not wanted.knows("layers.6", "conv")
    wanted.begin(10**9)
    assert not wanted.knows("layers.3", "conv")
    wanted.begin(0)
    assert wanted.knows("", None) and wanted.knows("stem.0", None) and not wanted.knows("", "conv")
