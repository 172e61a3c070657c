"""Lognormal angles against infinite width."""

import naive
import numpy as np
import pytest
from numpy.testing import assert_allclose

from fastmoments.engines.finite_width.plain.angle_closure import AngleMoments


def covariance(rng, points):
    """A random covariance of full rank, with variances of several sizes."""
    factor = rng.standard_normal((points, points + 2))
    return factor @ factor.T / points * np.outer(*[np.exp(0.3 * rng.standard_normal(points))] * 2)


@pytest.mark.parametrize("kind", ["sampled", "rectified"])
def test_pairs_without_noise_are_those_of_infinite_width(kind):
    rng = np.random.default_rng(0)
    matrix = covariance(rng, 6)
    c = matrix / np.sqrt(np.outer(np.diag(matrix), np.diag(matrix)))
    found = getattr(AngleMoments.exact(c), kind)(1e15).mean_correlation()
    assert_allclose(found, c if kind == "sampled" else 2 * naive.relu(c), rtol=0, atol=1e-13)
