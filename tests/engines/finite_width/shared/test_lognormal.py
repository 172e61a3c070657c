"""Lognormal moments against sampled logarithms."""

import math

import numpy as np
import pytest
from numpy.testing import assert_allclose

from fastmoments.engines.finite_width.shared.lognormal import (
    Lognormal,
    chi_moment,
    normal_quantiles,
    station_values,
)


def test_a_lognormal_variable_has_the_mean_it_was_made_of():
    law = Lognormal.of_mean(3.0, 0.4)
    x = np.exp(law.mean + math.sqrt(law.variance) * np.random.default_rng(0).standard_normal(400_000))
    assert abs(x.mean() - 3.0) < 3.5 * x.std() / math.sqrt(x.size)
    assert_allclose(law, Lognormal.of_log_mean(math.log(3.0), 0.4))


@pytest.mark.parametrize("shared", [-0.1, 0.0, 0.2])
def test_chi_is_that_of_sampled_logarithms(shared):
    rng = np.random.default_rng(1)
    covariance = np.array([[0.5, shared], [shared, 0.3]])
    noise, signal = rng.multivariate_normal([0.7, -0.4], covariance, 300_000).T
    log_chi = 0.5 * (noise - signal + 1.1)  # chi = sqrt(noise / signal) relative to the images
    law = chi_moment(Lognormal(0.7, 0.5), Lognormal(-0.4, 0.3), 1.1, shared)
    assert abs(log_chi.mean() - law.mean) < 3.5 * log_chi.std() / math.sqrt(noise.size)
    assert_allclose(law.variance, log_chi.var(), rtol=3.5 * math.sqrt(2.0 / noise.size))


def test_quantiles_are_medians_of_cells_of_equal_mass():
    found = normal_quantiles(5)
    normal = np.sort(np.random.default_rng(2).standard_normal(500_000)).reshape(5, -1)
    assert_allclose(found, np.median(normal, 1), atol=6e-3)


def test_station_values_are_means_and_deviations_of_no_negative_variance():
    means, deviations = station_values({"a": Lognormal(1.0, 4.0), "b": Lognormal(2.0, -1e-18)})
    assert means == {"a": 1.0, "b": 2.0} and deviations == {"a": 2.0, "b": 0.0}
