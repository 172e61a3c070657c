"""The rank of the noise of fully connected nets with batch norm."""

import numpy as np
from numpy.testing import assert_allclose

from fastmoments.engines.finite_width.batch_norm.noise_rank import noise_rank


def test_the_rank_of_white_noise_is_that_of_sampled_matrices():
    rng, points, width = np.random.default_rng(8), 48, 192
    found = []
    for _ in range(200):
        x = rng.standard_normal((points, width))
        x -= x.mean(0)
        values = np.linalg.eigvalsh(x @ x.T)
        found.append(values.sum() / values[-1])
    mean, deviation = noise_rank(points, width, 0.0, 0.0)
    assert_allclose(mean, np.mean(found), rtol=0.02)
    assert 0.7 < deviation / np.std(found) < 1.3
