"""The drawn step in whole nets: against exact maps, simulations, and itself."""

import numpy as np
import pytest

import fastmoments as fm
from fastmoments import BatchNorm, Conv, MaxPool, Network, ReLU, Residual
from fastmoments.engines.protocol import Plan
from fastmoments.images.batches import Batch

IMAGES = fm.load_images("synthetic:6x6x3", 5, seed=0)
STEM = (Conv(), BatchNorm(), ReLU(), MaxPool(3, 2, 1))
UNIT = (Conv(), BatchNorm(), ReLU())

NETS = {
    "pool": Network(UNIT, stem=STEM),
    "plain pool": Network((Conv(), ReLU(), Conv(), ReLU(), MaxPool(), Conv(), ReLU())),
    "depthwise": Network(
        (*UNIT, Conv(groups="depthwise"), BatchNorm(), ReLU(), Conv(1), BatchNorm(), ReLU())
    ),
    "post norm": Network((Conv(), ReLU(), BatchNorm()) * 3),
    "smooth": Network((Conv(), BatchNorm(), fm.GELU()) * 3),
    "smooth, strided, shortcut": Network(
        (Residual((BatchNorm(), fm.SiLU(), Conv())), Conv(stride=2), BatchNorm(), fm.SiLU()), stem=(Conv(),)
    ),
    "shortcut": Network((Residual((BatchNorm(), ReLU(), Conv())),) * 2 + UNIT, stem=STEM),
}
MOMENTS = ("nu1_abs_signal", "nu2_signal", "mu2_signal", "mu4_signal", "mu2_noise", "log_chi", "reff_signal")


def stations_of(net, engine):
    """The stations as the engine gives them."""
    plan = Plan(frozenset(range(1, net.depth + 1)))
    return list(engine.prepare(net, Batch(IMAGES.array, True, net.fully_connected), plan))


@pytest.mark.parametrize("name", NETS)
def test_simulations_agree_at_two_widths_extrapolated(name):
    """Logarithms of the mean over nets, but for log chi; what the draw adds to the deviation is known."""
    net, nets = NETS[name], 30
    drawn = {station.path: station.drawn for station in stations_of(net, fm.InfiniteWidth())}
    ours = fm.scan(net, IMAGES)
    narrow, wide = (fm.scan(net, IMAGES, fm.Sampled(width, nets)) for width in (128, 256))
    z = []
    for station, one, other in zip(ours.stations[1:], narrow.stations[1:], wide.stations[1:], strict=True):
        for moment in set(MOMENTS) & set(station.mean):
            limit = 2.0 * other.mean[moment] - one.mean[moment]
            deviation = np.hypot(2.0 * other.sigma[moment], one.sigma[moment]) / np.sqrt(nets)
            known = drawn[station.path]
            error = known.get(moment, known.get(f"log_{moment}", 0.0))
            error *= 1.0 if moment == "log_chi" else station.mean[moment]
            z.append((station.mean[moment] - limit) / np.hypot(deviation, max(error, 1e-5)))
    assert np.mean(np.square(z)) < 2.0 and np.abs(z).max() < 4.0


def test_depthwise_and_pointwise_need_no_drawing():
    """Behind a pointwise Conv only second moments count, and those are of a full Conv as well."""
    ours, full = (
        fm.kernel(Network((*UNIT, Conv(3, groups=groups), Conv(1))), IMAGES) for groups in ("depthwise", 1)
    )
    np.testing.assert_allclose(ours, full, rtol=1e-12)
    grouped = fm.kernel(Network((*UNIT, Conv(3, groups=4))), IMAGES)
    np.testing.assert_allclose(grouped, fm.kernel(Network((*UNIT, Conv(3))), IMAGES), rtol=1e-12)


def test_windows_of_one_position_change_nothing():
    with_pool, without = (fm.scan(Network((*UNIT, *layers, *UNIT)), IMAGES) for layers in ((MaxPool(1),), ()))
    np.testing.assert_array_equal(with_pool["chi"], without["chi"])


def test_images_may_be_permuted():
    """In law: within the standard errors."""
    order = [3, 1, 4, 0, 2]
    one, other = (fm.scan(NETS["pool"], array) for array in (IMAGES.array, IMAGES.array[order]))
    assert one["log_chi"][-1] == pytest.approx(other["log_chi"][-1], abs=0.02)
    assert one["reff_signal"][-1] == pytest.approx(other["reff_signal"][-1], rel=0.03)


