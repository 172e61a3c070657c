"""Where data go and how they look."""

import csv
import os

import numpy as np
import pytest
from command_line import SAMPLED, SMALL, run

import fastmoments as fm
from fastmoments import cli
from fastmoments.cli.output import duration, joined_csv, spread


@pytest.mark.parametrize("ending", ["json", "npz", "csv"])
def test_ending_decides_the_format(tmp_path, ending):
    path = tmp_path / f"x.{ending}"
    result = run("scan", "vanilla", *SAMPLED, "--output", path, "--quiet")
    assert (result.stdout, result.stderr) == ("", "")
    assert os.listdir(tmp_path) == [path.name]
    if ending == "csv":
        rows = list(csv.DictReader(path.read_text().splitlines()))
        assert rows[0]["depth"] == "1"
        assert "chi_sigma" in rows[0]
    else:
        loaded = fm.load_scan(path)
        assert (loaded.method, loaded.width, loaded.nets, loaded.depth.tolist()) == (
            "sampled",
            16,
            3,
            [1, 2, 3, 4],
        )


def test_missing_matplotlib_is_said_before_computing(tmp_path, monkeypatch):
    monkeypatch.setattr(cli.import_module("fastmoments.cli.output"), "find_spec", lambda name: None)
    result = run("scan", "vanilla", *SMALL, "--plot", tmp_path / "a.png", code=2)
    assert "pip install" in result.stderr
    assert result.stdout == ""


def test_folder_without_permission(tmp_path):
    if os.geteuid() == 0:
        pytest.skip("root may write anywhere")
    tmp_path.chmod(0o500)
    assert "not writable" in run("scan", "bn_ff", "--output", tmp_path / "x.json", code=2).stderr


def test_durations():
    assert [duration(s) for s in (0.01, 1.4, 70.0, 500.0, 9e4)] == [
        "0.1 seconds", "1 seconds", "70 seconds", "8.3 minutes", "25 hours",
    ]  # fmt: skip


def test_csv_of_rows_that_differ():
    rows = [{"name": "a", "y": 1}, {"name": "b", "x": 2}]
    assert joined_csv(rows, ("x", "y")) == "name,x,y\na,,1\nb,2,\n"


@pytest.mark.parametrize("count", [1, 2, 9, 10, 11, 500])
def test_spread_keeps_both_ends(count):
    chosen = spread(np.arange(count))
    assert (chosen[0], chosen[-1]) == (0, count - 1)
    assert len(chosen) == min(count, 10)
