"""Moments of a field, and the fields of images and laws."""

import numpy as np
import pytest
from given import covariance, stationary

import fastmoments as fm
from fastmoments.engines.given.propagation import field_of
from fastmoments.engines.given.walk import GivenRun, by_displacement, inputs, moments_of
from fastmoments.images.batches import Batch


def test_moments_are_those_of_samples():
    """Of a Gaussian with means that differ between positions; 200,000 samples, within 1.5%."""
    rng, samples = np.random.default_rng(0), 200_000
    mean, before = rng.standard_normal((2, 2, 3)), covariance(rng, 2, 2, 3)
    x = mean.ravel() + rng.standard_normal((samples, 12)) @ np.linalg.cholesky(before.reshape(12, 12)).T
    x = x.reshape(-1, 3)
    found = moments_of(field_of(mean, before), True, (0.0, 0.0))
    away = x - x.mean(0)
    cov = away.T @ away / len(x)
    wanted = {
        "log_nu1_abs_signal": np.log(np.abs(x).mean()),
        "log_nu2_signal": np.log((x**2).mean()),
        "log_mu2_signal": np.log((away**2).mean()),
        "log_mu4_signal": np.log((away**4).mean()),
        "log_mu2_noise": 0.0,
        "log_chi": -0.5 * np.log((away**2).mean()),
        "reff_signal": np.trace(cov) / np.linalg.eigvalsh(cov)[-1],
        "reff_noise": 3.0,
    }
    assert found == {name: pytest.approx(value, abs=0.015) for name, value in wanted.items()}


def test_images_have_their_mean_and_covariance():
    images = np.random.default_rng(1).standard_normal((7, 2, 3, 2))
    field = inputs(Batch(images, False, False), "dense")
    np.testing.assert_allclose(field.here.mean, images.mean(0).ravel(), atol=1e-15)
    np.testing.assert_allclose(field.own[0][0], np.cov(images.reshape(7, -1).T, bias=True), atol=1e-15)
    np.testing.assert_array_equal(field.own[1][0], np.eye(12))


def test_by_displacement_is_the_mean_over_images_and_positions():
    images = np.random.default_rng(2).standard_normal((3, 2, 5, 2))
    found = by_displacement(images)
    for i, j in np.ndindex(2, 5):
        moved = np.roll(images, (-i, -j), axis=(1, 2))
        wanted = np.einsum("nhwc,nhwd->cd", moved, images) / 30
        np.testing.assert_allclose(found[i, j], wanted, atol=1e-14)


def test_the_stationary_part_of_a_law_keeps_its_moments():
    """Mean squares and variances over inputs and positions are what they were."""
    rng = np.random.default_rng(3)
    mean, before = rng.standard_normal((2, 3, 2)), covariance(rng, 2, 3, 2)
    law = fm.gaussian_images(mean, before)
    batch = Batch(law.array, True, False, law.covariance)
    dense, other = (
        moments_of(inputs(batch, storage), True, (0.0, 0.0)) for storage in ("dense", "stationary")
    )
    for name in ("log_nu2_signal", "log_mu2_signal", "log_mu2_noise", "reff_signal"):
        assert dense[name] == pytest.approx(other[name], rel=1e-12)


def test_a_law_by_displacement_is_taken_as_it_is():
    by, _ = stationary(np.random.default_rng(4), 3, 4, 2)
    law = fm.gaussian_images(np.array([1.0, 2.0]), by)
    for storage in ("dense", "stationary"):
        field = inputs(Batch(law.array, True, False, law.covariance), storage)
        np.testing.assert_array_equal(field.own[0], by.reshape(12, 2, 2))
        np.testing.assert_array_equal(field.here.mean, [1.0, 2.0])


def test_out_of_the_range_of_numbers():
    net = fm.Network((fm.Dense(),), weights={"layers.0": {"weight": 1e200 * np.eye(2)}})
    batch = Batch(np.random.default_rng(0).standard_normal((5, 1, 1, 2)), False, True)
    with pytest.raises(ArithmeticError, match="depth 1"), np.errstate(all="ignore"):
        list(GivenRun(net, batch))
