"""The walk of fully connected nets with batch norm: scale, and what sampling adds to correlations."""

import numpy as np
from numpy.testing import assert_allclose

import fastmoments as fm
from fastmoments.engines.finite_width.batch_norm.fully_connected import _of_typical_net, stations
from fastmoments.engines.finite_width.shared.units import Task

IMAGES = np.random.default_rng(0).standard_normal((8, 40)) + 0.2


def test_a_typical_net_has_more_correlation_than_the_mean():
    squared = np.array([[1.0, 0.25, 0.99], [0.25, 1.0, 0.0], [0.99, 0.0, 1.0]])
    found = _of_typical_net(squared, 0.05)
    assert_allclose(found, [[1.0, 0.3, 1.0], [0.3, 1.0, 0.05], [1.0, 0.05, 1.0]])


def test_the_size_of_the_images_does_not_matter_behind_batch_norm():
    def acts(images):
        walk = stations(Task(fm.bn_ff(3, 1, epsilon=0.0), images, 64, frozenset({3}), 0.0))
        return {loc: laws for _, loc, laws in walk if loc is not None}["act"]

    usual, larger = acts(IMAGES), acts(10.0 * IMAGES)
    for name in ("log_nu2_signal", "log_mu2_signal", "reff_signal", "reff_noise"):
        assert_allclose(larger[name], usual[name], rtol=1e-6, atol=1e-9)
    # The noise is divided by the signal's deviation.
    assert_allclose(usual["log_mu2_noise"].mean - larger["log_mu2_noise"].mean, 2.0 * np.log(10.0), rtol=1e-6)
