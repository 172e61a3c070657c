"""Where a scan at finite width is least exact: in its provenance, in words, and in files of any age."""

import json
import math

import numpy as np
import pytest

import fastmoments as fm
from fastmoments.engines.protocol import Station
from fastmoments.scans.plain import from_dict
from fastmoments.scans.uncertainty import drawn_in_words, in_words, most_uncertain

IMAGES = fm.load_images("synthetic:6x6x3", 8, seed=0)


@pytest.fixture(scope="module")
def finite():
    return fm.scan(fm.bn_res(4, 1), IMAGES, fm.FiniteWidth(64), every=2)


def station(depth, **errors):
    moments = {"log_chi": 1.0, "reff_signal": 4.0}
    return Station("layers.1", "ReLU", depth, "act", moments, errors=errors)


def test_the_largest_relative_error_is_found():
    found = most_uncertain([station(1, log_chi=0.2, reff_signal=0.4), station(2, reff_signal=1.2)])
    assert found == {"moment": "reff_signal", "loc": "act", "depth": 2, "error": pytest.approx(0.3)}
    assert most_uncertain([station(1)]) is None
    assert most_uncertain([station(1, log_chi=math.nan)]) is None


@pytest.mark.parametrize(
    ("error", "end"),
    [
        (0.014, "mean 1.4%"),
        (0.2, "mean 20%"),
        (0.3, "mean 30%: rough, the width is small for this depth or moment"),
    ],
)
def test_it_is_said_in_words(error, end):
    said = in_words({"moment": "chi", "loc": "act", "depth": 3, "error": error})
    assert said.startswith(
        "most uncertain: chi at depth 3 (@act), estimated error of its "
    ) and said.endswith(end)


@pytest.mark.parametrize(
    "nothing",
    [None, 3, {}, {"moment": "chi"}, *({"moment": "chi", "loc": "a", "depth": 1, "error": bad}
                                       for bad in (None, "x", True, 0.0, math.inf, math.nan))],
)  # fmt: skip
def test_what_says_nothing_has_no_words(nothing):
    assert in_words(nothing) == ""


def test_a_scan_at_finite_width_says_how_exact_it_is(finite):
    found = finite.provenance["most_uncertain"]
    curve = finite.curve(found["moment"], found["loc"])
    assert curve.error is not None and found["error"] == max(row.error for row in finite.stations)
    assert finite.uncertainty and finite.uncertainty in str(finite.report()).splitlines()
    assert finite.curve("delta_chi").error is None
    infinite = fm.scan(fm.bn_res(4, 1), IMAGES, every=2)
    assert infinite.uncertainty == "" and infinite.curve("chi").error is None
    assert "most uncertain" not in str(infinite.report()) and "most_uncertain" not in infinite.provenance


def test_small_errors_are_the_same_of_a_moment_and_of_its_logarithm():
    """By propagation: relative to mean and deviation, the latter as much as those of both parts."""
    scan = fm.scan(fm.bn_ff(2, 1), IMAGES, fm.FiniteWidth(10**6))
    log, linear = scan.curve("log_chi"), scan.curve("chi")
    of_mean = np.expm1(log.error + log.sigma * log.sigma_error)
    np.testing.assert_allclose(linear.error / linear.mean, of_mean, rtol=1e-4)
    np.testing.assert_allclose(linear.sigma_error / linear.sigma, log.sigma_error / log.sigma, rtol=0.2)


@pytest.mark.parametrize("ending", ["json", "npz"])
def test_errors_are_saved_and_read(finite, ending, tmp_path):
    fm.save_scan(finite, tmp_path / f"scan.{ending}")
    again = fm.load_scan(tmp_path / f"scan.{ending}")
    assert again.to_dict() == finite.to_dict()
    np.testing.assert_array_equal(again.curve("log_chi").sigma_error, finite.curve("log_chi").sigma_error)
    assert again.uncertainty == finite.uncertainty


def test_a_journal_keeps_errors(finite, tmp_path):
    path = tmp_path / "scan.partial"
    fm.scan(fm.bn_res(4, 1), IMAGES, fm.FiniteWidth(64), every=2, journal=path)
    np.testing.assert_array_equal(fm.load_scan(path).curve("chi").error, finite.curve("chi").error)


def test_files_without_errors_are_still_read(finite):
    described = json.loads(json.dumps(finite.to_dict()))
    del described["provenance"]["most_uncertain"]
    for at in described["moments"].values():
        for curve in at.values():
            curve.pop("error", None)
            curve.pop("sigma_error", None)
    again = from_dict(described)
    assert again.curve("chi").error is None and again.uncertainty == ""
    np.testing.assert_array_equal(again["chi"], finite["chi"])
    described["moments"]["chi"]["act"]["error"] = [0.1]
    with pytest.raises(ValueError, match="must have 2 values"):
        from_dict(described)


def test_drawn_channels_are_told():
    some = {"drawn": "in some units", "drawn_error": 0.0021}
    assert drawn_in_words(some) == "channels drawn in some units, standard error of chi up to 0.2%"
    everywhere = drawn_in_words({"drawn": "in every unit", "drawn_error": 0.04})
    assert everywhere.startswith(
        "channels drawn in every unit, standard error of chi up to 4.0%: rough, as one"
    )
    for wrong in (
        {},
        {"drawn": "in some units"},
        {**some, "drawn_error": "x"},
        {**some, "drawn_error": True},
    ):
        assert drawn_in_words(wrong) == ""


def test_a_report_says_what_was_drawn():
    net = fm.Network([fm.Conv(3), fm.MaxPool(2), fm.Conv(3)])
    scan = fm.scan(net, fm.load_images("synthetic:8x8x1", 4), fm.InfiniteWidth(draws=512))
    error = scan.stations[-1].drawn["log_chi"]
    assert error > 0.0 and f"{error:.0e}" in str(scan.report()).splitlines()[-1]
    assert "channels drawn in some units" in str(scan.report())


def test_at_infinite_width_it_is_the_closure_that_is_rough():
    found = {"moment": "reff_signal", "loc": "out", "depth": 3, "error": 0.3}
    assert in_words(found, finite=False).endswith("mean 30%: rough, the law behind merges is a closure")
