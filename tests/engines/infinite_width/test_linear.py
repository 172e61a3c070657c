"""Linear layers on a walk at infinite width: against naive formulas, and against wide random nets."""

import naive
import numpy as np
import pytest
from numpy.testing import assert_allclose

import fastmoments as fm
from fastmoments.engines.infinite_width.walk import InfiniteWidthWalk
from fastmoments.nets.network import Network, Residual

RELU, BN = fm.ReLU(), fm.BatchNorm()
CONV, ONE = fm.Conv(padding="zeros"), fm.Gaussian(gain=1.0)
HEAD = [fm.GlobalAvgPool(), fm.Flatten(), fm.Dense(10, fm.Gaussian(1.0 / 3.0, bias_variance=0.1))]
DOWN = Residual(
    [BN, RELU, fm.Conv(stride=2), BN, RELU, fm.Conv()], [fm.AvgPool(2), fm.Conv(1, ONE)]
)  # fmt: skip
NETS = {
    "head": Network([CONV, RELU, CONV, RELU, *HEAD]),
    "flatten": Network([CONV, RELU, fm.AvgPool(2), CONV, RELU, fm.Flatten(), fm.Dense(), RELU, *HEAD]),
    "pools": Network(
        [CONV, fm.AvgPool(3, 2, 1), RELU, CONV, RELU, fm.Scale(0.3), fm.AvgPool(3, 2, None), *HEAD]
    ),
    "images first": Network([fm.Scale(-2.0), fm.AvgPool(2), CONV, RELU, fm.Dropout(), *HEAD]),
    "perceptron": Network([fm.Flatten(), fm.Dense(), RELU, fm.Dense(), RELU, fm.Dropout(), fm.Dense()]),
    "normalised": Network([CONV, fm.AvgPool(2), BN, RELU, fm.AvgPool(2), CONV, BN, RELU, *HEAD]),
    "residual": Network([DOWN, Residual([BN, RELU, fm.Conv()]), fm.Conv(), BN, RELU, *HEAD], stem=[CONV]),
    "dense in a branch": Network(
        [Residual([RELU, fm.Dense(), RELU, fm.Dense(weights=ONE), fm.Scale(0.5)])] * 2 + HEAD, stem=[CONV]
    ),
}  # fmt: skip
IMAGES = fm.load_images("synthetic:8x8x3", 6, seed=0)


@pytest.mark.parametrize("name", NETS)
def test_moments_are_those_of_wide_nets(name):
    """Extrapolated to infinite width."""
    found = fm.verify(NETS[name], IMAGES, widths=(64, 128, 256), nets=24)
    assert found.agrees, [(row.depth, row.loc, row.moment, row.z) for row in found.rows]
    assert {row.moment for row in found.rows} >= {"chi", "nu2_signal", "mu2_signal"}


@pytest.mark.parametrize("name", NETS)
def test_every_station_is_that_of_a_wide_net(name):
    """Behind every layer, whatever its kind: moments whose mean is that at infinite width to first order."""
    analytic = fm.scan(NETS[name], IMAGES)
    sampled = fm.scan(NETS[name], IMAGES, fm.Sampled(256, 30, seed=3))
    for station, other in zip(analytic.stations, sampled.stations, strict=True):
        assert station.path == other.path
        for moment in ("nu1_abs_signal", "nu2_signal", "mu2_noise"):
            if moment in station.mean:
                mean, sigma = other.mean[moment], other.sigma[moment]
                error = np.hypot(sigma / np.sqrt(30), 0.02 * mean)
                assert abs(station.mean[moment] - mean) < 4.0 * error, (station.path, moment)


