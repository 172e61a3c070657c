"""From a module of PyTorch to a verdict, by one command."""

import json

import pytest

pytest.importorskip("torch")
from command_line import run

CODE = """
import torch
from torch import nn


class Plain(nn.Sequential):
    def __init__(self, depth=30, width=16):
        layers, before = [], 3
        for _ in range(depth):
            conv = nn.Conv2d(before, width, 3, padding=1)
            nn.init.kaiming_normal_(conv.weight)
            nn.init.zeros_(conv.bias)
            layers += [conv, nn.ReLU()]
            before = width
        super().__init__(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, 10))


class Odd(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3, padding=1)

    def forward(self, x):
        return torch.softmax(self.conv(x), 1)


def nothing():
    return 3
"""


@pytest.fixture
def here(tmp_path, monkeypatch):
    (tmp_path / "mine.py").write_text(CODE)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def diagnose(*arguments, **options):
    return run("diagnose", *arguments, "--quiet", "--count", "3", **options)


def test_a_module_is_measured_and_computed_side_by_side(here):
    said = diagnose("mine.py:Plain", "--arg", "depth=4", "--arg", "width=64").stdout
    report, _, beside = said.rpartition("at the output")
    assert "Conv2d" in report and "classifier" not in report.splitlines()[0]
    measured, infinite = (float(line.split()[-3]) for line in beside.splitlines()[2:4])
    assert 0.5 < measured / infinite < 2.0


def test_json_holds_both_scans(here):
    found = json.loads(diagnose("mine.py:Plain", "--arg", "depth=2", "--format", "json").stdout)
    assert found["schema"] == "fastmoments.diagnosis/1" and found["untranslated"] is None
    assert found["measured"]["method"] == "measured"
    assert found["infinite_width"]["architecture"]["name"] == "Plain"


def test_what_has_no_formula_is_measured_and_named(here):
    said = diagnose("mine.py:Odd").stdout
    assert "Not computed at infinite width: softmax(): this operation has no formula here" in said
    found = json.loads(diagnose("mine.py:Odd", "--format", "json").stdout)
    assert found["infinite_width"] is None and "softmax" in found["untranslated"]


def test_several_nets_have_deviations(here):
    found = json.loads(
        diagnose("mine.py:Plain", "--arg", "depth=2", "--nets", "3", "--format", "json").stdout
    )
    assert found["measured"]["nets"] == 3
    assert found["measured"]["stations"][-1]["moments"]["log_chi"]["sigma"] > 0.0


def test_images_are_guessed_and_said(here):
    said = run("diagnose", "mine.py:Odd", "--count", "2").stderr
    assert "Importing mine.py" in said and "Taking --images fashion-mnist" in said


def test_exit_codes_and_figure(here):
    said = diagnose("mine.py:Plain", "--min-directions", "9", code=3).stderr
    assert "--min-directions: " in said
    pytest.importorskip("matplotlib")
    diagnose("mine.py:Plain", "--arg", "depth=2", "--plot", "net.png")
    assert (here / "net.png").stat().st_size > 10_000


def test_wrong_calls_are_one_sentence(here):
    assert (
        "mine.py:nothing makes a int, and not a torch.nn.Module" in diagnose("mine.py:nothing", code=2).stderr
    )
    assert "raised TypeError" in diagnose("mine.py:Plain", "--arg", "nets=3", code=1).stderr
    said = diagnose("mine.py:Plain", "--images", "fashion-mnist", code=2).stderr
    assert "0 (Conv2d) cannot be called with images of shape (3, 1, 28, 28)" in said
