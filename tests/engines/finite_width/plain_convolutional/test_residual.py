"""Plain convolutional nets with skips: limits, the fully connected theory, simulated nets."""

import math

import numpy as np
import pytest
from numpy.testing import assert_allclose

import fastmoments as fm
from fastmoments.engines.finite_width.closures import CLOSURES
from fastmoments.engines.finite_width.plain import residual as fully_connected
from fastmoments.engines.finite_width.plain_convolutional import residual
from fastmoments.engines.finite_width.plain_convolutional.residual import _sources
from fastmoments.engines.finite_width.shared.relu_moments import ReluMoments
from fastmoments.engines.finite_width.shared.units import Task
from fastmoments.nets.activations import ReLU
from fastmoments.nets.linear import Conv, Gaussian
from fastmoments.nets.network import Network, Residual

MOMENTS = ("log_nu2_signal", "mu2_signal", "log_mu2_noise", "log_chi")


@pytest.mark.parametrize(("padding", "res_depth"), [("periodic", 2), ("zeros", 1), ("symmetric", 2)])
@pytest.mark.parametrize("depth", [1, 5])
def test_nets_of_great_width_are_infinitely_wide(padding, res_depth, depth):
    """What stays is the draw of the noise, of the inputs seen through strides, borders and branches."""
    images, net = fm.load_images("synthetic:8x8x3", 4, seed=3), fm.residual(depth, 3, padding, res_depth)
    exact = fm.scan(net, images)
    found, wider, widest = (
        fm.scan(net, images, fm.FiniteWidth(width=width)) for width in (10**8, 4 * 10**8, 10**16)
    )
    draws = {"log_mu2_noise": 0.5, "log_chi": 1.0}
    for name in MOMENTS:
        for loc in ("act", "merge", "conv"):
            ours, part = found.curve(name, loc), widest.curve(name, loc).sigma ** 2
            shift = draws.get(name, 0.0) * part
            assert_allclose(ours.mean + shift, exact.curve(name, loc).mean, rtol=1e-6, atol=1e-6)
            rest, less = (each.curve(name, loc).sigma ** 2 - part for each in (found, wider))
            assert_allclose(4.0 * less, rest, rtol=1e-4)
            if name in draws:
                drawn = part / (1.0 if name == "log_mu2_noise" else 0.25)
                assert np.all(drawn > 2.0 / (4 * 8 * 8 * 3)) and np.all(drawn < 4.0 / (4 * 8 * 8 * 3))
            else:
                assert np.all(part < 1e-10 * ours.mean**2)


def test_the_order_of_images_does_not_matter():
    images = fm.load_images("synthetic:8x8x3", 6, seed=3).array
    one, other = (
        fm.scan(fm.residual(3, 3, "zeros"), each, fm.FiniteWidth(width=64)) for each in (images, images[::-1])
    )
    for name in (*MOMENTS, "reff_signal"):
        assert_allclose(one.curve(name).sigma, other.curve(name).sigma, rtol=1e-9)
        assert_allclose(one.curve(name).mean, other.curve(name).mean, rtol=1e-9)


def test_gains_and_scales_of_branches_are_units_of_growth():
    """A gain of 8 in one of two layers is a scale of 2."""
    images = fm.load_images("synthetic:8x8x3", 4, seed=3)

    def scanned(gain, scale):
        unit = Residual([ReLU(), Conv(3), ReLU(), Conv(3, weights=Gaussian(gain=gain))], scale=scale)
        net = Network([unit] * 3, [Conv(3, stride=2)])
        return fm.scan(net, images, fm.FiniteWidth(width=64))

    one, other = scanned(8.0, 1.0), scanned(2.0, 2.0)
    for name in MOMENTS:
        assert_allclose(one.curve(name, "merge").sigma, other.curve(name, "merge").sigma, rtol=1e-9)
        assert_allclose(one.curve(name, "merge").mean, other.curve(name, "merge").mean, rtol=1e-9)


@pytest.mark.parametrize("width", [64, 512])
def test_pointwise_convolutions_make_a_fully_connected_net_of_the_positions(width):
    """To the order both claim: the same expansion of mu2; of nu2 one factor a unit there, here orders."""
    images, depth = np.random.default_rng(0).standard_normal((4, 2, 2, 30)) + 0.3, 12
    net, wanted = fm.residual(depth, 1), frozenset({depth})

    def laws(stations, values):
        walk = stations(Task(net, values, width, wanted, 0.0))
        return {loc: found for _, loc, found in walk if loc is not None}

    ours, theirs = laws(residual.stations, images), laws(fully_connected.stations, images.reshape(16, 30))
    for loc in ("act", "merge"):
        one, other = ours[loc], theirs[loc]
        assert_allclose(one["log_mu2_signal"].variance, other["log_mu2_signal"].variance, rtol=0.01)
        assert_allclose(one["log_nu2_signal"].variance, other["log_nu2_signal"].variance, rtol=0.15)
        apart = abs(one["log_nu2_signal"].mean - other["log_nu2_signal"].mean)
        assert apart < 0.1 * math.sqrt(other["log_nu2_signal"].variance), loc


def test_orders_add_up_to_the_sampling_noise():
    c, overlap = np.array([[1.0, 0.3], [0.3, 1.0]]), np.array([[1.0, 0.2], [0.2, 1.0]])
    square, masks = _sources((c, overlap), 10, CLOSURES)
    relu = ReluMoments.of(c)
    assert_allclose(sum(square.values()), (4.0 * relu.j2 - 1.0) / 10.0)
    assert_allclose(sum(masks.values()), (4.0 * relu.k0 * (1.0 + 2.0 * overlap) - 1.0) / 10.0)


@pytest.mark.parametrize(
    ("padding", "res_depth", "width"), [("periodic", 2, 48), ("zeros", 2, 96), ("symmetric", 1, 48)]
)
def test_residual_nets_are_sampled_ones(padding, res_depth, width):
    """Mean and deviation by z-scores, after the first unit and deep."""
    images, nets = fm.load_images("synthetic:12x12x3", 4, seed=2), 300
    net = fm.residual(8, 3, padding, res_depth)
    found = fm.scan(net, images, fm.FiniteWidth(width=width), every=4)
    samples = fm.scan(net, images, fm.Sampled(width=width, nets=nets, seed=4), every=4)
    # What is left out: angles at infinite width, and 5% of deviations at O(1/N) and of the draw of the noise.
    for name, rest in ("log_nu2_signal", 0.0), ("log_mu2_noise", 0.0), ("log_chi", 0.3):
        for loc in ("input", "act", "conv", "merge"):
            ours, theirs = found.curve(name, loc), samples.curve(name, loc)
            z = (ours.mean - theirs.mean) / theirs.sigma
            assert np.abs(z).max() < 3.5 / math.sqrt(nets) + rest, (name, loc, z)
            ratio = ours.sigma / theirs.sigma
            assert np.abs(ratio - 1.0).max() < 3.5 / math.sqrt(2 * nets) + 0.05, (name, loc, ratio)
