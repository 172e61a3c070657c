import json
import math

import numpy as np
import pytest

import fastmoments as fm
from fastmoments.images import sources as data
from fastmoments.nets import families, geometry
from fastmoments.scans import verification
from fastmoments.scans.comparisons import LEVEL
from fastmoments.scans.verification import verify

IMAGES = data.load_images("synthetic:8x8x32", 4)


def small(network, **options):
    return verify(network, IMAGES, threads=1, **{"widths": (24, 48, 96), "nets": 24, **options})


def test_widths_of_a_net_that_says_its_channels_are_those_of_its_narrowest_layer():
    layers = fm.Conv(channels=8), fm.ReLU(), fm.Conv(channels=16), fm.ReLU(), fm.GlobalAvgPool(), fm.Dense(5)
    found = small(fm.Network(layers), nets=40, widths=None)
    assert found.widths == (8, 16, 32)
    assert found.agrees
    assert small(fm.Network(layers), nets=8, widths=(4, 6)).widths == (4, 6)


@pytest.mark.parametrize("family", families.FAMILIES.values(), ids=list(families.FAMILIES))
def test_families_agree_with_simulations(family):
    result = small(family(depth=3))
    assert result.agrees, [(row.moment, row.loc, row.depth, row.z) for row in result.rows]
    assert {row.moment for row in result.rows} == set(verification.MOMENTS)
    assert {row.depth for row in result.rows} == {1, 2, 3}
    assert all(row.standard_error < 0.2 for row in result.rows)


@pytest.mark.parametrize("activation", [fm.LeakyReLU(0.2), fm.Abs()])
@pytest.mark.parametrize("norm", [(), (fm.BatchNorm(),)])
def test_other_activations_agree_with_simulations(activation, norm):
    result = small(fm.Network((fm.Conv(), *norm, activation) * 3))
    assert result.agrees, [(row.moment, row.loc, row.depth, row.z) for row in result.rows]


@pytest.mark.parametrize(
    "stack",
    [
        (fm.Conv(), fm.BatchNorm(gamma=0.5), fm.ReLU()),
        (fm.Residual([fm.Conv(), fm.BatchNorm(gamma=0.25)]), fm.Conv()),
    ],
)
def test_a_gamma_agrees_with_simulations(stack):
    result = small(fm.Network(stack * 2, stem=[fm.Conv()]))
    assert result.agrees, [(row.moment, row.loc, row.depth, row.z) for row in result.rows]


def test_a_pad_agrees_with_simulations():
    """Stages as PyTorch's: 8 x 8 positions, 4 x 4, 2 x 2, with a valid convolution in between."""
    half = fm.Conv(stride=2, padding="zeros", pad=1)
    shortcut = fm.Conv(1, fm.Gaussian(1.0), stride=2, pad=0)
    unit = fm.Residual([fm.BatchNorm(), fm.ReLU(), half], [shortcut])
    stack = (fm.Conv(padding="zeros", pad=0), unit, fm.BatchNorm(), fm.ReLU())
    net = fm.Network(stack, stem=[fm.Conv(4, padding="zeros", pad=2)])
    assert net.output_grid((8, 8)) == (4, 4)
    result = small(net)
    assert result.agrees, [(row.moment, row.loc, row.depth, row.z) for row in result.rows]


DOWN, SAME = (fm.Conv(3, stride=stride, padding="zeros") for stride in (2, 1))
NORMED = [fm.BatchNorm(), fm.ReLU()]
STAGES = {
    "plain": [SAME, fm.ReLU(), DOWN, fm.ReLU()] * 2,
    "batch norm": [SAME, *NORMED, DOWN, *NORMED] * 2,
    "residual": [
        fm.Residual([*NORMED, SAME, *NORMED, SAME]),
        fm.Residual([*NORMED, DOWN, *NORMED, SAME], shortcut=[fm.Conv(1, stride=2)]),
        *NORMED,
    ],
}
OF_STAGES = ("chi", "mu2_noise", "nu2_signal", "reff_signal")


