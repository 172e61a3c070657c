"""`fastmoments verify`."""

import csv
import io
import json

import pytest
from command_line import SMALL, run

VERIFY = ["verify", "bn_ff", *SMALL, "--depth", "2", "--widths", "16,32", "--nets", "8", "--quiet"]


def test_verify_agrees():
    assert "agrees: largest |z|" in run(*VERIFY).stdout
    values = json.loads(run(*VERIFY, "--format", "json").stdout)
    assert values["agrees"] is True
    assert (values["widths"], values["nets"]) == ([16, 32], 8)
    rows = list(csv.DictReader(io.StringIO(run(*VERIFY, "--format", "csv").stdout)))
    assert len(rows) == len(values["comparisons"])
    assert float(rows[0]["z"]) == values["comparisons"][0]["z"]


def test_verify_at_finite_width():
    plain = ["verify", "vanilla", *SMALL, "--kernel-size", "1", "--depth", "2", "--nets", "8", "--quiet"]
    rows = list(csv.DictReader(io.StringIO(run(*plain, "--method", "finite", "--format", "csv").stdout)))
    assert {row["of"] for row in rows} == {"mean", "sigma"}
    assert {row["width"] for row in rows} == {"256"}
    assert "sigma: of the logarithm" in run(*plain, "--method", "finite", "--widths", "64").stdout


def test_verify_disagrees_with_a_wrong_formula(monkeypatch):
    from fastmoments.scans import verification

    exact = verification._values

    def wrong(stations):
        values = exact(stations)
        if len({station.net for station in stations}) == 1:  # the analytic ones
            values[2, "act"]["chi"][0] += 1.0
        return values

    monkeypatch.setattr(verification, "_values", wrong)
    result = run(*VERIFY, code=3)
    assert "DISAGREES" in result.stdout
    assert "chi at depth 2 (act) is" in result.stderr


MODULE = """
from torch import nn


class Small(nn.Sequential):
    def __init__(self, width=16, classes=10):
        conv, norm = nn.Conv2d(3, width, 3, padding=1), nn.BatchNorm2d(width)
        head = nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, classes)
        super().__init__(conv, norm, nn.ReLU(), *head)
"""


@pytest.fixture
def module(tmp_path, monkeypatch):
    pytest.importorskip("torch")
    (tmp_path / "small_net.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    return [
        "verify",
        "--torch",
        "small_net.py:Small",
        "--quiet",
        "--images",
        "synthetic:8x8x3",
        "--count",
        "3",
    ]


def test_a_module_is_verified_at_its_own_width_and_extrapolated(module):
    one = run(*module, "--nets", "8", "--arg", "classes=5", "--format", "json").stdout
    assert json.loads(one)["widths"] == [] and json.loads(one)["method"] == "measured"
    said = run(*module, "--nets", "30", "--widths-arg", "width", "--widths", "8,16,32").stdout
    assert "30 nets each of width 8, 16, 32; extrapolated to infinity" in said and "agrees" in said


def test_what_a_module_needs_is_said(module):
    for more, said in (
        (["--widths", "8,16"], "a module needs both of them, or none"),
        (["--widths-arg", "width"], "a module needs both of them, or none"),
        (["--widths-arg", "width", "--widths", "8"], "at least two different widths"),
        (["--method", "finite"], "leave --method out"),
        (["bn_res"], "--torch names the net"),
        (["--depth", "3"], "--depth"),
    ):
        assert said in " ".join(run(*module, *more, code=2).stderr.split())
    assert "are of the module of --torch" in run("verify", "bn_res", "--arg", "a=1", code=2).stderr
