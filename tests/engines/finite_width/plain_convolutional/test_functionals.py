"""Gradients, and the transposed convolution."""

import math

import naive
import numpy as np
import pytest
from numpy.testing import assert_allclose

from fastmoments.engines.finite_width.plain_convolutional.functionals import transposed
from fastmoments.nets.linear import Conv, Gaussian


@pytest.mark.parametrize("padding", ["periodic", "zeros", "symmetric"])
def test_transposed_convolution(padding):
    """<G, A K> = <A' G, K> for the convolution A of covariances, whose oracle is `naive.convolve`."""
    rng, grid, conv = (
        np.random.default_rng(3),
        (2, 4, 5),
        Conv(3, weights=Gaussian(gain=1.0), padding=padding),
    )
    points = math.prod(grid)
    form, kernel = (m + m.T for m in rng.standard_normal((2, points, points)))
    convolved = naive.flat(naive.convolve(kernel.reshape(*grid, *grid), conv))
    found = transposed(form[None], grid, conv)[0]
    assert_allclose(np.sum(found * kernel), np.sum(form * convolved), rtol=1e-12)
    assert_allclose(found, found.T, atol=1e-14)