def test_a_net_by_hand():
    """Conv, ReLU, windows of 2 x 2, flattened, dense: every formula in its naive form."""
    values = np.random.default_rng(0).standard_normal((20, 4, 4, 3))
    dense = fm.Dense(weights=fm.Gaussian(0.7, bias_variance=0.3))
    net = Network([CONV, RELU, fm.AvgPool(2), fm.Flatten(), dense])
    full = np.einsum("iabf,jcdf->iabjcd", values, values) / 3
    behind = naive.relu(naive.flat(naive.convolve(full, CONV))).reshape(full.shape)
    halves = naive.averages(fm.AvgPool(2), 4)
    expected = 0.7 * naive.flat(naive.flatten(naive.average(behind, halves, halves))) + 0.3
    found = InfiniteWidthWalk(net, values).final_state()
    assert_allclose(found.covariance.dense(), expected, rtol=0, atol=1e-13 * expected.max())
    assert found.covariance.grid == (1, 20, 1) and found.noise.grid == (1, 1)


@pytest.mark.parametrize("layers", [[fm.AvgPool(2)], [fm.Flatten()], [fm.Scale(-3.0)], [fm.Dropout()]])
def test_what_the_images_go_through_first_is_computed_on_them(layers):
    """The same covariance as of images that went through it before."""
    values = np.random.default_rng(0).standard_normal((5, 4, 4, 3))
    through = {
        "AvgPool": values.reshape(5, 2, 2, 2, 2, 3).mean((2, 4)), "Flatten": values.reshape(5, 1, 1, 48),
        "Scale": -3.0 * values, "Dropout": values,
    }[type(layers[0]).__name__]  # fmt: skip
    rest = [fm.Conv(1), RELU]
    found = InfiniteWidthWalk(Network([*layers, *rest]), values).final_state().covariance
    expected = InfiniteWidthWalk(Network(rest), through).final_state().covariance
    assert_allclose(found.dense(), expected.dense(), rtol=1e-12, atol=1e-14)
    alone = InfiniteWidthWalk(Network(layers), values).final_state().covariance
    flat = through.reshape(-1, through.shape[-1])
    assert_allclose(alone.dense(), flat @ flat.T / flat.shape[1], rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("pad", [0, 1])
def test_what_signal_and_noise_share_goes_through_windows(pad):
    """On a grey image it is a large part of the noise that a batch norm behind a pool sees.

    Given the images the channels are independent, so that the mean does not depend on the width.
    """
    images = fm.load_images("synthetic:6x6x1", 4, seed=0)
    layers = [fm.Conv(2, padding="zeros"), fm.AvgPool(2, 1, pad), BN]
    found = fm.scan(Network(layers), images).station("layers.2").mean["mu2_noise"]
    sampled = fm.scan(Network(layers), images, fm.Sampled(64, 300)).station("layers.2")
    error = sampled.sigma["mu2_noise"] / np.sqrt(300)
    assert abs(found - sampled.mean["mu2_noise"]) < 3.0 * error
    apart = fm.scan(Network([*layers[:1], fm.AvgPool(2, 1, None), BN]), images)  # where it is not followed
    assert pad or apart.station("layers.2").mean["mu2_noise"] > found


def test_single_precision():
    net = Network([CONV, BN, RELU, fm.AvgPool(2), CONV, BN, RELU, fm.GlobalAvgPool()])
    double, single = (fm.scan(net, IMAGES, fm.InfiniteWidth(dtype=dtype)) for dtype in ("float64", "float32"))
    assert_allclose(single["log_chi"], double["log_chi"], rtol=0, atol=1e-5)


def test_what_follows_a_law_that_is_not_known_is_refused():
    for layers in (
        [CONV, RELU, fm.AvgPool(2), RELU],
        [CONV, BN, fm.Dropout(), RELU],
        [CONV, fm.Flatten(), RELU],
    ):
        with pytest.raises(ValueError, match=r"ReLU of a signal that is neither .* \(mixed\)"):
            fm.scan(Network(layers), IMAGES)
    with pytest.raises(ValueError, match="An AvgPool of size 9 does not fit on a side of 8"):
        fm.scan(Network([CONV, fm.AvgPool(9)]), IMAGES)
    with pytest.raises(ValueError, match="agree to so many digits"):
        fm.scan(Network([CONV, fm.GlobalAvgPool()]), IMAGES.array[:1])
