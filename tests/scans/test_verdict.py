import numpy as np
import pytest

import fastmoments as fm
from fastmoments.scans.budget import Budget
from fastmoments.scans.verdict import (
    EXPLODING,
    LEAST_SNR,
    MIN_DEPTH,
    ONE_DIMENSIONAL,
    WELL_BEHAVED,
    judge,
    judge_budget,
)

DEPTH = np.arange(1, 101)
LABELS = {
    "vanilla": ONE_DIMENSIONAL,
    "residual": ONE_DIMENSIONAL,
    "bn_ff": EXPLODING,
    "bn_res": WELL_BEHAVED,
}


@pytest.mark.parametrize(
    ("log_chi", "law", "rate"),
    [
        (0.2 * DEPTH, "exponential", 0.2),
        (0.54 * np.log(DEPTH), "power", 0.54),
        (1.0 - 1.0 / DEPTH, "bounded", 0.0),
        (0.0 * DEPTH, "bounded", 0.0),
        (-0.1 * DEPTH, "bounded", None),
    ],
)
def test_laws(log_chi, law, rate):
    verdict = judge(DEPTH, log_chi, np.full(100, 20.0), 500)
    assert verdict.law == law
    if rate is not None:
        assert verdict.rate == pytest.approx(rate, abs=0.03)


@pytest.mark.parametrize(
    ("reff", "collapsed"),
    [
        (1.0 + 30.0 / DEPTH, True),
        (np.full(100, 1.02), True),
        (20.0 - 10.0 / DEPTH, False),
        (2.0 + 0.1 * np.log(DEPTH), False),
        (5.4 + 10.0 / DEPTH**2, True),
    ],
)
def test_signals(reff, collapsed):
    verdict = judge(DEPTH, 1.0 - 1.0 / DEPTH, reff, 500)
    assert verdict.one_dimensional is collapsed
    assert verdict.label == (ONE_DIMENSIONAL if collapsed else WELL_BEHAVED)


def test_a_rank_that_fell_only_while_chi_grows_is_no_collapse():
    assert not judge(DEPTH, 0.5 * np.log(DEPTH), 5.4 + 10.0 / DEPTH**2, 500).one_dimensional


@pytest.mark.parametrize(("rate", "label"), [(0.003, ONE_DIMENSIONAL), (0.03, EXPLODING)])
def test_of_a_collapse_and_an_explosion_the_one_that_shows_decides(rate, label):
    """As in plain nets of finite width, whose log chi grows by about 1 / width in every layer."""
    verdict = judge(DEPTH, rate * DEPTH, 1.0 + 30.0 / DEPTH, 500)
    assert (verdict.law, verdict.one_dimensional, verdict.label) == ("exponential", True, label)
    assert judge(DEPTH, rate * DEPTH, np.full(100, 20.0), 500).label == EXPLODING


def test_two_points_have_one_direction_whatever_the_net():
    assert judge(DEPTH, 0.5 * np.log(DEPTH), np.ones(100), 1).one_dimensional


def test_a_shallow_net_shows_no_law():
    short = DEPTH[: MIN_DEPTH - 1]
    verdict = judge(short, 0.2 * short, 1.0 + 0.0 * short, 500)
    assert (verdict.label, verdict.law, verdict.reff_last) == (None, None, 1.0)
    assert judge(DEPTH, np.full(100, np.nan), np.full(100, np.nan), 500).reff_last is None
    assert judge(np.array([50, 100]), np.array([1.0, 2.0]), np.ones(2), 500).label is None


@pytest.mark.parametrize("family", LABELS)
@pytest.mark.parametrize(
    ("source", "count", "kernel_size", "padding"),
    [
        ("fashion-mnist", 16, 1, "periodic"),
        ("synthetic:8x8x3", 4, 1, "periodic"),
        ("synthetic:12x12x1", 6, 3, "periodic"),
        ("synthetic:12x12x1", 6, 3, "zeros"),
        ("synthetic:12x12x1", 6, 3, "symmetric"),
        ("synthetic:8x8x3", 4, 3, "zeros"),
        ("synthetic:8x8x3", 4, 5, "zeros"),
    ],
)
def test_the_four_families_at_depth_fifty(family, source, count, kernel_size, padding):
    network = fm.FAMILIES[family](50, kernel_size, padding)
    scan = fm.scan(network, fm.load_images(source, count, seed=1), every=2)
    assert scan.verdict.label == LABELS[family]


def left(snr=-20.0, directions=5.0, most=100, classes=None):
    return Budget(snr, directions=directions, most_directions=most, classes=classes)


@pytest.mark.parametrize(
    ("found", "label"),
    [
        (left(), WELL_BEHAVED),
        (left(snr=LEAST_SNR - 0.1), EXPLODING),
        (left(snr=LEAST_SNR - 0.1, directions=1.1), EXPLODING),
        (left(directions=2.4), ONE_DIMENSIONAL),
        (left(directions=2.4, classes=10), ONE_DIMENSIONAL),
        (left(directions=1.2, classes=2), WELL_BEHAVED),  # two classes want no more
        (left(directions=1.45, most=3), ONE_DIMENSIONAL),
        (left(directions=1.55, most=3), WELL_BEHAVED),  # four points allow three, and this is no trend
        (left(directions=None), None),
        (None, None),
    ],
)
def test_a_budget_has_the_same_labels(found, label):
    verdict = judge_budget(found, 3.0)
    assert (verdict.label, verdict.law, verdict.reff_last) == (label, None, 3.0)
    assert verdict.source == (None if label is None else "budget")
    assert verdict.budget is found


def test_deep_nets_of_like_units_are_judged_by_their_law_others_by_their_budget():
    images = fm.load_images("synthetic:8x8x3", 4)
    unit = [fm.Conv(3), fm.BatchNorm(), fm.ReLU()]
    deep = fm.scan(fm.Network(unit * 20), images).verdict
    assert (deep.source, deep.law) == ("law", "exponential") and deep.budget.snr_db < -20.0
    shallow = fm.scan(fm.Network(unit * 5), images).verdict
    assert (shallow.source, shallow.law, shallow.label) == ("budget", None, WELL_BEHAVED)
    mixed = fm.scan(fm.Network([*unit * 20, fm.Conv(3, stride=2)]), images).verdict
    assert (mixed.source, mixed.law) == ("budget", None)
    few = fm.scan(fm.Network(unit * 40), images, every=40).verdict
    assert (few.source, few.label) == ("budget", EXPLODING)
