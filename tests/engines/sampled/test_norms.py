"""Norms of every image by itself: signal by definition, noise by differences."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from fastmoments.engines.sampled import walk  # noqa: F401  # registers every layer
from fastmoments.engines.sampled.layers import Flow, forward
from fastmoments.nets.layer_norm import GroupNorm, LayerNorm
from fastmoments.nets.norms import BatchNorm

IMAGES = np.random.default_rng(3).standard_normal((3, 4, 5, 6)) * 30.0 + 7.0
LAYERS = [
    LayerNorm(), LayerNorm(200.0, gamma=2.0), LayerNorm(5.0, over="image"),
    GroupNorm(3, 10.0), GroupNorm(6, 0.0),
]  # fmt: skip


def defined(layer, images):
    """By its definition, in double precision."""
    n, h, w, _ = images.shape
    if not layer.image:
        mean, variance = images.mean(3, keepdims=True), images.var(3, keepdims=True)
        return layer.gamma * (images - mean) / np.sqrt(variance + layer.epsilon)
    parts = images.reshape(n, h, w, layer.parts, -1)
    mean, variance = parts.mean((1, 2, 4), keepdims=True), parts.var((1, 2, 4), keepdims=True)
    return (layer.gamma * (parts - mean) / np.sqrt(variance + layer.epsilon)).reshape(images.shape)


def carried(layer, images=IMAGES):
    flow = Flow.start(images, np.random.default_rng(0))
    start = flow.pair * np.exp(flow.log_scale).reshape(2, 1, 1, 1, 1)
    forward(layer, flow, None, None)
    return start, flow.pair * np.exp(flow.log_scale).reshape(2, 1, 1, 1, 1)


@pytest.mark.parametrize("layer", LAYERS)
def test_signal_and_its_derivative_along_the_noise(layer):
    (signal, noise), found = carried(layer)
    assert_allclose(found[0], defined(layer, signal), rtol=0, atol=1e-5)
    step = 1e-3
    slope = (defined(layer, signal + step * noise) - defined(layer, signal - step * noise)) / (2.0 * step)
    assert_allclose(found[1], slope, rtol=0, atol=2e-5 * np.abs(slope).max())


@pytest.mark.parametrize("layer", LAYERS)
def test_they_are_pytorch_s(layer):
    torch = pytest.importorskip("torch")
    (signal, _), found = carried(layer)
    images = torch.tensor(signal).permute(0, 3, 1, 2)
    if layer.image:
        theirs = torch.nn.functional.group_norm(images, layer.parts, eps=layer.epsilon).permute(0, 2, 3, 1)
    else:
        theirs = torch.nn.functional.layer_norm(torch.tensor(signal), (6,), eps=layer.epsilon)
    assert_allclose(found[0], layer.gamma * theirs.numpy(), rtol=0, atol=1e-5)


def test_groups_that_do_not_divide_are_refused():
    with pytest.raises(ValueError, match="GroupNorm: 4 groups do not divide 6 channels"):
        carried(GroupNorm(4))


def test_an_image_without_signal_stays_without():
    images = IMAGES.copy()
    images[1] = 0.0
    for layer in (LayerNorm(0.0), GroupNorm(3, 0.0)):
        found = carried(layer, images)[1]
        assert np.isfinite(found).all() and not found[:, 1].any() and found[0, 0].any()


@pytest.mark.parametrize("epsilon", [0.0, 100.0])
def test_a_population_divides_all_channels_alike(epsilon):
    images = IMAGES * np.arange(1.0, 7.0)
    (signal, noise), found = carried(BatchNorm(epsilon, statistics="population"), images)
    deviation = np.sqrt(signal.var((0, 1, 2)).mean() + epsilon)
    assert_allclose(found[0], (signal - signal.mean((0, 1, 2))) / deviation, rtol=0, atol=1e-5)
    assert_allclose(found[1], noise / deviation, rtol=1e-5)
