"""The simulation against a naive one, against itself drawn otherwise, and against the recordings."""

import math

import numpy as np
import pytest
import recorded
from numpy.testing import assert_allclose
from simulated import FLAT, MIXED, SQUARE, naive_stations

from fastmoments.engines.protocol import ENGINE_MOMENTS, recorded_depths
from fastmoments.engines.sampled import layers as sampling
from fastmoments.engines.sampled.walk import SampledRun
from fastmoments.nets import families
from fastmoments.nets.activations import ReLU
from fastmoments.nets.linear import Conv, Gaussian
from fastmoments.nets.network import LOCS, Network, Residual
from fastmoments.nets.norms import BatchNorm


def run(network, images, every=1, **options):
    depths = recorded_depths(network.depth, every)
    walk = SampledRun(network, images, depths=depths, **{"width": 8, "nets": 1, **options})
    return [station for station in walk if station.loc]


@pytest.mark.parametrize(
    ("network", "images"),
    [(family(3, kernel_size=1), FLAT) for family in families.FAMILIES.values()]
    + [
        (family(2, padding=padding), SQUARE)
        for family, padding in zip(
            families.FAMILIES.values(), ["periodic", "zeros", "symmetric", "zeros"], strict=True
        )
    ]
    + [(MIXED, SQUARE), (MIXED, 40.0 * SQUARE), (MIXED, 0.01 * SQUARE)],
)
@pytest.mark.parametrize("block", [16, 2**16])
def test_every_station_is_that_of_the_oracle(network, images, block, monkeypatch):
    monkeypatch.setattr(sampling, "BLOCK", block)
    ours = run(network, images, width=7, seed=3, draw="weights", reff_locs=LOCS)
    naive = list(naive_stations(network, images, 7, 3))
    assert [(s.depth, s.loc) for s in ours] == [(depth, loc) for depth, loc, _ in naive]
    for station, (_, _, moments) in zip(ours, naive, strict=True):
        assert set(station.moments) == set(moments) == set(ENGINE_MOMENTS)
        assert station.error < 1e-5
        for name, value in moments.items():
            assert_allclose(
                station.moments[name], value, rtol=2e-5, atol=2e-5, err_msg=f"{station.loc} {name}"
            )


@pytest.mark.parametrize(
    ("network", "images", "nets"),
    [(family(4, kernel_size=1), FLAT, 200) for family in families.FAMILIES.values()]
    + [
        (families.vanilla(2, padding="zeros"), SQUARE, 150),
        (families.residual(2, padding="symmetric"), SQUARE, 150),
        (families.bn_res(1), SQUARE, 150),
        (MIXED, SQUARE, 150),
    ],
)
def test_both_draws_have_one_law(network, images, nets):
    """Means and variances over nets of all moments at the last unit."""
    values = []
    for draw, seed in (("weights", 1), ("gram", 2)):
        stations = run(network, images, width=16, nets=nets, seed=seed, draw=draw, every=network.depth)
        last = [s.moments for s in stations if s.loc == stations[-1].loc or s.loc == "act"]
        values.append({name: np.array([m[name] for m in last if name in m]) for name in ENGINE_MOMENTS})
    for name in ENGINE_MOMENTS:
        weights, gram = (v[name] for v in values)
        if len(weights):
            middle = np.concatenate([weights, gram]).mean()
            assert abs(z_difference(weights, gram)) < 4, name
            assert abs(z_difference((weights - middle) ** 2, (gram - middle) ** 2)) < 4, name


def z_difference(a, b):
    return (a.mean() - b.mean()) / np.sqrt(a.var(ddof=1) / len(a) + b.var(ddof=1) / len(b))


@pytest.mark.parametrize("draw", ["weights", "gram"])
def test_he_initialisation_keeps_the_expected_second_moments(draw):
    stations = run(families.vanilla(3, kernel_size=1), FLAT, width=64, nets=500, draw=draw, every=3)
    nu2 = np.exp([s.moments["log_nu2_signal"] for s in stations if s.loc == "act"])
    noise = np.exp([s.moments["log_mu2_noise"] for s in stations if s.loc == "act"])
    for values, expected in ((nu2, np.mean(FLAT**2)), (noise, 1.0)):
        assert abs(values.mean() - expected) < 4 * values.std(ddof=1) / math.sqrt(len(values))


@pytest.mark.parametrize("draw", ["weights", "gram"])
def test_a_net_is_the_same_whatever_their_number(draw):
    network = families.bn_res(2)
    three = run(network, SQUARE, nets=3, seed=7, draw=draw)
    assert run(network, SQUARE, nets=2, seed=7, draw=draw) == [s for s in three if s.net < 2]
    values = [s.moments["log_nu2_signal"] for s in three if (s.depth, s.loc) == (2, "merge")]
    assert len(set(values)) == 3
    assert run(network, SQUARE, nets=1, seed=8, draw=draw) != [s for s in three if s.net == 0]


def test_every_and_the_places_of_ranks_choose_among_the_same_stations():
    network = families.bn_ff(5, kernel_size=1)
    stations = run(network, FLAT, nets=2)
    assert [(s.net, s.depth, s.loc) for s in stations] == [
        (net, depth, loc)
        for net in (0, 1)
        for depth in range(1, 6)
        for loc in ("input", "conv", "norm", "act")
    ]
    some = run(network, FLAT, nets=2, every=2)
    assert [(s.depth, s.loc, s.moments) for s in some] == [
        (s.depth, s.loc, s.moments) for s in stations if s.depth in (2, 4, 5)
    ]
    assert {s.loc for s in stations if "reff_noise" in s.moments} == {"act"}
    at_input = run(network, FLAT, reff_locs=("input",))
    assert {s.loc for s in at_input if "reff_signal" in s.moments} == {"input"}
    linear = run(Network((Conv(1), Conv(1))), FLAT)
    assert {s.loc for s in linear if "reff_signal" in s.moments} == {"conv"}


