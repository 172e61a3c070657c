"""The rank of the noise of plain nets: limits, products of sampled matrices, and simulated nets."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

import fastmoments as fm
from fastmoments.engines.finite_width.plain.noise_rank import noise_rank


@settings(max_examples=40, deadline=None)
@given(
    st.integers(3, 60), st.floats(0.0, 2.0), st.floats(1e-6, 0.3), st.floats(1e-6, 0.3), st.floats(0.0, 1.0)
)
def test_the_rank_lies_between_one_and_the_dimensions_there_are(points, variance, coherence, fresh, overlap):
    rank, deviation = noise_rank(points, variance, coherence, fresh, overlap)
    assert 1.0 <= rank <= points - 1 + 1e-6
    assert 0.0 <= deviation < points
    # 1 / (x - v) is at least 1 / x: the shared direction alone is an eigenvalue of (M - 1) a^2.
    assert rank * overlap <= 1.0 + 1e-9


def test_a_share_too_small_to_stand_apart_changes_no_deviation():
    alone = noise_rank(3, 0.0, 0.25, 0.25, 0.0)
    assert_allclose(noise_rank(3, 0.0, 0.25, 0.25, 1e-103), alone)


def test_limits():
    assert_allclose(noise_rank(20, 0.0, 0.0, 1e-3, 0.0), (19.0, 0.0), rtol=1e-6)
    assert_allclose(noise_rank(20, 0.3, 0.1, 1e-2, 1.0), (1.0, 0.0), atol=1e-6)
    assert noise_rank(2, 0.3, 0.1, 1e-2, 0.2) == (1.0, 0.0)


@pytest.mark.parametrize(("width", "points", "layers"), [(128, 64, 10), (512, 32, 20), (256, 16, 10)])
def test_products_of_sampled_matrices(width, points, layers):
    rng, found = np.random.default_rng(4), []
    for _ in range(100):
        noise = rng.standard_normal((points, 40 * points))
        noise = np.linalg.qr(noise.T)[0].T @ rng.standard_normal((40 * points, width))
        for _ in range(layers - 1):
            noise = noise @ rng.standard_normal((width, width)) / np.sqrt(width)
        values = np.linalg.svd(noise - noise.mean(0), compute_uv=False) ** 2
        found.append(values.sum() / values[0])
    # Every layer adds the variance 1 / N of a correlation; lengths are what it brings about itself.
    rank, deviation = noise_rank(points, 0.0, layers / width, 1.0 / width, 0.0)
    assert_allclose(rank, np.mean(found), rtol=0.07)
    assert 0.6 < deviation / np.std(found) < 1.6  # without masks nothing is forgotten: the worst case


@pytest.mark.parametrize("family", ["vanilla", "residual"])
@pytest.mark.parametrize(("width", "points"), [(128, 40), (512, 16)])
def test_simulated_nets(family, width, points):
    images = fm.load_images("fashion-mnist", points, seed=1)
    net = getattr(fm, family)(20, kernel_size=1)
    theory = fm.scan(net, images, fm.FiniteWidth(width=width), every=10)
    sampled = fm.scan(net, images, fm.Sampled(width=width, nets=120, seed=5), every=10)
    expected, drawn = (found.curve("reff_noise", "act") for found in (theory, sampled))
    assert np.all(np.abs(expected.mean - drawn.mean)[-2:] < 0.6 * drawn.sigma[-2:])
    assert np.all(np.abs(np.log(expected.sigma / drawn.sigma))[-2:] < np.log(1.4))