@pytest.mark.parametrize("name", STAGES)
def test_nets_in_stages_agree_with_simulations(name):
    """One image is larger than the others: one leading eigenvalue, whose mean is near a line in 1 / N."""
    scales = np.array([3.0, 1.0, 1.0, 1.0])[:, None, None, None]
    images = data.load_images(IMAGES.array * scales, None)
    net = fm.Network(STAGES[name], stem=[fm.Conv(3, fm.Gaussian(gain=1.0), padding="zeros")])
    result = verify(net, images, widths=(48, 96, 192), nets=24, moments=OF_STAGES, threads=1)
    z = np.array([row.z for row in result.rows])
    assert {row.moment for row in result.rows} == set(OF_STAGES)
    assert np.all(np.abs(z) < 4.0) and np.mean(z**2) < 2.5, z


@pytest.mark.parametrize("moments", ["chi", (), 3, ("chi", "mu3"), [["chi"]]])
def test_unknown_moments_are_refused(moments):
    with pytest.raises(ValueError, match="moments must be a sequence of some of chi, mu2_signal"):
        small(families.vanilla(1), moments=moments)


def test_moments_without_a_theory_are_refused():
    with pytest.raises(ValueError, match="no theory of mu4_signal of this net"):
        narrow(families.vanilla(2), moments=["mu4_signal"], nets=8)


@pytest.mark.parametrize("moment", verification.MOMENTS)
def test_a_wrong_formula_is_found(monkeypatch, moment):
    exact = verification._values

    def wrong(stations):
        values = exact(stations)
        if all(station.net == 0 for station in stations):  # the analytic ones
            for at in values.values():
                if moment in at:
                    at[moment][0] += 0.3
        return values

    monkeypatch.setattr(verification, "_values", wrong)
    result = small(families.bn_ff(depth=1))
    assert not result.agrees
    assert {row.moment for row in result.rows if abs(row.z) > result.threshold} == {moment}


