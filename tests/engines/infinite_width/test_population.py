"""Drawn channels: their covariances against exact maps, and their standard errors against many seeds."""

import tracemalloc
import weakref

import numpy as np
import pytest

from fastmoments.covariances.storage import Covariance, NoiseCovariance
from fastmoments.engines.infinite_width.population import (
    BATCHES,
    Draws,
    _factor,
    of_gaussian,
    of_images,
    summed,
)
from fastmoments.maps.activation import activate
from fastmoments.maps.batch_norm import normalise
from fastmoments.maps.convolution import first_convolution
from fastmoments.nets.activations import ReLU
from fastmoments.nets.linear import Conv, Gaussian
from fastmoments.nets.max_pool import MaxPool
from fastmoments.nets.norms import BatchNorm

IMAGES = np.random.default_rng(0).standard_normal((3, 4, 4, 24))
AT_INPUT = (0.0, 0.0)


def gaussian():
    """Signal and noise of three images of 4 x 4 positions."""
    rng = np.random.default_rng(1)
    signal = Covariance.from_features(IMAGES, 1.0 / 24)
    factor = rng.standard_normal((3, 16, 20)) / np.sqrt(20.0)
    return signal, NoiseCovariance(factor @ factor.swapaxes(1, 2), 3, (4, 4), 0.3)


def difference(found, exact):
    """Relative, in Frobenius' norm."""
    return np.linalg.norm(found - exact) / np.linalg.norm(exact)


def noise_of(noise):
    return np.exp(noise.log_scale) * np.broadcast_to(noise.blocks, (3, *noise.blocks.shape[1:]))


@pytest.mark.parametrize("layers", [(), (ReLU(),), (BatchNorm(),), (BatchNorm(), ReLU())])
def test_exact_maps_are_met_and_ever_closer(layers):
    signal, noise = gaussian()
    found = {}
    for number in (1_024, 65_536):
        population = of_gaussian(signal, noise, Draws(number), "here")
        for index, layer in enumerate(layers):
            population.through(str(index), layer)
        found[number] = population.covariances()
    if BatchNorm() in layers:
        normalise(signal, noise, 1e-3, ReLU() if ReLU() in layers else None)
    elif layers:
        activate(signal, noise, ReLU())
    errors = {}
    for number, (k, d, error) in found.items():
        errors[number] = difference(k.dense(), signal.dense()), difference(noise_of(d), noise_of(noise))
        assert 0.5 * error < errors[number][0] < 2.0 * error
    assert max(errors[65_536]) < 0.03
    assert errors[1_024][0] > 4.0 * errors[65_536][0]


def test_the_first_convolution_is_drawn_by_its_weights():
    images = IMAGES[..., :2]
    for conv in (Conv(3, padding="zeros", stride=2, pad=1), Conv(3, Gaussian(1.0, bias_variance=0.5))):
        noise = NoiseCovariance.white(3, 4, 4)
        signal = first_convolution(images, noise, conv)
        k, d, _ = of_images(images, conv, Draws(65_536), "here").covariances()
        assert difference(k.dense(), signal.dense()) < 0.02
        assert difference(noise_of(d), noise_of(noise)) < 0.03


def test_a_sum_adds_covariances():
    signal, noise = gaussian()
    one, other = (of_gaussian(signal, noise, Draws(131_072), path) for path in ("one", "other"))
    k, d, _ = summed(one, other, np.log(0.5)).covariances()
    assert difference(k.dense(), 1.25 * signal.dense()) < 0.03
    assert difference(noise_of(d), 1.25 * noise_of(noise)) < 0.03


def test_a_sum_that_is_kept_lets_go_of_its_summands():
    """Which would stay for as long as it does, and theirs with them."""
    signal, noise = gaussian()
    one, other = (of_gaussian(signal, noise, Draws(64), path) for path in ("one", "other"))
    found, seen = summed(one, other, 0.0), [weakref.ref(each) for each in (one, other)]
    del one, other
    assert [each() for each in seen] == [None, None]
    assert len(list(found)) == BATCHES


