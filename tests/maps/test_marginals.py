"""Moments of a station from its diagonal and row sums."""

import math

import hypothesis.strategies as st
import naive
import numpy as np
import pytest
from hypothesis import given
from states import seeds, sizes, state

from fastmoments.maps.marginals import marginals, roots_and_inverses


@given(seeds, sizes, st.floats(-400, 400), st.floats(-400, 400))
def test_moments_are_those_of_the_covariance(seed, size, up, down):
    signal, noise, full, blocks = state(seed, size)
    signal.log_scale, noise.log_scale = up, down
    found = marginals(signal, noise, {}).moments()
    matrix = naive.flat(full)
    variances = np.diag(naive.centre(matrix))
    expected = {
        "log_nu1_abs_signal": 0.5 * up + math.log(np.mean(np.sqrt(2 / math.pi * np.diag(matrix)))),
        "log_nu2_signal": up + math.log(np.mean(np.diag(matrix))),
        "log_mu2_signal": up + math.log(variances.mean()),
        "log_mu4_signal": 2 * up + math.log(3 * np.mean(variances**2)),
        "log_mu2_noise": down + math.log(np.mean(np.einsum("npp->np", blocks))),
    }
    assert found == pytest.approx(expected, abs=1e-9)


def test_moments_are_those_of_sampled_channels():
    rng, channels = np.random.default_rng(5), 200_000
    signal, noise, full, _ = state(11, (2, 2, 2))
    found = marginals(signal, noise, {}).moments()
    y = np.linalg.cholesky(naive.flat(full)) @ rng.standard_normal((8, channels))
    centred = y - y.mean(0)
    for name, samples in (
        ("log_nu1_abs_signal", np.abs(y).mean(0)),
        ("log_nu2_signal", (y**2).mean(0)),
        ("log_mu2_signal", (centred**2).mean(0)),
        ("log_mu4_signal", (centred**4).mean(0)),
    ):
        z = (samples.mean() - math.exp(found[name])) / (samples.std() / math.sqrt(channels))
        assert abs(z) < 4.0, (name, z)


@given(seeds, sizes)
def test_the_order_of_images_does_not_matter(seed, size):
    signal, noise, _, _ = state(seed, size)
    backwards = type(signal)(signal.blocks, signal.grid, 0.0, signal.diagonal[::-1], signal.row_sums[::-1])
    expected = marginals(signal, noise, {}).moments()
    assert marginals(backwards, noise, {}).moments() == pytest.approx(expected, abs=1e-12)


def test_what_is_known_takes_the_place_and_none_is_left_out():
    signal, noise, _, _ = state(0, (2, 2, 2))
    found = marginals(signal, noise, {"log_nu1_abs_signal": 0.25, "log_mu4_signal": None}).moments()
    assert found["log_nu1_abs_signal"] == 0.25
    assert "log_mu4_signal" not in found and "log_mu2_signal" in found


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_the_inverse_of_no_variance_is_none(dtype):
    roots, inverses = roots_and_inverses(np.array([0.0, 4.0, 1e-320, 0.25]), dtype)
    assert roots.dtype == inverses.dtype == dtype
    assert roots[[0, 1, 3]].tolist() == [0.0, 2.0, 0.5]
    assert inverses[[0, 1, 3]].tolist() == [0.0, 0.5, 2.0]
    assert np.all(np.isfinite(inverses))
