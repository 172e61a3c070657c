"""Linear layers of a random net against their definitions."""

import naive
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from fastmoments.engines.sampled import walk  # noqa: F401  # registers every layer
from fastmoments.engines.sampled.layers import Draw, Flow, forward
from fastmoments.nets.dense import Dense
from fastmoments.nets.fixed import AvgPool, Dropout, Flatten, GlobalAvgPool, Scale
from fastmoments.nets.linear import Conv, Gaussian

IMAGES = np.random.default_rng(3).standard_normal((3, 6, 5, 4)) * 1e6


def carried(layer, width=7):
    """Signal and noise before a layer and behind it, their scales included, in double precision."""
    flow = Flow.start(IMAGES, np.random.default_rng(0))
    start = flow.pair * np.exp(flow.log_scale).reshape(2, 1, 1, 1, 1)
    forward(layer, flow, Draw(np.random.default_rng(1), width, "weights"), None)
    return start, flow.pair * np.exp(flow.log_scale).reshape(2, 1, 1, 1, 1)


@pytest.mark.parametrize("pool", [AvgPool(2), AvgPool(3, 2, 1), AvgPool(3, 2, None), AvgPool(2, 1)])
def test_means_over_windows(pool):
    start, found = carried(pool)
    down, across = naive.averages(pool, 6), naive.averages(pool, 5)
    expected = np.einsum("au,bv,sivxc->siabc".replace("vx", "uv"), down, across, start)
    for part in range(2):
        assert_allclose(found[part], expected[part], rtol=0, atol=1e-6 * np.abs(expected[part]).max())


@pytest.mark.parametrize(("size", "stride", "pad"), [(2, None, 0), (3, 2, 1), (3, 1, 1)])
def test_means_are_those_of_pytorch(size, stride, pad):
    torch = pytest.importorskip("torch")
    start, found = carried(AvgPool(size, stride, pad))
    images = torch.tensor(start[0]).permute(0, 3, 1, 2)
    theirs = torch.nn.AvgPool2d(size, stride, pad)(images).permute(0, 2, 3, 1).numpy()
    assert_allclose(found[0], theirs, rtol=0, atol=1e-6 * np.abs(theirs).max())


def test_what_has_one_position_behind_it():
    start, found = carried(GlobalAvgPool())
    assert_allclose(found[0], start[0].mean((1, 2), keepdims=True), rtol=0, atol=1.0)
    assert_allclose(found[1], start[1].mean((1, 2), keepdims=True), rtol=0, atol=1e-6)
    start, found = carried(Flatten())
    assert_array_equal(found, start.reshape(2, 3, 1, 1, 120))


def test_factors():
    start, found = carried(Scale(-0.25))
    assert_allclose(found, -0.25 * start, rtol=1e-6)
    start, found = carried(Dropout(0.9))
    assert_array_equal(found, start)


def test_a_dense_layer_is_a_convolution_of_size_one():
    weights = Gaussian(1.0, bias_variance=0.5)
    for channels in (None, 9):
        dense, conv = (
            carried(layer)[1] for layer in (Dense(channels, weights), Conv(1, weights, channels=channels))
        )
        assert dense.shape[-1] == channels or 7
        assert_array_equal(dense, conv)
