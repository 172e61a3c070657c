"""Where the signal stands: the images before any layer, copies, checkpoints."""

import json
import math

import hypothesis.strategies as st
import naive
import numpy as np
import pytest
from hypothesis import given, settings
from states import assert_consistent, seeds, sizes, state

from fastmoments.covariances.storage import NoiseCovariance
from fastmoments.engines.infinite_width.state import State
from fastmoments.maps.laws import DATA, GAUSSIAN
from fastmoments.maps.overlap import Overlap


def of_images(seed, shape=(4, 3, 2, 5)):
    images = np.random.default_rng(seed).standard_normal(shape) + 0.4
    return images, State(images, None, NoiseCovariance.white(*shape[:3]))


@given(seeds)
@settings(max_examples=20)
def test_the_images_are_the_same_station_before_and_after_their_covariance_is_formed(seed):
    images, here = of_images(seed)
    before = here.marginals().moments()
    here.form(None, np.float64)
    assert here.images is None and here.law == DATA
    flat = images.reshape(-1, images.shape[-1])
    np.testing.assert_allclose(here.covariance.dense(), flat @ flat.T / flat.shape[1], rtol=1e-13, atol=1e-14)
    assert_consistent(here.covariance)
    assert here.marginals().moments() == pytest.approx(before, abs=1e-12)


def test_the_moments_of_the_images_are_theirs_and_not_of_a_gaussian():
    images, here = of_images(1)
    centred = images - images.mean((0, 1, 2))
    expected = {
        "log_nu1_abs_signal": math.log(np.abs(images).mean()),
        "log_nu2_signal": math.log((images**2).mean()),
        "log_mu2_signal": math.log((centred**2).mean()),
        "log_mu4_signal": math.log((centred**4).mean()),
        "log_mu2_noise": 0.0,
    }
    assert here.marginals().moments() == pytest.approx(expected, abs=1e-12)


@given(seeds, sizes, st.booleans())
@settings(max_examples=20)
def test_a_state_comes_back_from_its_arrays_and_plain_values(seed, size, overlap):
    signal, noise, full, _ = state(seed, size, (0.3, -0.2))
    shared = Overlap.of_images(np.random.default_rng(seed).standard_normal((*size, 3))) if overlap else None
    here = State(None, signal, noise, {"log_mu4_signal": None}, GAUSSIAN, shared)
    arrays, described = here.taken()
    again = State.restored(arrays, json.loads(json.dumps(described)))
    np.testing.assert_array_equal(again.covariance.dense(), signal.dense())
    np.testing.assert_array_equal(again.noise.blocks, noise.blocks)
    assert (again.covariance.grid, again.noise.grid, again.noise.log_scale) == (signal.grid, noise.grid, -0.2)
    assert (again.law, again.known, again.overlap is None) == (
        GAUSSIAN,
        {"log_mu4_signal": None},
        not overlap,
    )
    assert again.marginals().moments() == here.marginals().moments()
    np.testing.assert_allclose(again.covariance.dense(), naive.flat(full), rtol=1e-12, atol=1e-13)


def test_a_copy_takes_the_memory_it_is_given_if_it_fits():
    signal, noise, _, _ = state(0, (2, 3, 2))
    here = State(None, signal, noise, {"log_mu4_signal": 0.5})
    earlier, (other, fewer, _, _) = here.copy(None), state(0, (3, 2, 2))
    memory = earlier.covariance.blocks
    memory[:], earlier.noise.blocks[:] = 0.0, 0.0
    copy = here.copy(earlier)
    assert copy.covariance.blocks is memory and copy.noise.blocks is earlier.noise.blocks
    elsewhere = here.copy(State(None, other, fewer))
    assert elsewhere.covariance.blocks is not other.blocks and elsewhere.noise.blocks is not fewer.blocks
    copy.covariance.blocks *= 2.0
    copy.noise.blocks *= 2.0
    copy.known["log_mu4_signal"] = 1.0
    np.testing.assert_array_equal(2.0 * signal.blocks, memory)
    np.testing.assert_array_equal(2.0 * noise.blocks, copy.noise.blocks)
    assert here.known == {"log_mu4_signal": 0.5}
