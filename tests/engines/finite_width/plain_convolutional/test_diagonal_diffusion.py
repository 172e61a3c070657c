"""Diffusion of second moments through residual units against sampled channels."""

import math

import numpy as np
from numpy.testing import assert_allclose

from fastmoments.engines.finite_width.plain_convolutional.diagonal_diffusion import DiagonalDiffusion

WIDTH = 400


def test_squares_of_channels_that_persist_diffuse_as_sampled_ones():
    """x' = sqrt(1 - w) x + fresh, of variance w A mean phi(x)^2: three units, two points that A mixes."""
    rng, nets, share = np.random.default_rng(1), 20_000, 0.4
    mix = np.array([[0.7, 0.3], [0.2, 0.8]])
    level = np.array([1.0, 1.5])
    state, second = DiagonalDiffusion.start(level, np.zeros((2, 2))), np.tile(level, (nets, 1))
    # Points of their own channels, so that order 1 to 3 of relu^2 at c = 1 stand on the diagonal.
    source = {
        order: np.eye(2) * part / WIDTH
        for order, part in ((1.0, 8 / math.pi), (2.0, 2.0), (3.0, 3 - 8 / math.pi))
    }
    x = rng.standard_normal((nets, 2, WIDTH), np.float32) * np.sqrt(level)[:, None]
    for _ in range(3):
        squares = 2.0 * np.mean(np.maximum(x, 0.0) ** 2, 2) * second / level
        behind = squares @ mix.T
        after = (1 - share) * level + share * mix @ level
        second = (1 - share) * second + share * behind
        fresh = rng.standard_normal(x.shape, np.float32)
        x = math.sqrt(1 - share) * x + np.sqrt(share * mix @ level)[:, None] * fresh
        faded = (1 - share) * level / after
        state = state.merged(share, source, 0.0, lambda matrix: mix @ matrix, after, faded)
        level = after
    error = 4.0 * math.sqrt(2.0 / nets) * np.sqrt(np.outer(*[np.diag(state.variance)] * 2))
    assert np.all(np.abs(np.cov(second.T) - state.variance) < error + 0.02 * np.abs(state.variance))


def test_without_skips_every_noise_is_fresh():
    rng = np.random.default_rng(0)
    factor = rng.standard_normal((4, 4))
    source, mix, level = {1.0: factor @ factor.T}, rng.random((4, 4)), np.ones(4)
    state = DiagonalDiffusion.start(level, np.eye(4))
    for _ in range(2):
        expected = mix @ (state.variance + source[1.0]) @ mix.T
        state = state.merged(1.0, source, 0.0, lambda matrix: mix @ matrix, level, 0.0 * level)
        assert_allclose(state.variance, expected)
        assert_allclose(state.rectified(source), expected + source[1.0])
