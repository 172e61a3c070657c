"""Branches side by side at infinite width: against each branch alone, and against wide random nets."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

import fastmoments as fm
from fastmoments.engines.infinite_width.walk import InfiniteWidthWalk
from fastmoments.nets.network import Network, Residual

BN, RELU, CONV = fm.BatchNorm(), fm.ReLU(), fm.Conv(padding="zeros")
ONE = fm.Conv(1, fm.Gaussian(gain=1.0))
DENSE = fm.Concat([(), (BN, RELU, CONV)])
MODULE = fm.Concat(
    [(fm.Conv(1), BN, RELU), (fm.Conv(1), BN, RELU, CONV, BN, RELU), (fm.AvgPool(3, 1, 1), ONE, BN, RELU)]
)
POOLS = fm.Concat([(CONV, BN, RELU), (fm.MaxPool(3, 1, 1), fm.Conv(1), BN, RELU)])
SILU = fm.Concat([(), (BN, fm.SiLU(), CONV)])
NETS = {
    "dense block": Network([*[DENSE] * 3, BN, RELU, fm.Conv(1), fm.AvgPool(2), DENSE, BN, RELU, ONE], [CONV]),
    "drawn stem": Network([*[DENSE] * 2, BN, RELU, ONE], stem=[CONV, BN, RELU, fm.MaxPool(3, 2, 1)]),
    "inception": Network([MODULE, MODULE, fm.Conv(1), BN, RELU, fm.GlobalAvgPool(), fm.Dense(10)], [CONV]),
    "inception, pools": Network([POOLS, fm.MaxPool(2), POOLS, ONE], stem=[CONV]),
    "plain": Network([fm.Concat([(RELU, CONV), ()]), fm.Concat([(RELU, CONV), (CONV,)]), RELU, ONE], [CONV]),
    "drawn parts": Network([SILU, SILU, BN, fm.SiLU(), ONE], stem=[CONV]),
    "nested": Network([fm.Concat([(), (ONE, fm.Concat([(), (RELU, CONV)]))]), RELU, ONE], stem=[CONV]),
    "in a branch": Network([Residual([DENSE, BN, RELU, ONE]), Residual([BN, RELU, CONV, DENSE], [ONE, DENSE]),
                            CONV, RELU, CONV], stem=[CONV]),
    "fully connected": Network([*[fm.Concat([(), (BN, RELU, fm.Dense())])] * 3, BN, RELU, fm.Dense()],
                               stem=[fm.Flatten(), fm.Dense()]),
}  # fmt: skip
IMAGES = fm.load_images("synthetic:8x8x3", 6, seed=0)


@pytest.mark.parametrize("name", NETS)
def test_moments_are_those_of_wide_nets(name):
    """Extrapolated to infinite width."""
    found = fm.verify(NETS[name], IMAGES, widths=(48, 96, 192), nets=16)
    assert found.agrees, [(row.depth, row.loc, row.moment, row.z) for row in found.rows]
    assert {row.moment for row in found.rows} >= {"chi", "nu2_signal", "mu2_signal"}


@pytest.mark.parametrize("name", NETS)
def test_every_station_is_that_of_a_wide_net(name):
    """Behind every layer: moments whose mean is that at infinite width to first order."""
    analytic = fm.scan(NETS[name], IMAGES)
    sampled = fm.scan(NETS[name], IMAGES, fm.Sampled(192, 24, seed=3))
    for station, other in zip(analytic.stations, sampled.stations, strict=True):
        assert station.path == other.path
        for moment in ("nu1_abs_signal", "nu2_signal", "mu2_signal", "mu4_signal", "mu2_noise"):
            if moment in station.mean and station.mean[moment] > 0.0:
                mean, sigma = other.mean[moment], other.sigma[moment]
                error = np.hypot(sigma / np.sqrt(24), 0.02 * mean)
                assert abs(station.mean[moment] - mean) < 4.0 * error, (station.path, moment)


def covariances(layers, images, stem):
    state = InfiniteWidthWalk(Network(layers, stem=stem), images).final_state()
    noise = state.noise
    return state.covariance.dense(), noise.blocks * np.exp(noise.log_scale)


BRANCHES = {
    (): (), "conv": (fm.Conv(2),), "relu": (fm.Conv(), RELU), "norm": (BN, RELU, CONV),
    "two": (RELU, fm.Conv(1), RELU, CONV), "pool": (fm.AvgPool(3, 1, 1), CONV), "smooth": (CONV, fm.GELU()),
}  # fmt: skip


@settings(max_examples=20)
@given(
    st.lists(st.tuples(st.sampled_from(list(BRANCHES)), st.integers(1, 50)), min_size=2, max_size=4).filter(
        lambda given: any(name for name, _ in given)
    ),
    st.integers(1, 50),
    st.sampled_from([(), (RELU,), (BN, RELU)]),
)
def test_the_covariance_is_the_mean_of_those_of_the_branches(branches, before, behind):
    """Weighted by channels, behind channel-wise layers as well, each of the branches computed by itself.

    The last Conv of a branch has the drawn number of channels.
    """
    images = np.random.default_rng(0).standard_normal((3, 4, 4, 3))
    stem = (fm.Conv(channels=before), fm.BatchNorm(0.1), RELU, fm.Conv(1, channels=before))
    if behind == (BN, RELU):
        branches = [(name, count) for name, count in branches if name not in ("relu", "smooth")]
    elif behind:
        branches = [(name, count) for name, count in branches if name != "smooth"]
    if len(branches) < 2 or not any(name for name, _ in branches):
        return
    stacks, weights, parts = [], [], []
    for name, count in branches:
        layers = list(BRANCHES[name])
        for index, layer in enumerate(layers):
            if isinstance(layer, fm.Conv):
                layers[index] = fm.Conv(layer.kernel_size, padding=layer.padding, channels=count)
        stacks.append(tuple(layers))
        weights.append(count if layers else before)
        parts.append(covariances([*layers, *behind], images, stem))
    share = np.array(weights) / sum(weights)
    found = covariances([fm.Concat(stacks), *behind], images, stem)
    for matrix, of_parts in zip(found, zip(*parts, strict=True), strict=True):
        expected = sum(s * part for s, part in zip(share, of_parts, strict=True))
        assert_allclose(matrix, expected, rtol=1e-9, atol=1e-9 * np.abs(expected).max())


def test_every_station_says_its_size_and_law():
    net = Network([DENSE, BN, RELU, fm.MaxPool(2), ONE], stem=[CONV, RELU, fm.MaxPool(1)])
    drawn = Network([fm.Concat([(CONV,), (CONV, BN, RELU)]), fm.MaxPool(2), ONE], stem=[CONV])
    found = {each.path: (each.grid, each.law) for each in fm.scan(net, IMAGES).stations}
    assert found["layers.0"] == ((8, 8), "mixture of drawn, gaussian")
    assert found["layers.2"][0] == (8, 8) and found["layers.3"] == ((4, 4), "mixture of drawn")
    found = {each.path: (each.grid, each.law) for each in fm.scan(drawn, IMAGES).stations}
    assert found["layers.0"][0] == (8, 8) and found["layers.1"] == ((4, 4), "mixture of drawn")


def test_a_part_goes_once_through_what_all_layers_of_a_block_have(monkeypatch):
    from fastmoments.maps import batch_norm

    calls = []
    normalise = batch_norm.normalise
    monkeypatch.setattr(batch_norm, "normalise", lambda *a, **k: calls.append(1) or normalise(*a, **k))
    fm.scan(Network([DENSE] * 8 + [BN, RELU, ONE], stem=[CONV]), IMAGES, every=4)
    # The first layer of a block sees one part alone, which is no mixture yet.
    assert len(calls) == 1 + 9


@pytest.mark.parametrize(
    ("net", "said"),
    [
        (Network([fm.Concat([(), (fm.Conv(stride=2),)])], [CONV]), "branch 2 gives 4x4 positions .* 8x8"),
        (Network([fm.Concat([(), (CONV,)])]), "Concat at layers.0: the shares"),
        (Network([fm.Concat([(), (fm.Conv(channels=4),)]), fm.LayerNorm()]), "LayerNorm of a signal with"),
        (Network([fm.Concat([(), (fm.Conv(channels=4),)]), BN, CONV]), "BatchNorm of a signal"),
    ],
)
def test_what_is_refused(net, said):
    with pytest.raises(ValueError, match=said) as caught:
        fm.scan(net, IMAGES)
    assert str(caught.value).endswith(".") and "\n" not in str(caught.value)


def test_what_is_refused_is_refused_before_it_begins():
    with pytest.raises(ValueError, match="the shares"):
        fm.estimate(Network([fm.Concat([(), (CONV,)])]), IMAGES)


def test_a_scan_goes_on_behind_a_block(tmp_path):
    """Checkpoints stand where no branch does; the numbers are the same."""
    net = Network([DENSE, DENSE, BN, RELU, CONV, RELU, CONV, RELU, CONV], stem=[CONV])
    whole = fm.scan(net, IMAGES)
    path = tmp_path / "journal"
    fm.scan(net, IMAGES, journal=path)
    again = fm.scan(net, IMAGES, journal=path, resume=True)
    assert [s.mean for s in again.stations] == [s.mean for s in whole.stations]


def test_the_tangent_kernel_is_the_mean_of_those_of_the_branches():
    """Behind an activation as well, which sees each branch by itself."""
    stem, branches = (fm.Conv(channels=6),), ((), (RELU, fm.Conv(channels=2)), (fm.Conv(channels=4),))
    theirs = [
        fm.kernel(Network([*branch, RELU], stem=stem), IMAGES, kind="ntk") for branch in branches
    ]  # fmt: skip
    ours = fm.kernel(Network([fm.Concat(branches), RELU], stem=stem), IMAGES, kind="ntk")
    expected = (6 * theirs[0] + 2 * theirs[1] + 4 * theirs[2]) / 12
    assert_allclose(ours, expected, rtol=1e-10, atol=1e-10 * np.abs(expected).max())
