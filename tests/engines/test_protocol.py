"""What engines and those behind them agree on."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fastmoments as fm
from fastmoments.engines.protocol import LARGEST, SMALLEST, Wanted, input_log_variances, recorded_depths


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


@pytest.mark.parametrize("engine", [fm.InfiniteWidth(), fm.Sampled(8, 2), fm.FiniteWidth(64)])
@pytest.mark.parametrize("scale", [1e299, 1e155, 1e-155, 1e-300])
def test_images_whose_powers_are_no_numbers_are_refused_before_work(engine, scale):
    """Squares of 1e155 are infinite: it was said that all points agree, or "math range error"."""
    images = scale * np.random.default_rng(0).normal(size=(3, 4, 4, 1))
    with pytest.raises(
        ValueError, match="too far from 1 for the powers that moments take: use normalise=True"
    ):
        fm.scan(fm.bn_ff(2), images, engine, normalise=False)
    fm.scan(fm.bn_ff(2), images, engine, threads=1)


def test_images_up_to_the_bound_have_moments():
    images = np.random.default_rng(0).normal(size=(3, 4, 4, 1))
    images /= np.abs(images).max()
    one = fm.scan(fm.vanilla(2), images, normalise=False)
    for scale in (SMALLEST * (1.0 + 1e-9), 1e-50, 1e50, LARGEST):
        signal, noise = input_log_variances(scale * images)
        assert (signal - 2.0 * np.log(scale), noise) == pytest.approx(input_log_variances(images), abs=1e-9)
        scan = fm.scan(fm.vanilla(2), scale * images, normalise=False)
        np.testing.assert_allclose(scan["log_chi"], one["log_chi"], rtol=1e-9)
        np.testing.assert_allclose(
            scan["log_nu2_signal"] - 2.0 * np.log(scale), one["log_nu2_signal"], atol=1e-9
        )


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
