"""The kernel state in front of the first batch norm, against sampled channels."""

import numpy as np
from numpy.testing import assert_allclose

from fastmoments.engines.finite_width.batch_norm.kernel_state import of_images, resampled

RNG = np.random.default_rng(0)
IMAGES = RNG.standard_normal((8, 60)) * np.linspace(0.8, 1.3, 8)[:, None] + 0.2


def test_channels_of_the_images_have_their_gram_matrix():
    state, h = of_images(IMAGES, 1.5), np.eye(8) - 1.0 / 8
    gram = 1.5 * IMAGES @ IMAGES.T / 60
    assert_allclose(state.covariance, h @ gram @ h, atol=1e-12)
    assert_allclose(state.second, np.diag(gram))
    assert state.pairs.variance == 0.0 and state.noise.correlation.variance == 1.0 / 60


def test_what_a_linear_layer_samples_is_that_of_sampled_gram_matrices():
    width, nets = 200, 3000
    before = of_images(IMAGES, 1.0)
    after = resampled(before, 1.0, width)
    values, vectors = np.linalg.eigh(before.covariance)
    root = vectors * np.sqrt(np.maximum(values, 0.0))
    grams = np.array([y @ y.T / width for y in root @ RNG.standard_normal((nets, 8, width))])
    logs = np.log(np.einsum("nii->ni", grams))
    assert_allclose(after.norms.variance, np.cov(logs.T), atol=0.1 * 2.0 / width)
    own = np.diag(before.covariance)
    off = ~np.eye(8, dtype=bool)
    relative = (grams - before.covariance) / np.sqrt(np.outer(own, own))
    assert_allclose(after.pairs.variance, (relative**2).mean(0)[off].mean(), rtol=0.05)
    assert_allclose(after.covariance.trace(), before.covariance.trace(), rtol=0.02)
