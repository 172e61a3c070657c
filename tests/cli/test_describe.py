"""Scans in words and tables."""

import numpy as np
import pytest
from command_line import SAMPLED, run

import fastmoments as fm
from fastmoments.cli.describe import COLUMNS, comparison_table, growth, how, scan_table, value
from fastmoments.scans.curves import main_loc
from fastmoments.scans.verdict import Verdict

IMAGES = fm.load_images("synthetic:6x6x3", 6, seed=0)


def test_table_of_a_scan():
    output = run("scan", "vanilla", *SAMPLED, "--quiet").stdout
    assert "vanilla: depth 4" in output
    assert "sampled, 3 nets of width 16" in output
    assert "verdict: well-behaved, from the budget; no law of depth shows" in output
    assert "+-" in output


@pytest.mark.parametrize(
    ("law", "rate", "said"),
    [
        (None, None, "-"),
        ("exponential", 0.12345, "exp(0.123 l)"),
        ("power", 0.5, "l^0.50"),
        ("bounded", 0.0, "bounded"),
    ],
)
def test_growth_is_a_formula_in_the_depth(law, rate, said):
    assert growth(Verdict(None, law, rate, None, None)) == said


def test_every_engine_says_how_it_computed():
    images = "6 images of synthetic:6x6x3, 6 points"
    for engine, said in (
        (fm.InfiniteWidth(), f"{images}; infinite width"),
        (fm.Sampled(8, 2), f"{images}; sampled, 2 nets of width 8, mean +- deviation"),
        (fm.FiniteWidth(64), f"{images}; width 64, mean +- deviation over random nets"),
        (
            fm.FiniteWidth(64, batch=4, batches=2),
            "6 images of synthetic:6x6x3, 4 points, 2 batches of 4; "
            "width 64, mean +- deviation over random nets",
        ),
    ):
        assert how(fm.scan(fm.vanilla(2, 1), IMAGES, engine)) == said


def test_values_are_those_of_the_curves():
    scan = fm.scan(fm.vanilla(3, 1), IMAGES, fm.Sampled(8, 3))
    curve = scan.curve("chi")
    assert value(scan, "chi", 1) == f"{curve.mean[1]:.4g}"
    assert value(scan, "chi", 1, deviation=True) == f"{curve.mean[1]:.4g} +- {curve.sigma[1]:.4g}"
    assert value(scan, "no such moment", 1) == "-"


def test_the_table_has_a_row_for_about_ten_depths_and_names_the_stations():
    scan = fm.scan(fm.residual(40, 1), IMAGES)
    lines = scan_table(scan).splitlines()
    assert lines[2].startswith("verdict: ") and "chi grows like" in lines[2]
    rule = next(number for number, line in enumerate(lines) if line.startswith("-----"))
    rows = [line.split() for line in lines[rule + 1 :]]
    np.testing.assert_array_equal([int(row[0]) for row in rows], np.linspace(1, 40, 10).round())
    stations = [f"@{main_loc(name, scan.moments[name])}" for name in COLUMNS.values()]
    assert lines[rule - 1].split() == ["depth", *stations]


def test_a_bounded_chi_is_called_so():
    scan = fm.scan(fm.residual(30, 1, scale=0.0), IMAGES)
    assert "chi is bounded" in scan_table(scan)
    assert "bounded" in comparison_table([scan])
