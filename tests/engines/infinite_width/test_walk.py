"""The walk as a whole: invariances, limits, refusals and the order of its stations."""

import math
import os
import subprocess
import sys

import hypothesis.strategies as st
import naive
import numpy as np
import pytest
from hypothesis import given, settings

import fastmoments as fm
from fastmoments.engines.infinite_width.walk import InfiniteWidthWalk
from fastmoments.engines.protocol import recorded_depths
from fastmoments.kernels.threads import limited
from fastmoments.nets.activations import ReLU
from fastmoments.nets.geometry import PADDINGS
from fastmoments.nets.linear import Conv, Gaussian
from fastmoments.nets.network import LOCS, Network, Residual
from fastmoments.nets.norms import BatchNorm

FAMILIES = list(fm.FAMILIES)

seeds = st.integers(0, 2**32 - 1)

families = st.sampled_from(FAMILIES)

paddings = st.sampled_from(PADDINGS)


def images(seed=0, shape=(3, 6, 4, 2)):
    return np.random.default_rng(seed).standard_normal(shape) + 0.3


def walked(network, batch, every=1, **options):
    return InfiniteWidthWalk(network, batch, depths=recorded_depths(network.depth, every), **options)


def run(network, batch, **options):
    return {(s.depth, s.loc): s.moments for s in walked(network, batch, **options) if s.loc}


def covariance(network, batch, **options):
    return InfiniteWidthWalk(network, batch, **options).final_state().covariance.dense()


def assert_same(one, other, **tolerance):
    assert one.keys() == other.keys()
    for place in one:
        assert one[place] == pytest.approx(other[place], **tolerance), place


@given(seeds, families, paddings, st.integers(1, 3))
@settings(max_examples=15)
def test_positive_covariances_stay_positive_and_symmetric(seed, family, padding, kernel_size):
    network = fm.FAMILIES[family](3, kernel_size, padding)
    batch = images(seed, (3, 1, 1, 24) if kernel_size == 1 else (3, 6, 4, 2))
    full = covariance(network, batch)
    np.testing.assert_allclose(full, full.T, rtol=1e-13, atol=1e-13 * np.abs(full).max())
    assert np.linalg.eigvalsh(full).min() > -1e-12 * np.abs(full).max()


@given(seeds, st.sampled_from(["vanilla", "residual"]), paddings, st.floats(0.01, 100))
@settings(max_examples=10)
def test_without_batch_norm_the_covariance_scales_with_the_square_of_the_images(seed, family, padding, scale):
    network = fm.FAMILIES[family](3, padding=padding)
    np.testing.assert_allclose(
        covariance(network, scale * images(seed)), scale**2 * covariance(network, images(seed)), rtol=1e-11
    )


@given(seeds, st.sampled_from(["bn_ff", "bn_res"]), paddings, st.floats(0.01, 100))
@settings(max_examples=10)
def test_batch_norm_without_epsilon_takes_the_scale_out(seed, family, padding, scale):
    network = fm.FAMILIES[family](2, padding=padding, epsilon=0.0)
    if family == "bn_res":  # its skip keeps the scale: look at one branch
        network = Network(network.layers[0].branch, network.stem)
    one, other = covariance(network, images(seed)), covariance(network, scale * images(seed))
    np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-12 * one.max())


@given(seeds, families)
@settings(max_examples=8)
def test_the_order_of_images_does_not_matter(seed, family):
    network = fm.FAMILIES[family](3)
    batch = images(seed, (4, 6, 4, 2))
    order = np.random.default_rng(seed).permutation(4)
    assert_same(run(network, batch), run(network, batch[order]), rel=1e-9, abs=1e-9)


@given(seeds, families, st.integers(0, 2), st.integers(0, 1))
@settings(max_examples=8)
def test_periodic_images_may_be_moved(seed, family, down, across):
    """By the stride of the input convolution, which keeps every second position."""
    batch = images(seed, (3, 6, 4, 2))
    moved = np.roll(batch, (2 * down, 2 * across), axis=(1, 2))
    assert_same(run(fm.FAMILIES[family](3), batch), run(fm.FAMILIES[family](3), moved), rel=1e-9, abs=1e-9)