def test_the_same_seed_draws_the_same_and_another_does_not():
    signal, noise = gaussian()
    blocks = []
    for seed in (0, 0, 1):
        population = of_gaussian(signal, noise, Draws(64, seed), "here")
        population.through("0", MaxPool())
        population.through("1", Conv(groups="depthwise"))
        blocks.append(population.covariances()[0].blocks)
    np.testing.assert_array_equal(blocks[0], blocks[1])
    assert (blocks[0] != blocks[2]).any()


def test_what_is_not_kept_is_drawn_again(monkeypatch):
    """A population too large to be kept gives the same numbers."""
    found = []
    for kept in (1e9, 0.0):
        monkeypatch.setattr("fastmoments.engines.infinite_width.population.KEPT", kept)
        population = of_images(IMAGES, Conv(), Draws(128), "here")
        assert (population.held is None) == (kept == 0.0)
        for index, layer in enumerate((BatchNorm(), ReLU(), Conv(groups="depthwise"), MaxPool())):
            population.through(str(index), layer)
        found.append(population.copy().moments(AT_INPUT))
    assert found[0] == found[1]


def test_halves_of_a_batch_are_antithetic():
    flow = of_gaussian(*gaussian(), Draws(256), "here").batch(3)
    half = flow.pair.shape[-1] // 2
    np.testing.assert_array_equal(flow.pair[0, ..., :half], -flow.pair[0, ..., half:])
    assert (flow.pair[1, ..., :half] != -flow.pair[1, ..., half:]).any()


@pytest.mark.parametrize("through", [False, True])
def test_standard_errors_are_those_over_seeds(through):
    """Over 20 seeds, moments that fall within 1.645 standard errors of their mean: nine of ten."""
    signal, noise = gaussian()
    values, errors = [], []
    for seed in range(20):
        population = of_gaussian(signal, noise, Draws(1_024, seed), "here")
        for index, layer in enumerate(
            (BatchNorm(noise="through" if through else "frozen"), ReLU(), MaxPool())
        ):
            population.through(str(index), layer)
        assert population.joint == through
        found, error = population.moments(AT_INPUT)
        k, d, _ = population.covariances()
        vectors = [np.linalg.eigh(part.centred_product(np.eye(12)))[1][:, -1] for part in (k, d)]
        error |= population.rank_errors(*vectors)
        found["reff_signal"] = np.log(
            k.centred_diagonal.sum() / np.linalg.eigvalsh(k.centred_product(np.eye(12)))[-1]
        )
        values.append([found[name] for name in error if name != "reff_noise"])
        errors.append([error[name] for name in error if name != "reff_noise"])
    z = (np.array(values) - np.mean(values, axis=0)) / np.array(errors)
    assert 0.8 <= np.mean(np.abs(z) < 1.645) <= 0.98
    assert 0.7 < z.std() < 1.3


def test_numbers_of_channels_are_rounded_up_to_pairs_in_batches():
    assert [Draws(number).batch for number in (1, 64, 65, 16_384)] == [2, 2, 4, 16_384 // BATCHES]


def test_a_factor_takes_no_more_memory_than_the_covariance_and_itself():
    """The triangle that is left gives the covariance back where a factor needs more jitter."""
    rng = np.random.default_rng(3)
    for points, rank in ((1, 1), (60, 60), (60, 4), (400, 30)):
        root = rng.standard_normal((points, rank))
        covariance = root @ root.T
        found, exact = covariance.copy(), covariance.copy()
        tracemalloc.start()
        factor = _factor(found)
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert most < 1.1 * factor.nbytes + 20_000 and factor.dtype == np.float32
        assert difference(factor @ factor.T, exact) < 1e-6 and not np.triu(factor, 1).any()
    # Of values that no jitter brings above 0, the largest part that is a covariance: 3 along (1, 1).
    factor = _factor(np.array([[1.0, 2.0], [2.0, 1.0]]))
    assert factor @ factor.T == pytest.approx(np.full((2, 2), 1.5), rel=1e-6)
    dead = _factor(np.diag([1.0, 0.0, 4.0]))
    assert dead == pytest.approx(np.diag([1.0, 0.0, 2.0]), rel=1e-6)
