"""Convolutional nets with batch norm at finite width: each idea by itself, then the engine."""

import math

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings
from numpy.testing import assert_allclose

import fastmoments as fm
from fastmoments.engines.finite_width.arc_cosine import squared_correlation
from fastmoments.engines.finite_width.channel_rank import channel_rank, channel_variances, edge
from fastmoments.engines.finite_width.coherence import Coherent, Trail, merged_matrices
from fastmoments.engines.finite_width.displacements import Displacements
from fastmoments.engines.finite_width.matrices import by_images
from fastmoments.engines.finite_width.spectral_spread import largest, sampled_largest, spread
from fastmoments.nets.layers import BatchNorm, Conv, ReLU

seeds = st.integers(0, 2**32 - 1)
FAMILIES = ("bn_ff", "bn_res")

PERSISTING = (
    "A trail that is thinned behind the first layer keeps the covariance with that layer's sampling noise as "
    "thinned, and takes it for that with the noise itself at the first layer of the next unit."
)


# ---------------------------------------------------------------- displacements


@settings(max_examples=20, deadline=None)
@given(seeds, st.integers(1, 5), st.integers(1, 5), st.booleans())
def test_correlations_by_displacement_are_means_over_pairs(seed, height, width, wrapped):
    rng = np.random.default_rng(seed)
    matrix = rng.standard_normal((height * width, height * width))
    matrix = matrix @ matrix.T
    lattice = Displacements((height, width), wrapped)
    found = lattice.correlations(matrix)
    sums, counts = np.zeros(lattice.shape), np.zeros(lattice.shape, int)
    for p in range(height * width):
        for q in range(height * width):
            at = (q // width - p // width) % lattice.shape[0], (q % width - p % width) % lattice.shape[1]
            sums[at] += matrix[p, q]
            counts[at] += 1
    means = sums / counts
    assert_allclose(lattice.counts, counts)
    assert_allclose(found, np.clip(means / means[0, 0], -1.0, 1.0))
    assert_allclose(lattice.mean(means), matrix.mean())
    assert_allclose(lattice.modes(found).mean(), 1.0)


@pytest.mark.parametrize(
    "conv",
    [
        Conv(3),
        Conv(3, dilation=2),
        Conv(5),
        Conv(3, tap_variances=[[1, 2, 1], [2, 4, 2], [1, 2, 1]]),
        Conv(2),
    ],
)
def test_a_convolution_thins_an_error_out_as_its_taps_overlap(conv):
    """The variance behind it: sum over pairs of taps of u u' E(t' - t), by a double loop."""
    lattice = Displacements((7, 8), True)
    rng = np.random.default_rng(1)
    errors = np.abs(np.fft.fft2(rng.standard_normal(lattice.shape))) ** 2  # the modes of some autocovariance
    autocovariance = np.fft.ifft2(errors).real
    weights, naive = conv.tap_weights / conv.tap_weights.sum(), 0.0
    taps = [(i, j) for i in range(conv.kernel_size) for j in range(conv.kernel_size)]
    for t in taps:
        for s in taps:
            at = tuple(conv.dilation * (a - b) % side for a, b, side in zip(t, s, lattice.shape, strict=True))
            naive += weights[t] * weights[s] * autocovariance[at]
    assert_allclose(np.mean(lattice.response(conv) ** 2 * errors.ravel()), naive)
    assert_allclose(lattice.response(conv)[0], 1.0)  # what is alike at all positions stays


@pytest.mark.parametrize("conv", [Conv(3), Conv(3, stride=2), Conv(5, stride=2), Conv(3, dilation=2)])
def test_outputs_share_taps(conv):
    lattice = Displacements((6, 6), False)
    found, naive = lattice.overlaps(conv), np.zeros(lattice.shape)
    weights = (conv.tap_weights / conv.tap_weights.sum()).ravel()
    places = [
        (conv.dilation * i, conv.dilation * j)
        for i in range(conv.kernel_size)
        for j in range(conv.kernel_size)
    ]
    for down in range(-5, 6):
        for across in range(-5, 6):
            for u, (i, j) in zip(weights, places, strict=True):
                moved = i - conv.stride * down, j - conv.stride * across
                if moved in places:
                    naive[down, across] += u * weights[places.index(moved)]
    assert_allclose(found, naive)


# ---------------------------------------------------------------- walks and spectra


def walked(share):
    """Fluctuations of 200,000 nets whose channels persist with the shortcut, beside the trail of them.

    Two layers a branch, each with a linear one behind it. Yields which station it is, the fluctuations in
    three modes, and the trail.
    """
    rng, nets, modes = np.random.default_rng(3), 200_000, 3
    memories, sources = rng.uniform(0.2, 1.0, (2, modes)), rng.uniform(0.1, 1.0, (2, modes))
    factor = rng.uniform(-1.0, 1.0, modes)

    def drawn(variance):
        return np.sqrt(variance) * rng.standard_normal((nets, modes))

    d, channels, trail = drawn(0.5), drawn(sources[0]), Trail(np.full(modes, 0.5))
    for _ in range(5):
        branch = memories[0] * d + channels
        trail.sampled(memories[0], sources[0])
        yield "branch", branch, trail
        branch = factor * branch
        trail.thinned(factor)
        yield "branch", branch, trail
        branch = memories[1] * branch + drawn(sources[1])
        trail.sampled(memories[1], sources[1])
        yield "branch", branch, trail
        branch = factor * branch
        trail.thinned(factor)
        yield "branch", branch, trail
        d = (1.0 - share) * d + share * branch
        trail.merge(share)
        yield "merge", d, trail
        channels = (1.0 - share) * channels + drawn((1.0 - (1.0 - share) ** 2) * sources[0])


def z_of_variance(sampled, variance):
    return (sampled.var(0) / variance - 1.0) / math.sqrt(2.0 / len(sampled))


@pytest.mark.parametrize("share", [0.1, 0.5, 1.0])
def test_a_trail_is_a_sampled_walk(share):
    for station, sampled, trail in walked(share):
        if station == "merge":
            assert np.abs(z_of_variance(sampled, trail.variance)).max() < 4.0
            assert np.all(trail.variance == trail.at.variance)
    fresh = Trail(2.0)
    fresh.thinned(0.5)  # before any batch norm
    assert fresh.variance == fresh.at.variance == 0.5


@pytest.mark.parametrize(
    "share",
    [
        *(
            pytest.param(share, marks=pytest.mark.xfail(strict=True, reason=PERSISTING))
            for share in (0.1, 0.5)
        ),
        1.0,
    ],
)
def test_a_trail_is_a_sampled_walk_inside_the_branch(share):
    for station, sampled, trail in walked(share):
        if station == "branch":
            assert np.abs(z_of_variance(sampled, trail.variance)).max() < 4.0


@settings(max_examples=20, deadline=None)
@given(seeds, st.floats(0.0, 1.0), st.integers(1, 3))
def test_merged_matrices_are_numbers_where_points_are_alone(seed, share, layers):
    rng = np.random.default_rng(seed)
    memories, fresh = rng.uniform(0.2, 1.2, (layers, 4)), rng.uniform(0.1, 1.0, (layers, 4))
    variance, cross = rng.uniform(0.0, 1.0, (2, 4))
    found = merged_matrices(
        Coherent(np.diag(variance), np.diag(cross)),
        share,
        list(map(np.diag, memories)),
        list(map(np.diag, fresh)),
    )
    expected = Coherent(variance, cross).merged(share, list(memories), list(fresh))
    assert_allclose(found.variance, np.diag(expected.variance), atol=1e-12)
    assert_allclose(found.cross, np.diag(expected.cross), atol=1e-12)


@settings(max_examples=25, deadline=None)
@given(seeds, st.integers(3, 30), st.floats(0.01, 2.0))
def test_the_largest_eigenvalue_is_that_of_the_whole_spectrum(seed, points, ratio):
    values = np.sort(np.random.default_rng(seed).lognormal(0.0, 1.0, points))
    found = largest(values, np.ones(points), ratio / points)
    assert_allclose(found, spread(values, ratio)[-1], rtol=0.03)
    doubled = largest(np.sort(np.repeat(values, 2)), np.ones(2 * points), ratio / points)
    assert_allclose(largest(values, np.full(points, 2.0), ratio / points), doubled, rtol=0.02)
    assert largest(values, np.ones(points), 0.0) == values[-1]


# ---------------------------------------------------------------- channels


@pytest.mark.parametrize("c", [-0.5, 0.0, 0.3, 0.8, 1.0])
def test_squares_of_rectified_gaussians(c):
    rng = np.random.default_rng(0)
    u = rng.standard_normal(4_000_000)
    v = c * u + math.sqrt(1 - c * c) * rng.standard_normal(u.size)
    a, b = ((np.maximum(x, 0) - 1 / math.sqrt(2 * math.pi)) ** 2 for x in (u, v))
    products = (a - a.mean()) * (b - b.mean()) / (a.std() * b.std())
    error = products.std() / math.sqrt(products.size)
    assert abs(products.mean() - squared_correlation(np.array([c]))[0]) < 4.0 * error + 1e-9


@settings(max_examples=40, deadline=None)
@given(st.floats(0.0, 0.5), st.floats(0.01, 0.95), st.floats(0.25, 0.4))
def test_variances_of_channels_have_the_mean_and_variance_that_are_known(sizes, share, masks):
    found = channel_variances(sizes, share, masks)
    assert found.min() >= 0.0
    assert_allclose(found.mean(), 1.0)
    assert found.var() <= sizes + 1e-9
    if share > 0.2 or masks > 0.3:
        assert_allclose(found.var(), sizes, atol=1e-9)


def test_the_edge_is_that_of_sampled_matrices():
    rng, width, samples = np.random.default_rng(2), 200, 1000
    variances = channel_variances(0.1, 0.5, 0.28)
    own = np.quantile(variances, (np.arange(width) + 0.5) / width)
    found = []
    for _ in range(60):
        x = rng.standard_normal((samples, width)) * np.sqrt(own)
        found.append(np.linalg.eigvalsh(x.T @ x / samples)[-1])
    assert_allclose(edge(own, [width / samples], np.ones(1)), np.mean(found), rtol=0.03)
    one = edge(np.ones(5), [0.25], np.ones(1))
    assert_allclose(one, 2.25, rtol=1e-6)  # Marchenko and Pastur: (1 + sqrt(c))^2
    assert_allclose(edge(np.ones(5), [0.25, 0.0], np.ones(1)), one)
    mean, deviation = channel_rank(width, [width / samples], (0.0, 0.0), 0.1, 0.5, 0.28)
    ranks = own.sum() / np.array(found)
    assert abs(mean / ranks.mean() - 1.0) < 0.05
    assert 0.5 < deviation / ranks.std() < 1.5


@pytest.mark.parametrize("spike", [1.0, 1.8, 4.0])
def test_the_largest_eigenvalue_fluctuates_as_that_of_sampled_matrices(spike):
    """In the bulk, at the transition, and apart from it."""
    rng, points, samples, found = np.random.default_rng(6), 60, 240, []
    values = np.r_[np.ones(points - 1), spike]
    for _ in range(400):
        x = rng.standard_normal((samples, points)) * np.sqrt(values)
        found.append(np.linalg.eigvalsh(x.T @ x / samples)[-1])
    ours = sampled_largest(values, np.ones(points), 1.0 / samples)
    alone = 2.0 / samples * ours.apart * spike / ours.value + (1.0 - ours.apart) * ours.edge**2
    assert_allclose(ours.value, np.mean(found), rtol=0.05)
    assert 0.7 < math.sqrt(alone) / (np.std(found) / np.mean(found)) < 1.4
    assert (ours.apart > 0.8) == (spike > 2.0)


@pytest.mark.parametrize("kept", [0.5, 0.25])
def test_the_edge_behind_a_layer_of_few_dimensions(kept):
    """What is kept of a covariance of rank 27, sampled again by points of half as many channels."""
    rng, width, rank, found = np.random.default_rng(5), 200, 27, []
    for _ in range(60):
        x = rng.standard_normal((width, rank))
        root = np.linalg.cholesky((1.0 - kept) * np.eye(width) + kept / rank * x @ x.T)
        y = root @ rng.standard_normal((width, 2 * width)) / math.sqrt(2 * width)
        values = np.linalg.eigvalsh(y @ y.T)
        found.append(values.sum() / values[-1])
    mean, deviation = channel_rank(width, [0.5], (kept, kept**2 * width / rank), 0.0, 0.5, 0.25)
    # The mean of the largest eigenvalue is 0.95 of its deviations below the edge (Tracy and Widom).
    assert_allclose(mean + 0.95 * deviation, np.mean(found), rtol=0.02)
    assert 0.6 < deviation / np.std(found) < 1.5
    merged, _ = channel_rank(width, [0.5, kept**2 * width / rank], (0.0, 0.0), 0.0, 0.5, 0.25)
    assert abs(merged / np.mean(found) - 1.0) > 0.05  # one law for both says something else


@settings(max_examples=20, deadline=None)
@given(seeds, st.integers(1, 5), st.integers(1, 4), st.integers(4, 50))
def test_few_positions_stand_for_all(seed, images, each, positions):
    """A matrix that only tells images and equal positions apart has the means of all its positions."""
    apart, same = np.random.default_rng(seed).standard_normal((2, images))
    few = np.add.outer(np.repeat(apart, each), np.repeat(apart, each))
    few += np.diag(np.repeat(same, each)) * (1.0 if each > 1 else 0.0)
    found = by_images(few, images, positions)
    expected = np.add.outer(apart, apart) + (np.diag(same) / positions if each > 1 else 0.0)
    if each > 1:
        assert_allclose(found, expected, atol=1e-12)
    else:  # with one position of an image, nothing is known of two
        np.fill_diagonal(expected, 2.0 * apart / positions)
        assert_allclose(found, expected, atol=1e-12)


# ---------------------------------------------------------------- the engine


def images(count=6, side=12, seed=0):
    return fm.load_images(f"synthetic:{side}x{side}x3", count, seed=seed)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("padding", ["periodic", "zeros", "symmetric"])
def test_infinite_width_is_the_limit(family, padding):
    net = getattr(fm, family)(6, padding=padding)
    limit = fm.scan(net, images(), method="finite", width=10**16)
    exact = fm.scan(net, images())
    for name in ("log_chi", "log_nu2_signal", "mu2_signal", "nu1_abs_signal", "mu4_signal", "log_mu2_noise"):
        for loc in exact.moments[name]:
            assert_allclose(
                limit[name, loc], exact[name, loc], rtol=1e-10, atol=1e-10, err_msg=f"{name} {loc}"
            )
    assert_allclose(limit["reff_signal"], exact["reff_signal"], rtol=1e-7)
    # The noise on the images is one draw, whose rank is that of its patches until masks have mixed it.
    assert_allclose(limit["reff_noise"][4:], exact["reff_noise"][4:], rtol=0.03)
    assert limit.curve("log_chi").sigma.max() < 1e-6


@pytest.mark.parametrize("family", FAMILIES)
def test_deviations_fall_with_the_root_of_the_width(family):
    net = getattr(fm, family)(6)
    wide, wider = (
        fm.scan(net, images(), method="finite", width=width, every=3) for width in (10**8, 4 * 10**8)
    )
    for name in ("log_chi", "log_nu2_signal", "mu4_signal", "nu1_abs_signal", "reff_signal"):
        for loc in wide.moments[name]:
            ratio = wide.curve(name, loc).sigma / np.maximum(wider.curve(name, loc).sigma, 1e-300)
            ratio = ratio[wide.curve(name, loc).sigma > 1e-12]
            assert_allclose(ratio, 2.0, rtol=1e-3, err_msg=f"{name} {loc}")


@pytest.mark.parametrize(
    ("family", "padding", "width"),
    [("bn_ff", "periodic", 64), ("bn_ff", "zeros", 128), ("bn_res", "symmetric", 64)],
)
def test_sampled_nets_agree(family, padding, width):
    """Settings that nothing was fitted to: means well inside the band, deviations of the right size."""
    net, nets, batch = getattr(fm, family)(8, padding=padding, epsilon=0.0), 150, images(8, 12, seed=5)
    found = fm.scan(net, batch, method="finite", width=width, every=2)
    samples = fm.scan(net, batch, method="sampled", width=width, nets=nets, seed=3, every=2)
    bounds = {"log_chi": 0.35, "mu4_signal": 0.9, "nu1_abs_signal": 0.9}
    ratios = []
    for name, bound in bounds.items():
        ours, theirs = found.curve(name), samples.curve(name)
        distance = np.abs(ours.mean - theirs.mean) / theirs.sigma
        assert distance.max() < bound, (name, distance)
        ratios.append(ours.sigma / theirs.sigma)
        assert 0.5 < np.median(ratios[-1]) < 1.6, (name, ratios[-1])
    assert 0.75 < np.median(ratios) < 1.35
    # The ranks of so few images, of synthetic ones in particular, are far from those of infinite width.
    limit = fm.scan(net, batch, every=2)
    for name, bound in (("reff_signal", 0.16), ("reff_noise", 0.1)):
        ours, theirs = found[name], samples[name]
        assert_allclose(ours, theirs, rtol=bound)
        assert np.abs(ours / theirs - 1.0).max() < 0.2 * np.abs(limit[name] / theirs - 1.0).max()


def test_the_layer_next_to_the_images_may_be_the_first_unit():
    net = fm.bn_ff(4, input_conv=False)
    batch = images(8, 6, seed=1)
    found = fm.scan(net, batch, method="finite", width=96)
    samples = fm.scan(net, batch, method="sampled", width=96, nets=150, seed=4)
    distance = (found.curve("log_chi").mean - samples.curve("log_chi").mean) / samples.curve("log_chi").sigma
    assert np.abs(distance).max() < 0.4
    assert found.curve("log_chi", "input").sigma[0] == 0.0  # the images


def test_several_batches_add_their_variance():
    net, data = fm.bn_ff(3), images(24, 8)
    one = fm.scan(net, data, method="finite", width=10**12, batch=8, batches=1, seed=0)
    more = fm.scan(net, data, method="finite", width=10**12, batch=8, batches=4, seed=0)
    assert one.curve("log_chi").sigma.max() < 1e-4 < more.curve("log_chi").sigma.min()


@pytest.mark.parametrize(
    ("net", "said"),
    [
        (fm.Network((Conv(3, stride=2), BatchNorm(), ReLU())), "stride 1"),
        (fm.Network((Conv(3), BatchNorm(), ReLU(), Conv(3), ReLU()), stem=(Conv(3),)), "repeats"),
    ],
)
def test_what_is_not_covered_is_refused(net, said):
    with pytest.raises(ValueError, match=said):
        fm.scan(net, images(), method="finite", width=64)


def test_images_that_the_first_layer_makes_one_position_are_refused():
    with pytest.raises(ValueError, match="one position behind the first layer"):
        fm.scan(fm.bn_ff(2), images(4, 2), method="finite", width=64)


@pytest.mark.parametrize(("family", "epsilon"), [("bn_ff", 10.0), ("bn_ff", 1e4), ("bn_res", 10.0)])
@pytest.mark.parametrize(("count", "side"), [(2, 8), (6, 12)])
def test_an_epsilon_that_outweighs_the_signal_leaves_deviations_that_are_some(family, epsilon, count, side):
    """There all channels weigh alike, and few centred images are correlated below 0."""
    found = fm.scan(getattr(fm, family)(4, epsilon=epsilon), images(count, side), method="finite", width=64)
    for name in ("log_chi", "log_mu2_noise"):
        for loc in ("norm", "act", "conv"):
            sigma = found.curve(name, loc).sigma[2:]
            assert np.all((sigma > 0.0) & (sigma < 0.5)), (name, loc, sigma)


@pytest.mark.parametrize("family", FAMILIES)
def test_images_that_are_alike_or_few_have_an_answer(family):
    net = getattr(fm, family)(3)
    two = np.array(images(2, 8).array)
    found = fm.scan(net, two, method="finite", width=64)
    assert np.isfinite(found["log_chi"]).all() and np.isfinite(found.curve("log_chi").sigma).all()
    found = fm.scan(net, np.stack([two[0]] * 4), method="finite", width=64)  # they vary over positions only
    assert np.isfinite(found["log_chi"]).all()