@given(seeds, families)
@settings(max_examples=8)
def test_duplicated_images_change_nothing_but_the_noise(seed, family):
    """Every point stands twice: the data distribution is the same; the noise has twice the directions."""
    network = fm.FAMILIES[family](3)
    batch = images(seed, (3, 6, 4, 2))
    once, twice = run(network, batch), run(network, np.concatenate([batch, batch]))
    for at in (*once.values(), *twice.values()):
        at.pop("reff_noise", None)
    assert_same(once, twice, rel=1e-6, abs=1e-6)


def test_images_may_come_down_to_one_position_at_any_scale():
    """Behind 600 layers of gain 8, K is 4^600 times as large, which is more than float64 holds."""
    layers = [Conv(padding="zeros", weights=Gaussian(8.0)), ReLU()] * 600
    small = [Conv(padding="zeros"), ReLU()] * 600
    last, batch = Conv(4, pad=0), images(0, (3, 4, 4, 2))
    one, other = (run(Network([*stack, last]), batch, every=601)[601, "conv"] for stack in (layers, small))
    assert one["log_nu2_signal"] - other["log_nu2_signal"] == pytest.approx(600 * math.log(4), rel=1e-12)
    assert one["log_chi"] == pytest.approx(other["log_chi"], abs=1e-9)


def test_rank_one_signals_keep_one_direction():
    """Images that are multiples of one, seen through a pointwise net without a ReLU."""
    batch = np.linspace(-1, 2, 6)[:, None, None, None] * images(0, (1, 1, 1, 20))
    stations = run(Network([Conv(1)] * 3), batch)
    assert stations[3, "conv"]["reff_signal"] == pytest.approx(1.0, abs=1e-9)
    stations = run(Network([Conv(1), BatchNorm(1e-3), ReLU(), Conv(1), BatchNorm(1e-3)]), batch)
    assert all(math.isfinite(value) for value in stations[2, "norm"].values())


@pytest.mark.parametrize("family", FAMILIES)
def test_one_image_has_its_positions_for_data(family):
    stations = run(fm.FAMILIES[family](4), images(0, (1, 8, 8, 3)))
    assert all(math.isfinite(value) for moments in stations.values() for value in moments.values())


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_depth_ten_thousand_is_finite(family):
    batch = images(0, (4, 1, 1, 30))
    stations = run(fm.FAMILIES[family](10_000, 1), batch, every=5_000)
    assert {depth for depth, _ in stations} == {5_000, 10_000}
    assert all(math.isfinite(value) for moments in stations.values() for value in moments.values())
    if family == "residual":
        growth = stations[10_000, "merge"]["log_nu2_signal"] - stations[5_000, "merge"]["log_nu2_signal"]
        assert growth == pytest.approx(5_000 * math.log(2), rel=1e-9)


@pytest.mark.parametrize("family", FAMILIES)
def test_depth_zero_is_the_input(family):
    stations = run(fm.FAMILIES[family](0), images())
    assert list(stations) == [(0, "input")]
    assert stations[0, "input"]["log_chi"] == pytest.approx(0.0, abs=0.5)


@pytest.mark.parametrize("family", ["vanilla", "bn_res"])
@pytest.mark.parametrize("kernel_size", [1, 3])
def test_threads_do_not_change_a_bit(family, kernel_size):
    batch = images(1, (40, 1, 1, 50) if kernel_size == 1 else (8, 16, 16, 3))
    results = []
    for threads in (1, 2, 3):
        with limited(threads):
            results.append(run(fm.FAMILIES[family](4, kernel_size), batch))
    assert all(result == results[0] for result in results)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_size_of_a_tile_does_not_change_the_result(family):
    batch = images(1, (48, 1, 1, 50))
    one, *others = (run(fm.FAMILIES[family](5, 1), batch, tile=tile) for tile in (48, 24, 16, 1))
    for other in others:
        assert_same(one, other, rel=1e-10, abs=1e-10)


@pytest.mark.parametrize("family", FAMILIES)
def test_an_image_of_one_position_is_a_fully_connected_layer(family):
    """A strided net that comes down to 1x1 goes on as a fully connected one."""
    batch = images(2, (20, 2, 2, 3))
    convolutional = run(fm.FAMILIES[family](3), batch)
    first = covariance(Network(stem=fm.vanilla(0).stem), batch)
    values, vectors = np.linalg.eigh(first)
    factor = vectors * np.sqrt(np.maximum(values, 0)) * math.sqrt(20)
    pointwise = run(fm.FAMILIES[family](3, 1), factor.reshape(20, 1, 1, 20))
    for place in pointwise:
        for name in ("log_nu2_signal", "log_mu2_signal", "reff_signal"):
            if name in pointwise[place]:
                assert convolutional[place][name] == pytest.approx(pointwise[place][name], abs=1e-9)


