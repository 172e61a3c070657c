"""The kernels behind a merge, by themselves."""

import math

import numpy as np
from numpy.polynomial.hermite_e import hermeval
from numpy.testing import assert_allclose

from fastmoments.kernels import post_activation as kernels
from fastmoments.kernels.threads import limited, spread

KURTOSIS = -0.3


def smoothed(threads=None):
    rng = np.random.default_rng(0)
    n, zero, step, new_zero = 9, 3, 0.05, 40
    sources = 0.3 * (np.arange(n) - zero)
    density, energy = rng.uniform(0.1, 1.0, (2, 4, n))
    positive, negative = np.where(sources >= 0, 0.3, 0.0), np.where(sources <= 0, 0.3, 0.0)
    out = np.zeros((2, 4, 120))
    slopes, scales = np.array([1.0, 0.5]), np.array([0.5, 0.6, 0.7, 0.8])
    widths, shares = np.array([0.1, 0.2, 0.3, 0.4]), np.array([0.0, 0.3, 0.6, 1.0])
    with limited(threads):
        spread(
            kernels.smooth, sources, zero, positive, negative, slopes, scales, widths, shares, KURTOSIS,
            density, energy, step, new_zero, out[0], out[1],
        )  # fmt: skip
    return out, (sources, density, energy, positive, negative, slopes, scales, widths, shares, step, new_zero)


def test_smoothing_is_a_sum_of_gaussians():
    out, given = smoothed()
    sources, density, energy, positive, negative, slopes, scales, widths, shares, step, new_zero = given
    y = step * (np.arange(out.shape[2]) - new_zero)
    for p in range(4):
        passed = energy[p] @ (positive * slopes[0] ** 2 + negative * slopes[1] ** 2)
        kept = (1.0 - shares[p]) / passed
        expected = np.zeros((2, y.size))
        for weights, slope in ((positive, slopes[0]), (negative, slopes[1])):
            places = scales[p] * slope * sources
            bells = np.exp(-0.5 * ((y - places[:, None]) / widths[p]) ** 2) / widths[p]
            bells /= math.sqrt(2.0 * math.pi)
            bells *= 1.0 + KURTOSIS / 24.0 * hermeval((y - places[:, None]) / widths[p], [0, 0, 0, 0, 1])
            expected[0] += weights * density[p] @ bells
            heat = shares[p] * density[p] + kept * slope**2 * energy[p]
            expected[1] += weights * heat @ bells
        assert_allclose(out[:, p], expected, rtol=1e-9, atol=1e-14)


def test_threads_do_not_change_a_bit():
    assert (smoothed(1)[0] == smoothed(2)[0]).all()
