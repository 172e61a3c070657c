"""Which theory covers a net, and how its stations come, batch by batch."""

import dataclasses

import numpy as np
import pytest
from numpy.testing import assert_allclose

import fastmoments as fm
from fastmoments.engines.finite_width.closures import CLOSURES
from fastmoments.engines.finite_width.run import (
    BN_CONV,
    BN_FF,
    BN_RES,
    PLAIN,
    PLAIN_CONV,
    PLAIN_RES,
    PLAIN_RES_CONV,
    FiniteWidthRun,
    _mixed,
    kind,
)  # fmt: skip
from fastmoments.engines.finite_width.shared.lognormal import Lognormal
from fastmoments.engines.protocol import Passage
from fastmoments.nets.activations import ReLU
from fastmoments.nets.linear import Conv, Gaussian
from fastmoments.nets.network import Network, Residual
from fastmoments.nets.norms import BatchNorm

FAMILIES = ("vanilla", "residual", "bn_ff", "bn_res")


def flat(count, seed=0):
    return fm.load_images("synthetic:6x6x3", count, seed=seed)


def finite(family, depth, images, width, *, input_conv=True, every=1, **options):
    net = getattr(fm, family)(depth, 1, input_conv=input_conv)
    return fm.scan(net, images, fm.FiniteWidth(width=width, **options), every=every)


@pytest.mark.parametrize(
    ("net", "theory"),
    [
        (fm.vanilla(3, 1), PLAIN),
        (fm.vanilla(0, 1), PLAIN),
        (fm.vanilla(3), PLAIN_CONV),
        (fm.vanilla(0), PLAIN_CONV),
        (fm.residual(3, 1), PLAIN_RES),
        (fm.residual(3), PLAIN_RES_CONV),
        (fm.residual(3, res_depth=1), PLAIN_RES_CONV),
        (fm.bn_ff(3, 1), BN_FF),
        (fm.bn_res(3, 1), BN_RES),
        (fm.bn_ff(3), BN_CONV),
        (fm.bn_res(3), BN_CONV),
        (fm.bn_res(3, res_depth=4), BN_CONV),
        (Network([Conv(3, pad=1), ReLU()], [Conv(3, stride=2, pad=1)]), PLAIN_CONV),
        (Network([Conv(1, pad=0), BatchNorm(), ReLU()]), BN_FF),
    ],
)
def test_which_theory_covers_a_net(net, theory):
    assert kind(net) == theory


@pytest.mark.parametrize(
    ("net", "said"),
    [
        (fm.vanilla(3, input_conv=False), "Of nets with convolutions"),
        (fm.residual(3, input_conv=False), "needs a Conv in the stem"),
        (Network([Conv(3, stride=2), ReLU()], [Conv(3)]), "all of stride 1"),
        (Network([Conv(3, pad=0), ReLU()], [Conv(3)]), "a padding that keeps the size of images"),
        (Network([Conv(1, pad=1), BatchNorm(), ReLU()]), "a padding that keeps the size of images"),
        (Network([Conv(3), ReLU(), Conv(5), ReLU()], [Conv(3)]), "all alike"),
        (Network([Conv(1), ReLU(), Conv(1), BatchNorm(), ReLU()]), "covers stacks of"),
        (Network([Residual([ReLU(), Conv(1)], [Conv(1)])], [Conv(1)]), "covers stacks of"),
        (Network([Conv(1, weights=Gaussian(bias_variance=0.1)), ReLU()]), "layers without bias"),
        (Network([Conv(1), ReLU()], [Conv(1), ReLU()]), "a stem of one Conv"),
        (Network([Conv(1, channels=64), ReLU()]), "layers of one width"),
        (Network([Conv(1), BatchNorm(gamma=0.5), ReLU()]), "BatchNorm without gamma and beta"),
        (Network([Conv(1), BatchNorm(beta=0.5), ReLU()]), "BatchNorm without gamma and beta"),
        (Network([Conv(1), BatchNorm(noise="through"), ReLU()]), 'covers BatchNorm.noise="frozen".; use it'),
        (fm.bn_res(3, 1, input_conv=False), "needs a Conv in the stem"),
    ],
)
def test_nets_that_no_theory_covers(net, said):
    with pytest.raises(ValueError, match=said):
        kind(net)


def test_batches_mix_as_random_batches_do():
    """Mean of the means; the mean variance and the variance of the means add up."""
    rng = np.random.default_rng(0)
    means, variances = rng.standard_normal(6), rng.uniform(0.5, 1.0, 6)
    laws = [{"x": Lognormal(mean, variance)} for mean, variance in zip(means, variances, strict=True)]
    found = _mixed(laws)["x"]
    assert_allclose([found.mean, found.variance], [means.mean(), variances.mean() + means.var(ddof=1)])
    assert _mixed(laws[:1]) == laws[0]


def test_a_run_begins_anew_every_time():
    images = np.random.default_rng(0).standard_normal((4, 1, 1, 12))
    run = FiniteWidthRun(fm.vanilla(3, 1), [images], width=64)
    one, other = ([event for event in run if not isinstance(event, Passage)] for _ in range(2))
    assert one == other and len(one) == 1 + 3 * 3
    assert all(station.channels == 64 and station.sigmas for station in one[1:])


