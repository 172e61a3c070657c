"""Plain convolutional nets against infinite width, simulated nets and recordings."""

import math

import naive
import numpy as np
import pytest
import recorded
from numpy.testing import assert_allclose
from scipy.special import digamma, polygamma

import fastmoments as fm


@pytest.mark.parametrize("padding", ["periodic", "zeros", "symmetric"])
def test_plain_convolutional_nets_are_sampled_ones(padding):
    """Mean and deviation by z-scores."""
    images, net, nets = fm.load_images("synthetic:12x12x3", 4, seed=2), fm.vanilla(8, padding=padding), 300
    found = fm.scan(net, images, fm.FiniteWidth(width=48), every=8)
    samples = fm.scan(net, images, fm.Sampled(width=48, nets=nets, seed=4), every=8)
    # What is left out: 3% of deviations at O(1/N), and a tenth of a deviation in the mean of log chi.
    for name, rest in ("log_nu2_signal", 0.0), ("log_mu2_noise", 0.0), ("log_chi", 0.1):
        for loc in ("input", "conv", "act"):
            ours, theirs = found.curve(name, loc), samples.curve(name, loc)
            z = (ours.mean[-1] - theirs.mean[-1]) / theirs.sigma[-1]
            assert abs(z) < 3.5 / math.sqrt(nets) + rest, (name, loc, z)
            ratio = ours.sigma[-1] / theirs.sigma[-1]
            assert abs(ratio - 1.0) < 3.5 / math.sqrt(2 * nets) + 0.03, (name, loc, ratio)


@pytest.mark.parametrize("depth", [0, 1, 5])
def test_convolutional_nets_of_great_width_are_infinitely_wide(depth):
    """But for the draw of the noise, whose mean square is a chi-squared variable."""
    images, net = fm.load_images("synthetic:8x8x3", 4, seed=3), fm.vanilla(depth, padding="zeros")
    exact = fm.scan(net, images)
    widths = 10**8, 4 * 10**8, 10**16
    found, wider, limit = (fm.scan(net, images, fm.FiniteWidth(width=width)) for width in widths)
    convs = [*net.stem, *(layer for layer in net.layers if isinstance(layer, fm.Conv))]
    drawn = np.array([naive.draw_variance(images.array.shape, *convs[: 1 + n]) for n in found.depth])
    half = {"log_mu2_noise": 1.0, "log_chi": 0.5}
    for name in ("log_nu2_signal", "mu2_signal", "log_mu2_noise", "log_chi"):
        share, ours, at_limit = half.get(name, 0.0), found.curve(name), limit.curve(name).sigma ** 2
        shift = share * (digamma(1.0 / drawn) + np.log(drawn))
        assert_allclose(ours.mean, exact.curve(name).mean + shift, atol=1e-6)
        assert_allclose(at_limit, share**2 * polygamma(1, 1.0 / drawn), atol=1e-6)
        fallen = (wider.curve(name).sigma ** 2 - at_limit) / (ours.sigma**2 - at_limit)
        assert_allclose(fallen, 0.25, rtol=1e-6)


@pytest.mark.slow
def test_recorded_logarithms_of_convolutional_nets():
    """vanilla_histo, 10,000 nets of width 128: means within 0.02, deviations within 2.2%."""
    data = recorded.load("vanilla_histo")
    found = fm.scan(
        fm.vanilla(200), recorded.cifar(), fm.FiniteWidth(width=128, batch=64, batches=1), every=50
    )
    for name in ("log_nu2_signal", "log_mu2_noise"):
        curve = found.curve(name, "act")
        assert np.abs(curve.mean - data[f"{name}_loc3/mean"]).max() < 0.02, (name, curve.mean)
        assert np.abs(curve.sigma / data[f"{name}_loc3/std"] - 1.0).max() < 0.022, (name, curve.sigma)


@pytest.mark.slow
def test_recorded_chi_and_rank_of_convolutional_nets():
    """vanilla_symmetric, 200 nets of width 512, to depth 50, by one batch."""
    data, net = recorded.load("vanilla_symmetric"), recorded.network("vanilla_symmetric", 50)
    found = fm.scan(net, recorded.cifar()[:64], fm.FiniteWidth(width=512), every=10)
    for name in ("log_chi", "chi", "reff_signal"):
        curve, rows = found.curve(name, "act"), np.searchsorted(data["depth"], found.depth)
        mean, deviation = data[f"{name}_loc3/mean"][rows], data[f"{name}_loc3/std"][rows]
        z, ratio = (curve.mean - mean) / deviation, curve.sigma / deviation
        assert np.abs(z).max() < 1.0, (name, z)
        if name != "reff_signal":  # which varies much between batches
            assert np.abs(z).mean() < 0.35, (name, z)
        assert 0.8 < np.median(ratio) < 1.25, (name, ratio)