@pytest.mark.parametrize("factor", [1e-3, 7.0, 1e8])
def test_a_homogeneous_net_scales(factor):
    net = NETS["plain pool"]
    one, other = (fm.scan(net, IMAGES.array * scale, normalise=False) for scale in (1.0, factor))
    np.testing.assert_allclose(other["nu2_signal"], factor**2 * one["nu2_signal"], rtol=1e-4)
    np.testing.assert_allclose(other["reff_signal"], one["reff_signal"], rtol=1e-4)


def test_the_same_seed_gives_the_same_curves_and_errors_are_told():
    engine = fm.InfiniteWidth(draws=512)
    one, other, another = (
        fm.scan(NETS["pool"], IMAGES, each) for each in (engine, engine, fm.InfiniteWidth(draws=512, seed=1))
    )
    assert one["chi"][-1] == other["chi"][-1] != another["chi"][-1]
    assert one["chi"][-1] == pytest.approx(another["chi"][-1], rel=0.1)
    assert one.provenance["layer_error"] > fm.scan(NETS["pool"], IMAGES).provenance["layer_error"] > 1e-3


def test_errors_of_curves_cover_nine_of_ten():
    """Behind the drawn step, over 60 seeds; that of the rank, a nonlinear function, to a factor."""
    last = [stations_of(NETS["pool"], fm.InfiniteWidth(draws=1_024, seed=seed))[-1] for seed in range(60)]
    chi = np.array([station.moments["log_chi"] for station in last])
    z = (chi - chi.mean()) / [station.drawn["log_chi"] for station in last]
    assert np.mean(np.abs(z) < 1.645) >= 0.9
    rank = np.log([station.moments["reff_signal"] for station in last])
    assert 0.7 < rank.std() / np.mean([station.drawn["reff_signal"] for station in last]) < 1.4


def test_a_beta_shifts_every_channel():
    net = Network((Conv(), BatchNorm(beta=0.5), ReLU(), Conv(), ReLU()))
    scan = fm.scan(net, IMAGES)
    at = scan.station("layers.1").mean
    assert at["nu2_signal"] - at["mu2_signal"] == pytest.approx(0.25, rel=1e-5)


def test_the_first_weights_may_be_those_of_a_dense_layer():
    """The same draws as of the 1 x 1 convolution that it is."""
    behind = (ReLU(), BatchNorm(), ReLU(), Conv(1))
    one, other = (fm.scan(Network((first, *behind)), IMAGES) for first in (Conv(1), fm.Dense()))
    assert one.stations[-1].mean["log_chi"] == other.stations[-1].mean["log_chi"]
    assert other.provenance["drawn"]


def test_a_unit_of_fresh_weights_on_the_images_is_drawn_behind_it():
    unit = Residual((Conv(),), (Conv(),))
    scan = fm.scan(Network((unit, fm.LeakyReLU(), fm.LeakyReLU())), IMAGES)
    assert [station.law for station in scan.stations[-2:]] == ["drawn", "drawn"]
    sampled = fm.scan(Network((unit, fm.LeakyReLU(), fm.LeakyReLU())), IMAGES, fm.Sampled(256, 20))
    assert scan["log_chi"][-1] == pytest.approx(sampled["log_chi"][-1], abs=0.03)


def test_a_dry_run_knows_of_channels_drawn_on_the_images():
    behind = (ReLU(), BatchNorm(), ReLU(), Conv(1))
    many, few = (
        fm.estimate(Network((Conv(), *behind)), IMAGES, fm.InfiniteWidth(draws=draws)).bytes
        for draws in (10**6, 10**3)
    )
    assert many > few + 4 * 2 * 30_000 * IMAGES.array[..., 0].size  # a batch, a 32nd of them


def test_images_that_are_equal_behind_an_activation_are_refused():
    """Of one pixel each, opposite to each other: behind Abs there is no variance, whose rank was 0 / 0."""
    net = Network([fm.Network([fm.Abs(), fm.Abs()])], stem=[fm.Conv()])
    with pytest.raises(ValueError, match="the signals of all points agree"):
        fm.scan(net, np.array([0.0, 1.0]).reshape(2, 1, 1, 1))
