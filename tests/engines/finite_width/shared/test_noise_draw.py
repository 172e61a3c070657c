"""The draw of the noise on the images, against draws and simulated nets of few inputs."""

import math

import naive
import numpy as np
import pytest
from numpy.testing import assert_allclose

import fastmoments as fm
from fastmoments.engines.finite_width.shared.noise_draw import draw_variance, inputs_seen
from fastmoments.maps.convolution import patches


def test_the_variance_is_that_of_draws():
    inputs, draws = 200, 40_000
    noise = np.random.default_rng(0).standard_normal((draws, inputs))
    logs = np.log(np.square(noise).mean(1))
    assert abs(logs.var() / draw_variance(inputs) - 1.0) < 3.5 * math.sqrt(2.0 / draws) + 1.0 / inputs


@pytest.mark.parametrize("padding", ["periodic", "zeros", "symmetric"])
@pytest.mark.parametrize("stride", [1, 2])
def test_a_layer_sees_as_many_inputs_as_draws_show(padding, stride):
    shape, draws, conv = (3, 5, 4, 2), 20_000, fm.Conv(3, stride=stride, padding=padding)
    assert_allclose(draw_variance(inputs_seen(shape, conv)), naive.draw_variance(shape, conv), rtol=1e-12)
    noise = np.random.default_rng(1).standard_normal((draws * shape[0], *shape[1:]))
    logs = np.log(np.square(patches(noise, conv)).reshape(draws, -1).mean(1))
    inputs = float(inputs_seen(shape, conv))
    assert inputs <= 120.0
    assert abs(logs.var() / draw_variance(inputs) - 1.0) < 3.5 * math.sqrt(2.0 / draws) + 2.0 / inputs


def test_borders_of_later_layers_weigh_the_inputs():
    shape, conv = (2, 4, 6, 1), fm.Conv(3, padding="zeros")
    matrix = np.array([naive.convolve(np.diag(e).reshape(1, 4, 6, 1, 4, 6), conv) for e in np.eye(24)])
    seen = np.einsum("ipp->ip", matrix.reshape(24, 24, 24))  # of each position, at each behind the layer
    later = np.stack([np.ones(24), seen.sum(1), seen @ seen.sum(1)])
    expected = [naive.draw_variance(shape, *[conv] * layers) for layers in (1, 2, 3)]
    assert_allclose(draw_variance(inputs_seen(shape, conv, later)), expected, rtol=1e-12)


@pytest.mark.parametrize(
    ("family", "kernel_size", "width"),
    [
        *[(family, 1, 512) for family in ("vanilla", "residual", "bn_ff", "bn_res")],
        *[(family, 3, 256) for family in ("vanilla", "bn_ff")],
        pytest.param("bn_res", 3, 256, marks=pytest.mark.slow),
    ],
)
def test_of_few_inputs_the_draw_is_most_of_the_deviation(family, kernel_size, width):
    """Eight images of 6 x 6 pixels, depth 1 and 2: deviations of simulated nets by z-scores."""
    net, nets = getattr(fm, family)(2, kernel_size=kernel_size), 400
    images = fm.load_images("synthetic:6x6x1", 8, seed=3)
    found = fm.scan(net, images, fm.FiniteWidth(width=width))
    samples = fm.scan(net, images, fm.Sampled(width=width, nets=nets, seed=5))
    drawn = naive.draw_variance(images.array.shape, *(net.stem if kernel_size > 1 else ()))
    for name, share in ("log_mu2_noise", 1.0), ("log_chi", 0.25):
        for loc in found.moments[name]:
            ours, theirs = found.curve(name, loc).sigma, samples.curve(name, loc).sigma
            z = (ours / theirs - 1.0) * math.sqrt(2 * nets)
            assert np.abs(z).max() < 3.5, (name, loc, z)
            without = (np.sqrt(ours**2 - share * drawn) / theirs - 1.0) * math.sqrt(2 * nets)
            assert without.max() < -3.5, (name, loc, without)
