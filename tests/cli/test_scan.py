"""`fastmoments scan`: the scan of the library, written down; interrupted and resumed."""

import json
import os
import re
from importlib.util import find_spec
from pathlib import Path

from command_line import SMALL, run

import fastmoments as fm
from fastmoments.scans.scanning import scan


def test_scan_json_is_the_scan_of_the_library():
    output = run(
        "scan", "bn_res", *SMALL, "--format", "json", "--every", 2, "--padding", "zeros", "--seed", 5
    )
    values = json.loads(output.stdout)
    images = fm.load_images("synthetic:8x8x3", 4, seed=5)
    wanted = scan(fm.bn_res(depth=4, padding="zeros"), images, every=2, threads=1).to_dict()
    for described in (values, wanted):
        del described["provenance"]["seconds"]
    assert values == wanted


def test_dry_run_computes_nothing(monkeypatch, tmp_path):
    monkeypatch.setattr("fastmoments.engines.infinite_width.walk.InfiniteWidthWalk.__iter__", None)
    said = run("scan", "bn_ff", *SMALL, "--dry-run", "--output", tmp_path / "x.json").stdout
    assert said.startswith("bn_ff: 64 points, depth 4; takes about 2")
    assert " MB of memory" in said and "seconds, compilation apart." in said
    for method in ("finite", "sampled"):
        said = run("scan", "bn_ff", *SMALL, "--dry-run", "--method", method).stdout
        assert " MB of memory" in said and "seconds" not in said
    assert os.listdir(tmp_path) == []


def test_a_dry_run_refuses_what_the_scan_would(tmp_path, monkeypatch):
    """Whatever can be known before work, in the same words."""
    monkeypatch.chdir(tmp_path)
    Path("old.json.partial").write_text("something else")
    Path("mine.json").write_text("mine")
    Path("mine.json").chmod(0o444)
    wrong = [
        ["--threads", "100000"], ["--method", "sampled", "--width", "1000000"], ["--width", "3"],
        ["--images", "synthetic:100x100", "--count", "1000"], ["--count", "1", "--kernel-size", "1"],
        ["--output", "no/x.json"], ["--output", "mine.json"], ["--output", "old.json"], ["--resume"],
        ["--output", "old.json", "--resume"], ["--images", "no/such.npy"],
    ]  # fmt: skip
    for arguments in wrong:
        refused = run("scan", "bn_ff", *SMALL, *arguments, "--dry-run", code=2)
        assert refused.stdout == ""
        words, bare = (
            refused.stderr.splitlines()[-1],
            run("scan", "bn_ff", *SMALL, *arguments, "--quiet", code=2),
        )
        numbers = re.compile(r"[\d.]+")  # the free memory changes
        assert numbers.sub("", words) == numbers.sub("", bare.stderr.splitlines()[-1])
    assert sorted(os.listdir()) == ["mine.json", "old.json.partial"]


def test_depth_zero():
    assert "depth" in run("scan", "bn_res", *SMALL, "--depth", 0).stdout


def test_data_and_progress_are_apart():
    loud, quiet = run("scan", "vanilla", *SMALL), run("scan", "vanilla", *SMALL, "--quiet")
    assert loud.stdout == quiet.stdout
    assert "vanilla ..." in loud.stderr
    assert quiet.stderr == ""


def _interrupt(self, station):
    if station.depth == 3:
        raise KeyboardInterrupt


def test_an_interrupted_scan_is_drawn_and_resumed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    command = ["scan", "bn_ff", *SMALL, "--output", "x.json", "--quiet"]
    run(*command)
    whole = json.loads(Path("x.json").read_text())
    assert os.listdir(tmp_path) == ["x.json"]
    monkeypatch.setattr("fastmoments.cli.progress.Progress.__call__", _interrupt)
    monkeypatch.setattr("fastmoments.scans.journal.CHECKPOINT_SECONDS", 0.0)
    run(*command, code=130)
    assert json.loads(Path("x.json").read_text()) == whole  # what was there before stays
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    assert "go on with --resume, or delete it" in run(*command, code=2).stderr
    if find_spec("matplotlib"):
        run("plot", "x.json.partial", "--output", "x.png")
    run(*command, "--resume")
    found = json.loads(Path("x.json").read_text())
    del whole["provenance"]["seconds"], found["provenance"]["seconds"]
    assert found == whole
    assert not list(tmp_path.glob("*.partial*"))


def test_a_damaged_checkpoint_is_said_and_the_scan_begins_anew(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    command = ["scan", "bn_ff", *SMALL, "--output", "x.csv", "--quiet"]
    run(*command)
    whole = Path("x.csv").read_text()
    monkeypatch.setattr("fastmoments.cli.progress.Progress.__call__", _interrupt)
    monkeypatch.setattr("fastmoments.scans.journal.CHECKPOINT_SECONDS", 0.0)
    run(*command, code=130)
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    Path("x.csv.partial.state").write_bytes(b"PK nonsense")
    said = "x.csv.partial.state is damaged, or does not belong to x.csv.partial: the scan begins anew."
    assert run(*command, "--resume").stderr == f"Warning: {said}\n"
    assert Path("x.csv").read_text() == whole
    assert os.listdir() == ["x.csv"]


def test_the_same_scan_twice_at_once(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    command, tried = ["scan", "bn_ff", *SMALL, "--output", "x.json"], []

    def again(self, station):
        if not tried:
            tried.append(run(*command, "--resume", "--quiet", code=2))

    monkeypatch.setattr("fastmoments.cli.progress.Progress.__call__", again)
    run(*command)
    assert tried[0].stderr == "Error: Another scan is writing x.json.partial; wait for it, or end it.\n"
    assert os.listdir() == ["x.json"]
