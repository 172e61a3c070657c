"""Plain nets with skips: what persists in channels."""

import math

import numpy as np
import pytest
from numpy.testing import assert_allclose

from fastmoments.engines.finite_width.plain.residual import _Noise, _persists
from fastmoments.engines.finite_width.shared.hermite_forms import GaussianField


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("c", [0.2, 0.9])
def test_sampling_noise_of_variances_persists_as_squares_of_the_same_channels(share, c):
    """Cov of relu(x_a)^2 and of relu(x'_b)^2, x' = sqrt(1 - w) x + fresh, over that of one unit."""
    rng, count = np.random.default_rng(1), 1_000_000
    field = GaussianField.of(np.array([[1.0, c], [c, 1.0]]))
    root = np.linalg.cholesky(field.covariance)
    x, fresh = (rng.standard_normal((count, 2)) @ root.T for _ in range(2))
    later = math.sqrt(1.0 - share) * x + math.sqrt(share) * fresh
    before, after = (2.0 * np.maximum(each, 0.0) ** 2 for each in (x, later))
    products = (before[:, 0] - 1.0) * (after[:, 1] - 1.0)
    expected = _persists(field, share)[0, 1] * (4.0 * field.relu.j2[0, 1] - 1.0)
    assert abs(products.mean() - expected) < 3.5 * products.std() / math.sqrt(count)


def test_noises_of_images_are_those_of_random_vectors():
    found = _Noise.of_images(5, 40)
    assert_allclose(found.squared_correlation.variance, (1.0 - np.eye(5)) / 40.0)
    assert found.pair.variance == 0.0 and found.point.variance == 2.0 / 40.0  # each a draw of its own
    assert_allclose(found.start.first, 1.0 / 40.0)