def test_a_net_without_depth_has_one_station_behind_the_stem():
    (station,) = run(families.vanilla(0, kernel_size=1), FLAT, nets=1)
    assert (station.depth, station.loc) == (0, "input")
    assert set(station.moments) == set(ENGINE_MOMENTS)
    (bare,) = run(Network(), SQUARE)
    assert_allclose(bare.moments["log_mu2_signal"], np.log(SQUARE.var(axis=(0, 1, 2)).mean()), atol=1e-6)
    assert_allclose(bare.moments["log_chi"], 0.5 * bare.moments["log_mu2_noise"], atol=1e-6)


@pytest.mark.parametrize("family", [families.residual, families.bn_ff])
def test_no_depth_overflows(family):
    last = run(family(2000, kernel_size=1), FLAT, width=128, every=2000)[-1]
    assert all(math.isfinite(value) for value in last.moments.values())
    grown = "log_nu2_signal" if family is families.residual else "log_mu2_noise"
    assert last.moments[grown] > 750  # beyond float64
    assert last.error < 1e-4


@pytest.mark.parametrize(
    ("factor", "draw"),
    [
        (2.0**-300, "weights"),
        (2.0**200, "weights"),
        (3.0, "weights"),
        (2.0**-300, "gram"),
        (2.0**200, "gram"),
    ],
)  # of a singular Gram matrix rounding chooses the factor, so 3.0 gives other numbers of the same law
def test_the_scale_of_the_images_only_adds_a_logarithm(factor, draw):
    network = families.residual(3, padding="zeros")
    ones, others = (run(network, a * SQUARE, draw=draw, seed=1) for a in (1.0, factor))
    orders = {"log_nu1_abs_signal": 1, "log_nu2_signal": 2, "log_mu2_signal": 2, "log_mu4_signal": 4}
    tolerance = 1e-9 if math.log2(factor).is_integer() else 1e-5  # a power of two rounds nothing
    for one, other in zip(ones, others, strict=True):
        for name, value in one.moments.items():
            expected = value + orders.get(name, 0) * math.log(factor)
            assert_allclose(other.moments[name], expected, rtol=0, atol=tolerance, err_msg=name)


@pytest.mark.parametrize("factor", [2.0**-200, 0.25, 2.0**200])
def test_epsilon_and_bias_count_in_the_units_of_the_signal(factor):
    def net(epsilon, bias):
        return Network(
            (Conv(3), BatchNorm(epsilon), ReLU()), (Conv(3, weights=Gaussian(bias_variance=bias)),)
        )

    ones = run(net(0.3, 0.5), SQUARE)
    others = run(net(0.3 * factor**2, 0.5 * factor**2), factor * SQUARE)
    for one, other in zip(
        ones[2:], others[2:], strict=True
    ):  # behind batch norm nothing is left of the scale
        for name in ("log_nu1_abs_signal", "log_mu4_signal", "log_chi"):
            assert_allclose(other.moments[name], one.moments[name], rtol=0, atol=1e-5)


def test_a_large_epsilon_leaves_a_small_signal_its_digits():
    network = Network((BatchNorm(1e6),), (Conv(1),))
    before, behind = run(network, 1e-100 * FLAT, reff_locs=("norm",))
    assert_allclose(
        behind.moments["log_mu2_signal"], before.moments["log_mu2_signal"] - math.log(1e6), rtol=1e-6
    )
    assert_allclose(behind.moments["log_chi"], before.moments["log_chi"], atol=1e-5)


@pytest.mark.parametrize("unit", [Residual((Conv(3),)), Residual((Conv(3, stride=2),), (Conv(1),))])
def test_a_residual_unit_of_two_shapes_is_refused(unit):
    with pytest.raises(ValueError, match="shortcut"):
        run(Network((unit,)), SQUARE)


def test_a_net_that_has_died_says_so():
    with pytest.raises(ArithmeticError, match="died out"):
        run(families.vanilla(60, kernel_size=1), FLAT, width=1, nets=5)


def test_the_walk_is_lazy_silent_and_can_be_closed(capfd):
    walk = iter(SampledRun(families.vanilla(10**4, kernel_size=1), FLAT, width=8, nets=10**6))
    assert next(walk).layer == "images"
    walk.close()
    assert list(walk) == []
    assert capfd.readouterr() == ("", "")


# Few depths, far apart, so that 3.5 standard errors mean something for their number (about 60 to 80 scores).
REPEATED = {"bn_ff_fc_64": (200, 96, (2, 10, 50, 200)), "bn_res_fc": (100, 96, (5, 20, 100))}


@pytest.mark.slow
@pytest.mark.parametrize("name", REPEATED)
def test_recorded_fully_connected_nets(name):
    depth, nets, depths = REPEATED[name]
    scores = recorded.z_scores(name, recorded.simulate(name, depth, nets, every=min(depths)))
    scores = {key: z for key, z in scores.items() if key[1] in depths}
    assert len(scores) >= 12 * len(depths)
    assert max(map(abs, scores.values())) < 3.5, max(scores.items(), key=lambda item: abs(item[1]))
    assert np.sqrt(np.mean(np.square(list(scores.values())))) < 1.5


@pytest.mark.slow
def test_recorded_convolutional_nets():
    """Two nets, one minute each: the spread over nets is that of the recording."""
    scores = recorded.z_scores(
        "vanilla_symmetric", recorded.simulate("vanilla_symmetric", 20, 2, every=10, draw="weights")
    )
    assert len(scores) == 2 * 6
    assert max(map(abs, scores.values())) < 3.5, max(scores.items(), key=lambda item: abs(item[1]))
