"""Channels of several laws: sums over parts, which run on."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

import fastmoments as fm
from fastmoments.engines.infinite_width.layers import At
from fastmoments.engines.infinite_width.mixture import Mixture, Part, settle
from fastmoments.engines.infinite_width.state import State
from fastmoments.engines.infinite_width.walk import InfiniteWidthWalk
from fastmoments.maps.laws import GAUSSIAN, MIXED, mixture
from fastmoments.nets.network import Network

IMAGES = np.random.default_rng(0).standard_normal((3, 4, 4, 3))
BN, RELU = At("a", "a", fm.BatchNorm()), At("b", "b", fm.ReLU())


@pytest.fixture
def walk():
    return InfiniteWidthWalk(Network([fm.Conv(), fm.BatchNorm(), fm.ReLU()]), IMAGES)


def a_part(channels, size, gain=2.0):
    state = InfiniteWidthWalk(Network([fm.Conv(size, fm.Gaussian(gain))]), IMAGES).final_state()
    return Part(channels, state)


def test_sums_run_on_and_begin_anew_where_the_parts_are_others(walk):
    one, two, three = a_part(3, 1), a_part(5, 2), a_part(2, 3)
    stream = Mixture([one, two])
    walk._start()
    first = stream.summed(walk, [BN, RELU])
    longer = Mixture([one, two, three], sums=stream.sums)
    assert longer.summed(walk, [BN, RELU]) is first and first.channels == 10
    again = stream.summed(walk, [BN, RELU])
    assert again is not first and again.channels == 8
    other = Mixture([two, three], sums=stream.sums).summed(walk, [BN, RELU])
    assert other.parts == [two, three]


def test_what_is_left_of_a_mixture_is_the_weighted_mean(walk):
    """Of covariances and moments; the parts stay as they are."""
    one, two = a_part(3, 1), a_part(5, 2, gain=1e30)
    before = one.state.covariance.dense()
    state = State(None, None, one.state.noise, law=mixture([GAUSSIAN]), mixture=Mixture([one, two]))
    walk._start()
    settle(walk, state)
    assert state.law == MIXED and state.mixture is None
    expected = (3 * one.state.covariance.dense() + 5 * two.state.covariance.dense()) / 8
    assert_allclose(state.covariance.dense(), expected, rtol=1e-12)
    noise = [part.state.noise.blocks * np.exp(part.state.noise.log_scale) for part in (one, two)]
    assert_allclose(
        state.noise.blocks * np.exp(state.noise.log_scale),
        np.broadcast_to((3 * noise[0] + 5 * noise[1]) / 8, state.noise.blocks.shape), rtol=1e-12,
    )  # fmt: skip
    moments = [part.state.marginals().moments() for part in (one, two)]
    for name, value in state.marginals().moments().items():
        mean = (3 * np.exp(moments[0][name]) + 5 * np.exp(moments[1][name])) / 8
        assert value == pytest.approx(np.log(mean), rel=1e-12)
    assert_allclose(one.state.covariance.dense(), before, rtol=0)


def test_what_signal_and_noise_share_is_that_of_all_channels(walk):
    one, two = a_part(3, 1), a_part(5, 3)
    state = State(None, None, one.state.noise, law=mixture([GAUSSIAN]), mixture=Mixture([one, two]))
    for part in (one, two):
        part.state.overlap = InfiniteWidthWalk(
            Network([fm.Conv(), fm.BatchNorm()]), IMAGES
        )._start().overlap.convolved(fm.Conv(1))  # fmt: skip
    walk._start()
    settle(walk, state)
    features = state.overlap.features.shape[-1]
    assert features == 2 * one.state.overlap.features.shape[-1]
    alike = one.state.overlap.shares(np.linalg.qr(np.random.default_rng(1).standard_normal((48, 5)))[0])
    found = state.overlap.shares(np.linalg.qr(np.random.default_rng(1).standard_normal((48, 5)))[0])
    assert_allclose(found[0], alike[0], rtol=1e-12)