def test_both_ways_through_a_convolution_agree_to_rounding():
    for family in FAMILIES:
        for padding in PADDINGS:
            network = fm.FAMILIES[family](3, 5, padding)
            one, other = (run(network, images(), convolution=way) for way in ("direct", "fft"))
            assert_same(one, other, rel=1e-11, abs=1e-11)


def test_ranks_may_be_taken_anywhere_and_change_nothing_else():
    for family in FAMILIES:
        network = fm.FAMILIES[family](2)
        usual = run(network, images())
        everywhere = run(network, images(), reff_locs=LOCS)
        for place, moments in everywhere.items():
            assert {"reff_signal", "reff_noise"} <= moments.keys()
            rest = {name: value for name, value in moments.items() if name in usual[place]}
            assert rest == pytest.approx(usual[place], rel=1e-10, abs=1e-10)
        if family == "bn_ff":  # batch norm moves the eigenvalues, not the eigenvectors
            assert everywhere[1, "norm"]["reff_signal"] > everywhere[1, "conv"]["reff_signal"]
            assert everywhere[1, "norm"]["reff_noise"] == pytest.approx(everywhere[1, "conv"]["reff_noise"])


def test_moments_of_the_first_stations_follow_from_the_covariance():
    batch = images()
    network = Network([Conv(), ReLU()], stem=[Conv(weights=Gaussian(gain=1.0), stride=2)])
    stations = run(network, batch, reff_locs=("conv", "act"))
    images_covariance = np.einsum("iabf,jcdf->iabjcd", batch, batch) / batch.shape[-1]
    full = naive.convolve(naive.convolve(images_covariance, network.stem[0]), Conv())
    for loc, matrix in (("conv", naive.flat(full)), ("act", naive.relu(naive.flat(full)))):
        centred = naive.centre(matrix)
        values = np.linalg.eigvalsh(centred)
        moments = stations[1, loc]
        assert math.exp(moments["log_nu2_signal"]) == pytest.approx(np.mean(np.diag(matrix)))
        assert math.exp(moments["log_mu2_signal"]) == pytest.approx(np.mean(np.diag(centred)))
        assert moments["reff_signal"] == pytest.approx(values.sum() / values[-1], rel=1e-9)
        if loc == "conv":
            assert math.exp(moments["log_mu4_signal"]) == pytest.approx(3 * np.mean(np.diag(centred) ** 2))
            nu1 = np.mean(np.sqrt(2 / np.pi * np.diag(matrix)))
            assert math.exp(moments["log_nu1_abs_signal"]) == pytest.approx(nu1)


def test_the_images_themselves_are_a_station():
    batch = images()
    stations = run(fm.vanilla(1, input_conv=False), batch, reff_locs=("input",))
    moments = stations[1, "input"]
    centred = batch - batch.mean((0, 1, 2))
    assert math.exp(moments["log_nu1_abs_signal"]) == pytest.approx(np.mean(np.abs(batch)))
    assert math.exp(moments["log_nu2_signal"]) == pytest.approx(np.mean(batch**2))
    assert math.exp(moments["log_mu2_signal"]) == pytest.approx(np.mean(centred**2))
    assert math.exp(moments["log_mu4_signal"]) == pytest.approx(np.mean(centred**4))
    assert moments["log_chi"] == pytest.approx(0.0, abs=1e-12)


def test_large_batches_find_the_same_rank_by_iteration():
    batch = images(5, (8, 16, 16, 3))
    network = fm.vanilla(2)
    full = covariance(network, batch)
    values = np.linalg.eigvalsh(naive.centre(full))
    assert full.shape == (512, 512)
    assert run(network, batch)[2, "act"]["reff_signal"] == pytest.approx(values.sum() / values[-1], rel=1e-6)


def test_every_thins_the_stations_and_keeps_the_last():
    network = fm.bn_res(7)
    stations = run(network, images(), every=3)
    assert sorted({depth for depth, _ in stations}) == [3, 6, 7]
    full = run(network, images())
    assert_same(stations, {place: full[place] for place in stations}, rel=1e-9, abs=1e-9)