def test_closures_can_be_swapped():
    images = np.random.default_rng(0).standard_normal((8, 1, 1, 12))
    other = dataclasses.replace(CLOSURES, third_moment=lambda mean, variance: mean**3)
    runs = (
        FiniteWidthRun(fm.vanilla(3, 1), [images], width=64, closures=closures)
        for closures in (CLOSURES, other)
    )
    one, other = ([event for event in run if not isinstance(event, Passage)][-1].moments for run in runs)
    assert one != other


@pytest.mark.parametrize(
    "net",
    [fm.vanilla(2), fm.bn_res(2), fm.bn_ff(2, 1), fm.residual(2)],
    ids=["plain", "conv", "flat", "skips"],
)
def test_the_report_has_the_rows_and_sizes_of_infinite_width(net):
    images = fm.load_images("synthetic:6x6x3", 8, seed=0)
    wide, finite = (
        fm.scan(net, images, engine).stations for engine in (fm.InfiniteWidth(), fm.FiniteWidth(64))
    )
    sizes = {station.path: station.grid for station in wide}
    assert {station.path: station.grid for station in finite}.items() <= sizes.items()
    assert finite[0].path == "" and finite[0].mean["chi"] == pytest.approx(1.0)
    assert finite[0].mean["mu2_signal"] == pytest.approx(wide[0].mean["mu2_signal"], rel=1e-12)


@pytest.mark.parametrize(
    ("family", "size"), [*((each, 1) for each in FAMILIES), ("vanilla", 3), ("residual", 3), ("bn_ff", 3)]
)
def test_a_walk_says_where_it_is(family, size):
    """In every batch, also where its stations only come at the end."""

    seen = []

    def watch(event):
        seen.append((event.batch, event.depth) if isinstance(event, Passage) else event.depth)

    net, images = getattr(fm, family)(5, size), fm.load_images("synthetic:6x6x3", 12, seed=0)
    fm.scan(net, images, fm.FiniteWidth(width=64, batch=6, batches=2), progress=watch)
    assert {(batch, depth) for batch in (0, 1) for depth in (1, 2, 3, 4)} <= set(seen)
    assert seen.index((0, 4)) < seen.index((1, 4)) < seen.index(5)


def test_several_batches_add_the_variance_between_them():
    images = fm.load_images("synthetic:6x6x3", 96, seed=1)
    one = finite("bn_ff", 4, images, 256, batch=16, batches=1)
    many = finite("bn_ff", 4, images, 256, batch=16, batches=6)
    assert many.data["batches"] == 6 and many.data["points"] == 16
    assert np.all(many.curve("reff_signal").sigma > 0)
    assert many.curve("mu4_signal", "norm").sigma[0] > one.curve("mu4_signal", "norm").sigma[0]


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (
            lambda: fm.scan(fm.vanilla(2, input_conv=False), flat(4), fm.FiniteWidth()),
            "Of nets with convolutions",
        ),
        (
            lambda: fm.scan(
                fm.vanilla(2), np.eye(80)[:, :, None] * np.ones((2, 80, 80, 1)), fm.FiniteWidth()
            ),
            "at most 1,024 positions behind the stem, not 1,600",
        ),
        (lambda: fm.scan(fm.Network([fm.Conv(1)]), flat(4), fm.FiniteWidth()), "covers stacks of"),
        (
            lambda: fm.scan(
                Network([Conv(3), BatchNorm(), ReLU()], [Conv(1, padding="zeros", pad=1)]),
                flat(4),
                fm.FiniteWidth(),
            ),
            "a smaller pad",
        ),
        (lambda: finite("residual", 2, flat(4), 64, input_conv=False), "needs a Conv in the stem"),
        (lambda: finite("bn_ff", 2, flat(4), 8), "does not hold at width 8"),
        (lambda: finite("bn_res", 2, flat(5), 64), "at least 6 images"),
        (lambda: finite("bn_ff", 2, flat(4), 64, batches=2), "say of how many images"),
        (lambda: finite("bn_ff", 2, flat(4), 64, batch=5), "from 2 to the 4 images"),
    ],
)
def test_what_is_not_covered_is_refused(call, said):
    with pytest.raises(ValueError, match=said):
        call()


@pytest.mark.parametrize("difference", [1e-8, 1e-10])
def test_images_that_nearly_agree_are_refused_before_work(difference):
    """Their rank was 0 / 0, or a division by zero."""
    rng = np.random.default_rng(0)
    images = rng.normal(size=(1, 2, 2, 3)) + difference * rng.normal(size=(2, 2, 2, 3))
    for net in (fm.residual(2, 1), fm.vanilla(2, 1)):
        with pytest.raises(ValueError, match="The images agree to so many digits that rounding decides"):
            fm.scan(net, images, fm.FiniteWidth(32), normalise=False)
    fm.scan(fm.residual(2, 1), images, fm.FiniteWidth(32))
