"""What layers do on a walk at infinite width, alone and in one visit with the activation behind them."""

import copy
import json

import numpy as np
import pytest
from numpy.testing import assert_allclose

import fastmoments as fm
from fastmoments.engines.infinite_width.layers import At, inside
from fastmoments.engines.infinite_width.walk import InfiniteWidthWalk
from fastmoments.nets.activations import Abs, LeakyReLU, ReLU
from fastmoments.nets.linear import Conv
from fastmoments.nets.network import Network, Residual
from fastmoments.nets.norms import BatchNorm

IMAGES = fm.load_images("synthetic:8x8x3", 5, seed=0)


def test_layers_inside_have_a_path_and_a_key():
    unit = Residual([ReLU(), Conv()], [Conv(1)])
    found = inside(At("layers.7", "0", unit), "branch")
    assert [(at.path, at.key) for at in found] == [
        ("layers.7.branch.0", "0.branch.0"), ("layers.7.branch.1", "0.branch.1"),
    ]  # fmt: skip
    assert [at.layer for at in inside(At("", "", unit), "shortcut")] == [Conv(1)]


@pytest.mark.parametrize("activation", [ReLU(), LeakyReLU(0.2), Abs()])
@pytest.mark.parametrize("norm", [(), (BatchNorm(),)])
def test_an_activation_is_the_same_in_one_visit_and_in_two(activation, norm):
    """A rank that is wanted before it keeps the two apart."""
    net = Network((Conv(), *norm, activation) * 3)
    one, two = (fm.scan(net, IMAGES, reff_locs=locs) for locs in (("act",), ("conv", "act")))
    for moment in ("log_chi", "log_nu2_signal", "nu1_abs_signal", "reff_signal", "reff_noise"):
        assert_allclose(one[moment, "act"], two[moment, "act"], rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_lost_digits_are_refused_before_they_decide(dtype):
    """An offset: the variance is a difference of second moments that are larger by its square."""
    engine, net = fm.InfiniteWidth(dtype=dtype), fm.bn_ff(3)
    resolution = np.finfo(dtype).eps
    small, large = 0.1 / np.sqrt(resolution) * np.array([0.1, 10.0])
    right = fm.scan(net, IMAGES.array, normalise=False)["log_chi"]
    shifted = fm.scan(net, IMAGES.array + small, engine, normalise=False)
    error = shifted.provenance["layer_error"]
    assert 1e-6 < error < 1e-2
    assert_allclose(shifted["log_chi"], right, rtol=0, atol=100.0 * error)
    with pytest.raises(ValueError, match="agree to so many digits"):
        fm.scan(net, IMAGES.array + large, engine, normalise=False)


@pytest.mark.parametrize("distance", [1e-8, 1e-10])
def test_images_that_are_nearly_the_same_are_refused(distance):
    one, other = np.random.default_rng(0).standard_normal((2, 1, 1, 1, 50))
    with pytest.raises(ValueError, match="agree to so many digits"):
        fm.scan(fm.vanilla(5, 1), np.concatenate([one, one + distance * other]), normalise=False)


def test_a_bias_that_hides_the_signal_is_refused():
    net = Network([Conv(3, fm.Gaussian(bias_variance=1e20)), ReLU()] * 20)
    with pytest.raises(ValueError, match="In unit 1 the signals of all points agree"):
        fm.scan(net, IMAGES)


@pytest.mark.parametrize("epsilon", [1e6, 1e12, 1e30, 1e308])
def test_an_epsilon_that_rules_only_divides(epsilon):
    """chi of y / sqrt(epsilon), whatever the epsilon; and the signal falls by it in every layer."""
    one, other = (fm.scan(fm.bn_ff(20, epsilon=each), IMAGES) for each in (1e9, epsilon))
    assert_allclose(other["log_chi"], one["log_chi"], rtol=0, atol=1e-5)
    falls = np.diff(other["log_nu2_signal"]) - np.diff(one["log_nu2_signal"])
    assert_allclose(falls, np.log(1e9) - np.log(epsilon), rtol=1e-6, atol=1e-5)


def test_batch_norm_of_a_signal_that_does_not_vary_is_refused():
    with pytest.raises(ValueError, match=r"agree to so many digits|needs a signal that varies"):
        fm.scan(Network([Conv(3, stride=2), BatchNorm(), ReLU()] * 2), fm.load_images("synthetic:4x4x3", 1))


THROUGH = BatchNorm(noise="through")
HALVED = Residual([Conv(3, stride=2), THROUGH, ReLU(), Conv(1)], [Conv(1, stride=2)])
ZEROS = Conv(3, padding="zeros")
MOVING = {
    "feed-forward": Network([Conv(1), THROUGH, ReLU()] * 4, stem=[Conv(1)]),
    "convolutional": Network([ZEROS, THROUGH, LeakyReLU(0.1)] * 3, stem=[Conv(3, stride=2)]),
    "residual": Network([Residual([THROUGH, ReLU(), Conv(3)])] * 3, stem=[Conv(3, stride=2)]),
    "strided": Network([Conv(3), THROUGH, ReLU(), HALVED] * 2 + [Conv(2, stride=2), ReLU(), Conv(1)]),
}


@pytest.mark.parametrize("name", MOVING)
def test_noise_through_the_statistics_is_that_of_wide_nets(name):
    """Extrapolated to infinite width."""
    images = fm.load_images("synthetic:8x8x3", 4, seed=0)
    found = fm.verify(MOVING[name], images, widths=(64, 128, 256), nets=24)
    assert found.agrees, found.to_dict()
    assert sum(row.moment == "chi" for row in found.rows) == 3


@pytest.mark.parametrize("name", MOVING)
def test_noise_through_the_statistics_is_the_same_in_single_precision_and_with_every_rank(name):
    net = Network([Conv(1), *MOVING[name].layers]) if name == "strided" else MOVING[name]
    double, ranked = (fm.scan(net, IMAGES, reff_locs=locs) for locs in (("act",), ("norm", "conv", "act")))
    for moment in ("log_chi", "reff_noise"):
        assert_allclose(ranked[moment, "act"], double[moment, "act"], rtol=1e-9, atol=1e-11)
    if net.normalised:
        single = fm.scan(net, IMAGES, fm.InfiniteWidth(dtype="float32"))
        assert_allclose(single["log_chi"], double["log_chi"], rtol=0, atol=1e-5)


def test_the_rank_of_noise_behind_batch_norm_is_that_of_what_it_leaves():
    """One direction of every channel's noise is projected off, in all channels another one."""
    scan = fm.scan(MOVING["feed-forward"], IMAGES, reff_locs=("norm",), every=1)
    frozen = fm.scan(fm.bn_ff(4, 1), IMAGES, reff_locs=("norm",))
    assert_allclose(frozen["reff_noise", "norm"], len(IMAGES.array) - 1, rtol=1e-9)
    assert (scan["reff_noise", "norm"] < len(IMAGES.array) - 1.01).all()


def test_more_points_than_noise_is_followed_through_are_refused():
    net = Network([Conv(3), THROUGH, ReLU()], stem=[Conv(3, stride=2)])
    fits, more = (fm.load_images("synthetic:16x16x1", count) for count in (8, 9))
    assert np.isfinite(fm.scan(net, fits)["log_chi"]).all()
    for images in (more, np.concatenate([more.array, more.array])):
        with pytest.raises(ValueError, match=r"at most 512 points .*, not (576|1,152): give fewer"):
            fm.scan(net, images)
    assert np.isfinite(fm.scan(Network([Conv(3, stride=4), THROUGH, ReLU()]), more)["log_chi"]).all()


POST = {
    "plain, zeros": (Conv(3, padding="zeros"), ReLU(), Conv(3, padding="zeros")),
    "batch norm, periodic": (Conv(3), BatchNorm(), ReLU(), Conv(3), BatchNorm()),
    "leaky": (Conv(3), LeakyReLU(0.1), Conv(3)),
}


@pytest.mark.parametrize("name", POST)
def test_activations_behind_merges_agree_with_simulations(name):
    """ResNet v1 at two widths, extrapolated; a strided unit with a projection between."""
    branch = POST[name]
    first, activation = branch[0], LeakyReLU(0.1) if name == "leaky" else ReLU()
    norm = tuple(layer for layer in branch if isinstance(layer, BatchNorm))[:1]
    strided = Conv(3, stride=2, padding=first.padding)
    unit = (Residual(branch), activation)
    down = (Residual((strided, *branch[1:]), (Conv(1, stride=2), *norm)), activation)
    net = Network((*unit * 2, *down, *unit * 2), stem=(first, *norm, activation))
    images = fm.load_images("synthetic:8x8x3", 3, seed=0)
    options = {"every": 5, "reff_locs": ()}
    exact = fm.scan(net, images, **options)
    small, large = (
        fm.scan(net, images, fm.Sampled(w, n, seed=1), **options) for w, n in ((32, 64), (64, 32))
    )
    for moment in ("log_nu2_signal", "log_mu2_noise", "log_chi"):
        one, two = small.curve(moment, "out"), large.curve(moment, "out")
        limit = 2.0 * two.mean[-1] - one.mean[-1]
        error = np.hypot(2.0 * two.sigma[-1] / 32**0.5, one.sigma[-1] / 64**0.5)
        assert abs(exact[moment, "out"][-1] - limit) < 3.5 * error, moment


def test_a_branch_that_is_shut_off_behind_a_merge_changes_nothing():
    shut = Residual((Conv(3), BatchNorm(), ReLU(), Conv(3)), scale=0.0)
    unit = (Residual((Conv(3), BatchNorm())), ReLU())
    nets = [Network(unit + (shut, ReLU()) * n + unit, stem=(Conv(3), ReLU())) for n in (0, 2)]
    one, other = (fm.scan(net, IMAGES) for net in nets)
    for moment in ("log_nu2_signal", "log_chi", "nu1_abs_signal"):
        assert_allclose(one[moment, "out"][-1], other[moment, "out"][-1], rtol=1e-12)


def test_what_the_copula_leaves_out_is_told_and_kept_by_a_journal(tmp_path):
    """Nothing before the first merge; behind it every moment has an error, the same after a resumption."""
    net = Network((Residual(POST["batch norm, periodic"]), ReLU()) * 4, stem=(Conv(3), BatchNorm(), ReLU()))
    images = fm.load_images("synthetic:4x4x3", 3, seed=0)
    scan = fm.scan(net, images, reff_locs=("out",))
    first = next(station for station in scan.stations if station.loc == "act")
    assert first.error < 1e-6
    error, rank = (scan.curve(name, "out").error for name in ("chi", "reff_signal"))
    assert (np.diff(error / scan["chi", "out"]) >= 0.0).all() and 1e-3 < error[-1] / scan["chi", "out"][
        -1
    ] < 0.05
    assert 1e-3 < rank[-1] / scan["reff_signal", "out"][-1] < 0.2
    assert scan.provenance["layer_error"] >= rank[-1] / scan["reff_signal", "out"][-1] * (1.0 - 1e-12)
    walks = [InfiniteWidthWalk(net, images.array, reff_locs=("out",)) for _ in range(2)]
    taken = {}
    walks[0]._checkpoint = lambda depth, state: taken.update({depth: copy.deepcopy(state())})
    stations = list(walks[0])
    arrays, described = taken[2]
    walks[1]._resumed = 2, arrays, json.loads(json.dumps(described))
    again = list(walks[1])
    assert again == [station for station in stations if station.depth > 2]
    assert again[-1].errors["log_chi"] > 0.0