@pytest.mark.parametrize(
    ("layers", "words"),
    [
        ([ReLU()], "put a Conv before it"),
        ([BatchNorm()], "put a Conv"),
        ([Residual([Conv(), ReLU()])], "ends in a ReLU"),
    ],
)
def test_a_stack_that_is_not_covered_is_refused_before_any_work(layers, words):
    with pytest.raises(ValueError, match=words) as caught:
        InfiniteWidthWalk(Network(layers), images())
    assert str(caught.value).count(". ") == 0


def test_a_branch_may_end_in_batch_norm_where_a_convolution_follows():
    unit = Residual([ReLU(), Conv(), BatchNorm()])
    stations = run(Network([Conv(), unit, Conv(), ReLU()]), images())
    assert "log_mu4_signal" not in stations[2, "merge"]
    assert "log_mu4_signal" in stations[3, "conv"]


def test_a_rectified_signal_is_rectified_once():
    one, other = (covariance(Network([Conv(), *[ReLU()] * n]), images()) for n in (1, 3))
    np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("family", [fm.residual, fm.bn_res])
def test_the_scale_of_a_branch_counts_squared(family):
    """K = K_skip + scale^2 K_branch: of one unit all follows from two scales."""
    batch = images()
    shut, full = (fm.kernel(family(1, scale=scale), batch) for scale in (0.0, 1.0))
    half = fm.kernel(family(1, scale=0.5), batch)
    np.testing.assert_allclose(half, shut + 0.25 * (full - shut), rtol=1e-12)
    np.testing.assert_allclose(shut, fm.kernel(family(0), batch), rtol=1e-12)
    assert family(1, scale=1.0) == family(1)


def test_a_shut_branch_changes_nothing_at_any_depth():
    scan = fm.scan(fm.bn_res(300, scale=0.0), images(), every=50)
    np.testing.assert_allclose(scan["chi"], scan["chi"][0], rtol=1e-12)
    np.testing.assert_allclose(scan["mu2_signal"], scan["mu2_signal"][0], rtol=1e-12)
    assert np.isfinite(scan["reff_signal"]).all()


def test_gain_scales_the_signal():
    double, quadruple = (fm.scan(fm.vanilla(5, gain=gain), images()) for gain in (2.0, 4.0))
    np.testing.assert_allclose(
        quadruple["nu2_signal"] / double["nu2_signal"], 2.0 ** np.arange(1, 6), rtol=1e-12
    )
    np.testing.assert_allclose(quadruple["chi"], double["chi"], rtol=1e-12)


def test_profiles_in_a_net_agree_by_both_ways_and_with_uniform_taps():
    def net(profile):
        conv = fm.Conv(3, weights=fm.Gaussian(tap_variances=profile), padding="symmetric")
        stem = fm.Conv(3, weights=fm.Gaussian(gain=1.0, tap_variances=profile), stride=2, padding="zeros")
        return fm.Network([conv, fm.BatchNorm(), fm.ReLU()] * 3, stem=[stem])

    profile = [[1.0, 2.0, 1.0], [0.0, 4.0, 0.5], [1.0, 0.3, 0.0]]
    batch = images(0, (4, 10, 10, 3))
    ways = [fm.scan(net(profile), batch, fm.InfiniteWidth(convolution=way)) for way in ("direct", "fft")]
    for name, at in ways[0].moments.items():
        for loc, curve in at.items():
            np.testing.assert_allclose(ways[1][name, loc], curve.mean, rtol=1e-9)
    uniform, plain = fm.scan(net(np.ones((3, 3))), batch), fm.scan(net(None), batch)
    np.testing.assert_allclose(uniform["chi"], plain["chi"], rtol=1e-12)
    assert abs(ways[0]["chi"][-1] / plain["chi"][-1] - 1.0) > 1e-3


SCAN = """
import sys, fastmoments as fm
scan = fm.scan(fm.bn_res(40), fm.load_images("synthetic:10x10x3", 4, seed=0), every=10)
for name, at in scan.moments.items():
    for loc, curve in at.items():
        print(name, loc, curve.mean.tobytes().hex())
"""


@pytest.mark.slow
def test_the_process_that_compiles_gives_the_bytes_of_the_next(tmp_path):
    """Kernels from the cache are those that were compiled, down to the functions they call."""
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path)}
    command = [sys.executable, "-P", "-c", SCAN]
    said = [
        subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
        for _ in range(2)
    ]
    assert said[0].count("\n") > 40
    assert said[0] == said[1]
