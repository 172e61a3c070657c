"""What channels have by chance, against sampled channels."""

import math

import hypothesis.strategies as st
import numpy as np
from hypothesis import given, settings

from fastmoments.engines.finite_width.batch_norm.finite_channel_variance import finite_channel_variance


def covariance(rng, points):
    """A random covariance of full rank, with variances of several sizes."""
    factor = rng.standard_normal((points, points + 2))
    return factor @ factor.T / points * np.outer(*[np.exp(0.3 * rng.standard_normal(points))] * 2)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**31), st.integers(5, 24), st.sampled_from([1e-3, 0.3]))
def test_what_a_channel_has_by_chance(seed, points, epsilon):
    """Of 20,000 channels, by the standard error of a variance."""
    rng = np.random.default_rng(seed)
    features = rng.standard_normal((points, 3 * points))
    features -= features.mean(0)
    covariance = features @ features.T / (3 * points)
    values, vectors = np.linalg.eigh(covariance)
    found = finite_channel_variance(np.maximum(values, 0.0), vectors, epsilon)
    nets = 20_000
    y = features @ rng.standard_normal((3 * points, nets)) / math.sqrt(3 * points)
    z = y / np.sqrt((y**2).mean(0) + epsilon)
    half = np.maximum(z, 0.0)
    moments = {
        "nu1": np.abs(z).mean(0),
        "mu4": (z**4).mean(0),
        "nu2": (half**2).mean(0),
        "mu2": (half**2).mean(0) - half.mean(0) ** 2,
    }
    for name, values in moments.items():
        relative = values / values.mean() - 1.0
        error = math.sqrt(max(np.mean(relative**4) / np.mean(relative**2) ** 2 - 1.0, 2.0) / nets)
        # A large epsilon lets mean z^2 vary with the channel, which half and centred leave out.
        if epsilon < 0.01 or name in ("nu1", "mu4"):
            ratio = getattr(found, name) / float(np.mean(relative**2))
            assert abs(ratio - 1.0) < 5.0 * error + (0.02 if name == "mu2" else 1e-3), (name, ratio)
