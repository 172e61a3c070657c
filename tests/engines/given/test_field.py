"""Streams that part and come together again, and what is between them."""

import numpy as np
import pytest
from given import covariance

import fastmoments as fm
from fastmoments.engines.given.propagation import field_of


def parted():
    rng = np.random.default_rng(0)
    field = field_of(rng.standard_normal(4), covariance(rng, 4))
    return field, rng.standard_normal((4, 4)), field.own[0][0].copy()


def test_a_copy_is_correlated_with_what_it_is_a_copy_of():
    field, matrix, before = parted()
    skip = field.split()
    field.convolve(fm.Conv(1), matrix[:, :, None, None], None)
    np.testing.assert_allclose(field.blocks[skip, field.at][0][0], before @ matrix.T)
    field.merge(skip, 2.0)
    total = np.eye(4) + 2.0 * matrix
    np.testing.assert_allclose(field.own[0][0], total @ before @ total.T)
    assert list(field.blocks) == [(0, 0)] and field.at == 0


def test_what_meets_an_activation_meets_its_mean_slope():
    """Cov(relu(z), s) = Phi(mu / sigma) Cov(z, s)."""
    from scipy.stats import norm

    field, _, before = parted()
    mean = field.here.mean
    skip = field.split()
    field.activate(fm.ReLU())
    slope = norm.cdf(mean / np.sqrt(np.diagonal(before)))
    np.testing.assert_allclose(field.blocks[skip, field.at][0][0], before * slope, rtol=1e-12)
    assert not field.here.gaussian and field.streams[skip].gaussian


def test_streams_of_different_shapes_do_not_merge():
    field, matrix, _ = parted()
    skip = field.split()
    field.convolve(fm.Conv(1), matrix[:3, :, None, None], None)
    with pytest.raises(ValueError, match=r"\(1, 1, 3\), the shortcut in \(1, 1, 4\)"):
        field.merge(skip, 1.0)
