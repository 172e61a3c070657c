"""The rank of the noise of fully connected nets with batch norm."""

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings
from numpy.testing import assert_allclose

from fastmoments.engines.finite_width.batch_norm.noise_rank import equivalent_ratio, noise_rank
from fastmoments.engines.finite_width.shared.marchenko_pastur import sampled_spectrum


def test_the_rank_of_white_noise_is_that_of_sampled_matrices():
    rng, points, width = np.random.default_rng(8), 48, 192
    found = []
    for _ in range(200):
        x = rng.standard_normal((points, width))
        x -= x.mean(0)
        values = np.linalg.eigvalsh(x @ x.T)
        found.append(values.sum() / values[-1])
    mean, deviation = noise_rank(0.0, np.ones(points), points / width)
    assert_allclose(mean, np.mean(found), rtol=0.02)
    assert 0.7 < deviation / np.std(found) < 1.3


@pytest.mark.parametrize("kept", [0.5, 0.7])
def test_a_chain_of_samplings_has_the_largest_eigenvalue_of_sampled_matrices(kept):
    """As many channels as points, five layers. One law of what was before would be too low."""
    rng, points, layers, nets = np.random.default_rng(9), 120, 5, 60
    largest = []
    for _ in range(nets):
        gram = np.eye(points)
        for _ in range(layers):
            root = np.linalg.cholesky((1.0 - kept) * np.eye(points) + kept * gram)
            x = root @ rng.standard_normal((points, points))
            gram = x @ x.T / points
        largest.append(np.linalg.eigvalsh(gram)[-1])
    spectrum, one = np.ones(points), np.ones(points)
    for _ in range(layers - 1):
        spectrum = sampled_spectrum((1.0 - kept) + kept * spectrum, 1.0)
    earlier = (1.0 - kept) + kept * spectrum
    ratio = equivalent_ratio(earlier, 1.0, one)
    found = sampled_spectrum(sampled_spectrum(one, ratio), 1.0)[-1]
    assert_allclose(found, np.mean(largest), rtol=0.025)
    alone = sampled_spectrum(sampled_spectrum(one, float(earlier.var())), 1.0)[-1]
    assert alone < 0.97 * np.mean(largest)


@given(st.floats(0.01, 3.0), st.floats(0.01, 2.0), st.floats(0.0, 1.0))
@settings(max_examples=10, deadline=None)
def test_of_one_sampling_the_ratio_is_its_own(before, ratio, deviation):
    sizes = np.exp(deviation * np.linspace(-2.0, 2.0, 50))
    earlier = sampled_spectrum(np.ones(400), before)
    assert_allclose(equivalent_ratio(earlier, ratio, sizes), before, rtol=0.05)
    assert equivalent_ratio(np.ones(50), ratio, sizes) == 0.0
