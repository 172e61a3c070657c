"""What comparisons are made of: lines in 1 / width, means over nets."""

import math

import numpy as np
import pytest

from fastmoments.scans.comparisons import extrapolate, mean_logarithm


def test_extrapolation_of_a_line_is_exact():
    widths = np.array([32, 64, 256])
    intercept, error = extrapolate(widths, 3.0 - 5.0 / widths, [0.1, 0.2, 0.1])
    assert intercept == pytest.approx(3.0, rel=1e-14)
    # Two points at 1/N and 2/N: the intercept is 2 y(1/N) - y(2/N).
    intercept, error = extrapolate([32, 64], [1.0, 2.0], [0.3, 0.1])
    assert intercept == pytest.approx(3.0)
    assert error == pytest.approx(math.hypot(0.3, 2 * 0.1))


def test_extrapolation_has_the_error_it_states():
    rng = np.random.default_rng(0)
    widths, errors = np.array([16, 32, 64, 128]), np.array([0.5, 0.3, 0.2, 0.1])
    means = 1.0 + 8.0 / widths + errors * rng.standard_normal((4000, 4))
    fits = np.array([extrapolate(widths, row, errors) for row in means])
    z = (fits[:, 0] - 1.0) / fits[:, 1]
    assert abs(z.mean()) < 4 / math.sqrt(z.size)
    assert abs(z.std() - 1.0) < 4 / math.sqrt(2 * z.size)


def test_chi_is_averaged_as_its_square():
    rng = np.random.default_rng(1)
    logs = 1000.0 + 0.3 * rng.standard_normal(200_000)  # beyond float64, were it not a logarithm
    mean, error = mean_logarithm("chi", {"chi": logs, "error": [0.0]})
    assert abs(mean - (1000.0 + 0.3**2)) < 4 * error
    mean, _ = mean_logarithm("nu2_signal", {"nu2_signal": logs, "error": [0.0]})
    assert mean == pytest.approx(logs.mean())


def test_the_noise_is_averaged_as_it_is():
    rng = np.random.default_rng(2)
    logs = 1000.0 + 0.3 * rng.standard_normal(200_000)
    mean, error = mean_logarithm("mu2_noise", {"mu2_noise": logs, "error": [0.0]})
    assert abs(mean - (1000.0 + 0.3**2 / 2)) < 4 * error and error < 0.3 / math.sqrt(logs.size) * 1.1


def test_a_rank_is_compared_by_its_logarithm():
    mean, error = mean_logarithm("reff_signal", {"reff_signal": [2.0, 8.0], "error": [0.0, 0.0]})
    assert mean == pytest.approx(math.log(4.0)) and error == pytest.approx(math.log(2.0))
