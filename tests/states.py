"""Random signal and noise covariances, stored and in full, for the tests of the maps."""

import math

import hypothesis.strategies as st
import naive
import numpy as np

from fastmoments.covariances.storage import Covariance, NoiseCovariance

sizes = st.tuples(st.integers(1, 3), st.integers(2, 6), st.integers(2, 6))
seeds = st.integers(0, 2**32 - 1)


def state(seed, size, log_scales=(0.0, 0.0)):
    """Signal and noise of a random batch, and both in full."""
    rng = np.random.default_rng(seed)
    full, features = naive.covariance(rng, *size)
    signal = Covariance.from_features(features, 1.0 / features.shape[-1])
    factor = rng.standard_normal((size[0], size[1] * size[2], 4 * size[1] * size[2]))
    blocks = np.einsum("iaf,ibf->iab", factor, factor) / factor.shape[-1]
    noise = NoiseCovariance(blocks.copy(), size[0], size[1:])
    signal.log_scale, noise.log_scale = log_scales
    return signal, noise, full * math.exp(log_scales[0]), blocks * math.exp(log_scales[1])


def noise_in_full(blocks, size):
    """Noise blocks (n, P, P) as n covariances (1, h, w, 1, h, w)."""
    return [block.reshape(1, *size[1:], 1, *size[1:]) for block in blocks]


def in_full(noise):
    return np.broadcast_to(noise.blocks, (noise.images, *noise.blocks.shape[1:])) * math.exp(noise.log_scale)


def assert_consistent(signal):
    """The by-products that a covariance carries beside its blocks."""
    full = signal.dense() * math.exp(-signal.log_scale)
    scale = np.abs(full).max()
    np.testing.assert_allclose(signal.diagonal, np.diag(full), rtol=0, atol=1e-13 * scale)
    np.testing.assert_allclose(signal.row_sums, full.sum(1), rtol=0, atol=1e-12 * scale * len(full))
