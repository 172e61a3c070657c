"""The state between two layers of a plain net, and the stations read off it."""

import dataclasses

import numpy as np
from numpy.testing import assert_allclose

from fastmoments.engines.finite_width.closures import CLOSURES
from fastmoments.engines.finite_width.plain.feedforward import _walk
from fastmoments.engines.finite_width.plain.layer_state import StationMeans, with_sampled_spectrum
from fastmoments.engines.finite_width.shared.hermite_forms import GaussianField

IMAGES = np.random.default_rng(0).standard_normal((6, 40)) * np.linspace(0.6, 1.5, 6)[:, None] + 0.5


def test_a_sampled_spectrum_is_that_of_sampled_channels():
    rng, points, width = np.random.default_rng(1), 30, 120
    factor = rng.standard_normal((points, 50))
    kernel = factor @ factor.T / 50
    for field, act in (
        (None, lambda y: y),
        (GaussianField.of(kernel), lambda y: np.maximum(y, 0.0) * 2**0.5),
    ):
        mean = kernel if field is None else field.rectified()
        tops, root = [], np.linalg.cholesky(kernel)
        for _ in range(200):
            x = act(root @ rng.standard_normal((points, width)))
            x -= x.mean(0)
            tops.append(np.linalg.eigvalsh(x @ x.T / width)[-1])
        h = np.eye(points) - 1.0 / points
        found = np.linalg.eigvalsh(h @ with_sampled_spectrum(mean, width, field) @ h)
        before = np.linalg.eigvalsh(h @ mean @ h)
        assert_allclose(found.sum(), before.sum())
        assert_allclose(found[-1], np.mean(tops), rtol=0.1)
        assert abs(before[-1] - np.mean(tops)) > 3.0 * abs(found[-1] - np.mean(tops))


def test_the_variance_of_a_rank_is_bounded_by_its_closure():
    *_, last = _walk(IMAGES, 3, 64, True, CLOSURES)
    station = StationMeans.of(last, rectified=True, ranks=64)
    variances = {"log_mu2_signal": 0.1, "log_mu4_signal": 0.1, "reff_signal": 3.0, "shared": 0.0}
    laws = station.laws(variances, 0.0, 0.0)
    bounded = dataclasses.replace(
        station, closures=dataclasses.replace(CLOSURES, most_log_rank_variance=1.0)
    ).laws(variances, 0.0, 0.0)
    excess = station.excess
    assert_allclose(laws["reff_signal"].mean - 1.0, excess * np.exp(1.5))
    assert_allclose(bounded["reff_signal"].mean - 1.0, excess * np.exp(0.5))
