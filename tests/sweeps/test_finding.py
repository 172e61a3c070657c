"""The value of a parameter for which a curve ends where it should."""

import re

import numpy as np
import pytest

import fastmoments as fm
from fastmoments.sweeps import finding
from fastmoments.sweeps.finding import CURVES, find

IMAGES = fm.load_images("synthetic:4x4", 4)


def by_scale(scale):
    return fm.bn_res(12, 1, scale=scale)


def test_the_value_is_where_the_curve_ends_at_the_target():
    found = find(by_scale, IMAGES, ("chi", 1.5), (0.01, 1.0), threads=1)
    assert fm.scan(by_scale(found.value), IMAGES)["chi"][-1] == pytest.approx(1.5, rel=1e-5)
    assert found.reached == found.scan["chi"][-1]
    assert (found.parameter, found.curve, found.target) == ("value", "chi", 1.5)
    assert found.trace[:2] == tuple((end, fm.scan(by_scale(end), IMAGES)["chi"][-1]) for end in (0.01, 1.0))
    assert (found.value, found.reached) in found.trace
    assert len(found.trace) < 15
    assert found.rows()[0] == {"value": 0.01, "chi": found.trace[0][1]}


def test_a_path_of_a_net_is_as_good_as_a_function():
    one = find(by_scale, IMAGES, ("chi", 1.5), (0.01, 1.0))
    other = find(fm.bn_res(12, 1), IMAGES, ("chi", 1.5), (0.01, 1.0), path="layers.*.scale")
    assert (other.value, other.parameter) == (one.value, "layers.*.scale")


def test_the_order_of_the_ends_does_not_matter_nor_does_the_way_of_the_curve():
    one = find(lambda gain: fm.vanilla(5, 1, gain=gain), IMAGES, ("nu2_signal", 2.0), (3.0, 1.0))
    assert find(lambda gain: fm.vanilla(5, 1, gain=gain), IMAGES, ("nu2_signal", 2.0), (1, 3.0)).value == (
        pytest.approx(one.value)
    )
    falling = find(lambda x: fm.vanilla(5, 1, gain=1.0 / x), IMAGES, ("nu2_signal", 2.0), (1 / 3, 1.0))
    assert 1.0 / falling.value == pytest.approx(one.value, rel=1e-5)


def test_ranks_are_found_where_they_are_taken():
    found = find(by_scale, IMAGES, ("reff_signal", 2.9), (0.0, 1.0), tolerance=1e-4)
    assert found.reached == pytest.approx(2.9, rel=1e-3)


def test_beyond_the_range_of_numbers_logarithms_decide():
    found = find(lambda depth: fm.bn_ff(depth, 1), IMAGES, ("chi", 1e100), (2, 2000), threads=1)
    before = fm.scan(fm.bn_ff(found.value - 1, 1), IMAGES)["log_chi"][-1]
    behind = fm.scan(fm.bn_ff(found.value + 1, 1), IMAGES)["log_chi"][-1]
    assert before < 230.26 < behind
    assert found.to_dict()["trace"][1][1] is None  # chi at depth 2,000 is no float


@pytest.mark.parametrize("target", [3.0, 30.0])
def test_whole_numbers_by_bisection(target):
    chi = [None, *fm.scan(fm.bn_ff(40, 1), IMAGES)["log_chi"]]
    found = find(lambda depth: fm.bn_ff(depth, 1), IMAGES, ("chi", target), (1, 40))
    assert type(found.value) is int
    wanted = min(range(1, 41), key=lambda depth: abs(chi[depth] - np.log(target)))
    assert found.value == wanted
    assert all(type(value) is int for value, _ in found.trace)
    assert len(found.trace) <= 9


def test_whole_ends_of_a_parameter_that_is_none_are_numbers():
    found = find(fm.bn_res(12, 1), IMAGES, ("chi", 1.5), (0, 1), path="layers.*.scale")
    assert 0.0 < found.value < 1.0


def test_an_end_that_is_the_answer():
    chi = float(fm.scan(by_scale(0.5), IMAGES)["chi"][-1])
    assert find(by_scale, IMAGES, ("chi", chi), (0.5, 1.0)).value == pytest.approx(0.5)


def test_random_nets_are_the_same_for_every_value():
    net = fm.Network([fm.Conv(1), fm.ReLU()] * 3)
    engine = fm.Sampled(width=16, nets=2, seed=1)
    found = find(net, IMAGES, ("nu2_signal", 1.0), (0.1, 8.0), path="layers.*.gain", engine=engine)
    assert found.reached == pytest.approx(1.0, rel=1e-4)


WRONG = [
    ((by_scale, ("chi", 1e9), (0.1, 1.0)), {}, "chi is below 1e+09 at both ends: 1."),
    ((by_scale, ("chi", 0.5), (0.1, 1.0)), {}, "; choose ends between which it crosses."),
    ((by_scale, ("chi", 1.5), (-1.0, 1.0)), {}, "scale must be a finite non-negative number, not -1.0."),
    ((by_scale, ("ch", 1.5), (0.1, 1.0)), {}, "the curve of so_that must be one of nu1_abs_signal"),
    ((by_scale, ("chi", -1), (0.1, 1.0)), {}, "the value of chi must be a finite positive number, not -1."),
    ((by_scale, "chi", (0.1, 1.0)), {}, "so_that must be a curve and its value, such as ('chi', 10.0)"),
    ((by_scale, ("chi", 1.5), 0.1), {}, "between must be two numbers, not 0.1."),
    ((by_scale, ("chi", 1.5), (0.1, 0.1)), {}, "between must be two different numbers, not 0.1 twice."),
    ((by_scale, ("chi", 1.5), (0.1, float("inf"))), {}, "both ends of between must be a finite number"),
    ((by_scale, ("chi", 1.5), (0.1, 1.0)), {"path": "layers.0.scale"}, "path is for a Network"),
    ((by_scale, ("chi", 1.5), (0.1, 1.0)), {"tolerance": 0}, "tolerance must be a finite positive number"),
    ((by_scale(1.0), ("chi", 1.5), (0.1, 1.0)), {}, "find needs a path"),
    ((by_scale(1.0), ("chi", 1.5), (0.1, 1.0)), {"path": "layers.*.scal"}, "has no parameter layers.*.scal"),
    (
        (by_scale(1.0), ("chi", 1.5), (0.1, 1.0)),
        {"path": "layers.0.branch.0.noise"},
        "layers.0.branch.0.noise is 'frozen', and find takes numbers.",
    ),
    (
        ("bn_res", ("chi", 1.5), (0.1, 1.0)),
        {},
        "net must be a Network or a function that makes one, not str.",
    ),
]


@pytest.mark.parametrize(("given", "options", "words"), WRONG)
def test_what_is_wrong_is_refused_in_one_sentence(given, options, words):
    net, so_that, between = given
    with pytest.raises(ValueError, match=re.escape(words)) as caught:
        find(net, IMAGES, so_that, between, **options)
    assert "\n" not in str(caught.value)


def test_progress_and_ctrl_c():
    seen = []

    def progress(value, end):
        seen.append(value)
        if len(seen) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        find(by_scale, IMAGES, ("chi", 1.5), (0.01, 1.0), progress=progress)
    assert seen[:2] == [0.01, 1.0]


def test_every_curve_can_be_asked_for():
    assert {"chi", "reff_signal", "nu2_signal", "mu2_noise"} <= set(CURVES)
    assert not any(name.startswith("log_") for name in CURVES)
    assert finding.TOLERANCE < 1e-4