def test_a_missing_gain_is_found():
    conv = fm.Conv(weights=fm.Gaussian(gain=1.9))
    right, wrong = (fm.Network((c, fm.ReLU()) * 2) for c in (fm.Conv(), conv))
    assert small(right).agrees
    simulate = verification.scan

    def scan(network, images, engine, **options):
        return simulate(wrong if engine.nets else network, images, engine, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(verification, "scan", scan)
        assert not small(right, nets=40).agrees


def test_result_in_plain_values():
    stages = []
    network = families.bn_ff(depth=4)
    result = small(network, nets=8, widths=[32, 16], depths=(2, 4), progress=lambda *at: stages.append(at[0]))
    assert list(dict.fromkeys(stages)) == ["analytic", "width 16", "width 32"]
    values = json.loads(json.dumps(result.to_dict()))
    assert values["schema"] == "fastmoments.verification/1"
    assert values["architecture"]["name"] == "bn_ff"
    assert values["widths"] == [16, 32]
    assert len(values["comparisons"]) == len(result.rows) == 2 * len(verification.MOMENTS)
    row = values["comparisons"][0]
    assert row["z"] == pytest.approx((row["log_analytic"] - row["log_sampled"]) / row["standard_error"])


def test_threshold_allows_for_the_number_of_comparisons():
    from scipy.stats import t

    result = small(families.bn_ff(depth=1), nets=8)
    assert len(result.rows) * 2 * t.sf(result.threshold, 7) == pytest.approx(LEVEL)
    assert not small(families.bn_ff(depth=1), nets=8, threshold=1e-9).agrees


def test_same_seed_same_numbers():
    first, again, other = (small(families.vanilla(depth=1), nets=8, seed=seed) for seed in (1, 1, 2))
    assert first.rows == again.rows
    assert first.rows != other.rows


def narrow(network, **options):
    """A net against the theory at its own width."""
    images = data.load_images("synthetic:8x8x3", 16)
    return verify(network, images, threads=1, **{"method": "finite", "widths": (64,), "nets": 40, **options})


def test_finite_width_is_compared_in_mean_and_deviation():
    result = narrow(families.vanilla(depth=3, kernel_size=1), widths=(48, 96))
    assert {(row.width, row.of) for row in result.rows} == {
        (width, of) for width in (48, 96) for of in ("mean", "sigma")
    }
    assert {row.moment for row in result.rows} == {*verification.MOMENTS, *verification.FURTHER}
    of_chi = [row for row in result.rows if row.moment in ("chi", "nu2_signal", "mu2_noise")]
    assert all(abs(row.z) < result.threshold for row in of_chi), [(row.moment, row.z) for row in of_chi]
    values = json.loads(json.dumps(result.to_dict()))
    assert values["method"] == "finite" and values["comparisons"][1]["of"] == "sigma"


@pytest.mark.parametrize(("of", "slip"), [("mean", 0.2), ("sigma", 1.0)])
def test_a_wrong_theory_is_found(monkeypatch, of, slip):
    """A mean that is 20% off, a deviation that is off by a factor of e."""
    right = verification._compare_at

    def wrong(names, depths, width, finite, simulated):
        for station in finite:
            if of == "mean":
                station.moments["log_nu2_signal"] += slip
            else:
                station.sigmas["log_nu2_signal"] *= math.exp(slip)
        return right(names, depths, width, finite, simulated)

    net = families.vanilla(depth=2, kernel_size=1)
    ours = [row for row in narrow(net).rows if row.moment == "nu2_signal" and row.of == of]
    monkeypatch.setattr(verification, "_compare_at", wrong)
    result = narrow(net)
    theirs = [row for row in result.rows if row.moment == "nu2_signal" and row.of == of]
    assert all(abs(row.z) < result.threshold for row in ours)
    assert all(abs(row.z) > result.threshold for row in theirs)


def test_the_error_of_a_sampled_deviation_is_what_it_says():
    """z-scores of deviations sampled from a known law have mean 0 and deviation 1."""
    from fastmoments.engines.protocol import Station

    rng, scores = np.random.default_rng(0), []
    ours = Station("layers.1", "ReLU", 1, "act", {"log_nu2_signal": 0.0}, sigmas={"log_nu2_signal": 0.3})
    for _ in range(400):
        simulated = {(1, "act"): {"nu2_signal": 0.3 * rng.standard_normal(60), "error": [0.0]}}
        scores.append([row.z for row in verification._compare_at(["nu2_signal"], [1], 64, [ours], simulated)])
    scores = np.array(scores)
    assert scores.shape == (400, 2)
    assert np.all(np.abs(scores.mean(0)) < 0.2) and np.all(np.abs(scores.std(0) - 1.0) < 0.15)


@pytest.mark.slow
@pytest.mark.parametrize("padding", geometry.PADDINGS)
@pytest.mark.parametrize("family", families.FAMILIES.values(), ids=list(families.FAMILIES))
def test_families_agree_at_depth(family, padding):
    images = data.load_images("synthetic:12x12x64", 4)
    assert verify(family(depth=10, padding=padding), images, widths=(64, 128, 256), threads=1).agrees


@pytest.mark.slow
def test_verdicts_are_right_as_often_as_stated():
    # |z| beyond Student's 10% quantile in about a tenth of independent runs.
    network = families.bn_ff(depth=1)
    tests = [small(network, seed=seed, depths=[1]) for seed in range(40)]
    beyond = np.mean([[abs(row.z) > 1.714 for row in test.rows] for test in tests], axis=0)
    assert np.all(beyond < 0.1 + 4 * math.sqrt(0.1 * 0.9 / 40))


PROFILE = [[1.0, 2.0, 1.0], [0.0, 4.0, 0.5], [1.0, 0.3, 0.0]]


@pytest.mark.slow
@pytest.mark.parametrize("draw", ["weights", "gram"])
def test_scales_and_profiles_agree_with_sampling(draw, monkeypatch):
    """A scaled residual branch and weighted taps, wherever the infinite-width engine knows them."""
    monkeypatch.setitem(verification.scan.__kwdefaults__, "draw", draw)
    conv = fm.Conv(3, weights=fm.Gaussian(tap_variances=PROFILE), padding="zeros")
    unit = fm.Residual([fm.BatchNorm(), fm.ReLU(), conv], scale=0.6)
    stem = fm.Conv(3, weights=fm.Gaussian(gain=1.0, tap_variances=PROFILE), stride=2, padding="symmetric")
    images = data.load_images("synthetic:8x8x3", 3, seed=0)
    assert verify(fm.Network([unit] * 3, stem=[stem]), images, widths=(64, 128, 256), nets=40).agrees
