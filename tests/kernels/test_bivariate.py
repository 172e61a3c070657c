"""Rectified pairs of Gaussians with means, against integrals to 40 digits (`bivariate_points.py`)."""

from pathlib import Path

import numpy as np
import pytest
from bivariate_points import COUNT, points

from fastmoments.kernels import bivariate
from fastmoments.kernels.threads import limited
from fastmoments.maps.rectified import rectify
from fastmoments.nets.activations import ReLU

TABLE = np.loadtxt(Path(__file__).parents[1] / "bivariate_points.csv", delimiter=",")


def pairs(a, b, r, size=1.0):
    """K and C of pairs, each in a matrix of its own."""
    found = np.empty((2, len(a)))
    for n, (x, y, c) in enumerate(zip(a, b, r, strict=True)):
        covariance, noise = np.array([[[1.0, c], [c, 1.0]]]) * size * size, np.ones((1, 2, 2))
        rectify(ReLU(), size * np.array([x, y]), covariance, noise)
        assert covariance[0, 0, 1] == covariance[0, 1, 0] and noise[0, 0, 1] == noise[0, 1, 0]
        found[:, n] = noise[0, 0, 1], covariance[0, 0, 1] / size**2
    return found


def test_the_table_is_of_these_points():
    assert TABLE.shape == (COUNT, 5)
    np.testing.assert_array_equal(TABLE[:, :3], np.stack(points(), 1))


@pytest.mark.parametrize("swapped", [False, True])
def test_every_pair_to_fourteen_digits(swapped):
    """|r| to 1 - 1e-16, means to 30 deviations, nearly equal and opposite ones: 3e-15 was the worst."""
    a, b, r, *wanted = TABLE.T
    with limited(1):
        found = pairs(b, a, r) if swapped else pairs(a, b, r)
    np.testing.assert_allclose(found, wanted, rtol=0.0, atol=1e-14)


@pytest.mark.parametrize("size", [1e-150, 1e-20, 1e20, 1e150])
def test_any_size(size):
    a, b, r = TABLE[:200, :3].T
    r = np.clip(r, -0.99, 0.99)
    np.testing.assert_allclose(pairs(a, b, r, size), pairs(a, b, r), rtol=0.0, atol=3e-15)


def many(units, displacements, seed):
    """Covariances of a field at displacements on a circle: blocks, their mirror, and means."""
    rng = np.random.default_rng(seed)
    waves = rng.standard_normal((displacements, units, 2 * units)) + 1j * rng.standard_normal(
        (displacements, units, 2 * units)
    )
    spectrum = waves @ waves.conj().swapaxes(1, 2)
    there = -np.arange(displacements) % displacements
    spectrum = 0.5 * (spectrum + spectrum[there].conj())
    return np.fft.ifft(spectrum, axis=0).real.copy(), there, rng.standard_normal(units)


@pytest.mark.parametrize(("units", "displacements"), [(3, 1), (70, 1), (130, 3), (5, 4)])
def test_blocks_and_displacements_are_pair_by_pair(units, displacements):
    """Across the borders of blocks, and whether a block is computed or mirrored."""
    covariance, there, mean = many(units, displacements, 0)
    found, factor = covariance.copy(), np.ones_like(covariance)
    rectify(ReLU(), mean, found, factor, there)
    np.testing.assert_array_equal(found, found[there].swapaxes(1, 2))
    scale = np.sqrt(np.diagonal(covariance[0]))
    rng = np.random.default_rng(1)
    for _ in range(40):
        p, i, j = rng.integers(0, (displacements, units, units))
        if p == 0 and i == j:
            continue
        r = covariance[p, i, j] / (scale[i] * scale[j])
        k, c = pairs([mean[i] / scale[i]], [mean[j] / scale[j]], [r])[:, 0]
        assert found[p, i, j] == pytest.approx(c * scale[i] * scale[j], abs=1e-13 * scale[i] * scale[j])
        assert factor[p, i, j] == pytest.approx(k, abs=1e-13)


@pytest.mark.parametrize("threads", [1, 2])
def test_the_numbers_do_not_depend_on_threads(threads):
    covariance, there, mean = many(70, 3, 2)
    covariance /= np.diagonal(covariance[0]).max()
    noise = np.ones_like(covariance)
    other, other_noise = covariance.copy(), noise.copy()
    with limited(threads):
        rectify(ReLU(), mean, covariance, noise, there)
    with limited(1):
        rectify(ReLU(), mean, other, other_noise, there)
    np.testing.assert_array_equal(covariance, other)
    np.testing.assert_array_equal(noise, other_noise)


def test_a_unit_with_itself_has_the_correlation_one():
    """Rounding of the root must not make it a little less, which K would show by its root."""
    variances = np.random.default_rng(0).uniform(0.1, 10.0, 200)
    noise = np.ones((1, 200, 200))
    rectify(ReLU(), np.zeros(200), np.diag(variances)[None].copy(), noise)
    np.testing.assert_allclose(np.diagonal(noise[0]), 0.5, rtol=1e-15)


def test_what_scratch_is_made_of():
    assert bivariate.SCRATCH == 17 * bivariate.BLOCK and bivariate.TERMS % 4 == 0 and bivariate.MILLS % 2
