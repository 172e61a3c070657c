"""Where data go and how they look."""

import csv
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from command_line import PYTHON, SAMPLED, SMALL, in_a_process, needs_matplotlib, run
from limits import largest_file

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


@pytest.mark.parametrize(
    "arguments",
    [
        ["scan", "bn_ff", "--images", "x.npz", "--output", "x.npz"],
        ["scan", "bn_ff", "--images", "x.npz", "--output", "soft.npz", "--dry-run"],
        ["scan", "bn_ff", "--images", "x.npz", "--output", "hard.json"],
        ["compare", "--images", "x.npz", "--output", "images.json"],
        ["verify", "bn_ff", "--images", "x.npz", "--output", "images.csv"],
        ["sweep", "--family", "bn_ff", "--images", "x.npz", "--output", "images.csv"],
        ["sweep", "--grid", "grid.csv", "--output", "grid.csv"],
        ["scan", "--spec", "net.json", "--output", "net.json"],
    ],
    ids=" ".join,
)
def test_what_is_read_is_not_written_to(tmp_path, monkeypatch, arguments):
    monkeypatch.chdir(tmp_path)
    np.savez("x.npz", images=np.random.default_rng(0).normal(size=(4, 3, 3, 1)))
    Path("soft.npz").symlink_to("x.npz")
    os.link("x.npz", "hard.json.partial")  # where the journal would stand
    for name in ("images.json", "images.csv"):
        Path(name).symlink_to("x.npz")
    for name in ("grid.csv", "net.json"):
        Path(name).write_text("depth = [1, 2]\n")
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    result = run(*arguments, code=2)
    assert result.stdout == ""
    assert "are the same file" in result.stderr.splitlines()[-1]
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


@needs_matplotlib
def test_output_and_figure_are_two_files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("a.json").symlink_to("a.png")
    words = "Error: --plot and --output are the same file, a.png; name another.\n"
    assert run("compare", *SMALL, "--output", "a.json", "--plot", "a.png", code=2).stderr == words
    Path("a.png").write_text("{}")
    words = "Error: --output and RESULT are the same file, a.png; name another.\n"
    assert run("plot", "a.json", "--output", "a.png", code=2).stderr == words
    assert Path("a.png").read_text() == "{}"


@needs_matplotlib
@pytest.mark.parametrize(("option", "name"), [("--output", "x.json"), ("--plot", "x.png")])
def test_what_is_no_file_of_ones_own_is_refused_before_work(tmp_path, option, name):
    path = tmp_path / name
    path.symlink_to(os.devnull)
    arguments = ["scan", "bn_ff", *SMALL, option, path]
    assert run(*arguments, code=2).stderr == f"Error: Cannot write {path}: it is a device; name a file.\n"
    assert run(*arguments, "--dry-run", code=2).stdout == ""
    path.unlink()
    path.write_text("mine")
    path.chmod(0o400)
    assert "it is there, and read-only" in run(*arguments, code=2).stderr
    assert path.read_text() == "mine"


def test_a_link_stays_and_its_target_gets_the_data(tmp_path):
    target, link = tmp_path / "data.json", tmp_path / "link.json"
    target.write_text("old")
    target.chmod(0o600)
    link.symlink_to(target)
    run("scan", "bn_ff", *SMALL, "--output", link, "--quiet")
    assert link.is_symlink() and target.stat().st_mode & 0o777 == 0o600
    assert fm.load_scan(target).depth.size == 4
    assert sorted(os.listdir(tmp_path)) == ["data.json", "link.json"]


def test_a_name_too_long_for_its_journal_is_refused_before_work(tmp_path):
    path = tmp_path / ("x" * 240 + ".json")
    result = run("scan", "bn_ff", *SMALL, "--output", path, code=2)
    assert result.stderr.endswith("its name is longer than 255 bytes, with what is put behind it.\n")
    run("compare", *SMALL, "--output", path, "--quiet")  # which has no journal
    assert os.listdir(tmp_path) == [path.name]


@needs_matplotlib
@pytest.mark.parametrize("option", [["--output", "x.json"], ["--plot", "x.png"]])
def test_a_full_disk_is_a_failure_of_the_system(tmp_path, monkeypatch, option):
    monkeypatch.chdir(tmp_path)
    Path(option[1]).write_text("old")
    command = ["compare", *SMALL, *option, "--quiet"]
    run(*command[:-3])  # what is compiled now is not compiled in the narrow place
    with largest_file(1000):
        result = run(*command, code=1)
    words = f"Error: Cannot write {option[1]}: File too large; what was written before is kept.\n"
    assert result.stderr == words
    assert Path(option[1]).read_text() == "old"
    assert os.listdir() == [option[1]]


def test_a_result_that_finds_no_room_is_kept_in_the_journal(tmp_path, monkeypatch):
    """The scan is done; with room, --resume writes its result and computes nothing."""
    monkeypatch.chdir(tmp_path)
    command = ["scan", "bn_ff", *SMALL, "--output", "x.csv", "--quiet"]
    run(*command)
    whole = Path("x.csv").read_text()

    def full(path, content):
        raise OSError("Cannot write x.csv: No space left on device.")

    monkeypatch.setattr("fastmoments.cli.output.write_atomically", full)
    result = run(*command[:-1], code=1)
    assert "x.csv.partial holds what is done; --resume goes on from there.\n" in result.stderr
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("fastmoments.engines.infinite_width.walk.InfiniteWidthWalk.__iter__", None)
    Path("x.csv").unlink()
    run(*command, "--resume")
    assert Path("x.csv").read_text() == whole
    assert os.listdir() == ["x.csv"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no full device")
@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["scan", "bn_ff", *SMALL, "--quiet"]])
def test_a_full_stdout_is_one_sentence(arguments):
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [*PYTHON, "-m", "fastmoments.cli", *arguments], stdout=full, stderr=subprocess.PIPE, text=True
        )
    assert done.returncode == 1
    assert done.stderr == "Error: Cannot write to stdout or stderr: No space left on device.\n"


CLOSED = """
import os, sys
os.close(int(sys.argv[1]))
os.execv(sys.executable, [sys.executable, "-P", "-m", "fastmoments.cli", *sys.argv[2:]])
"""


@pytest.mark.parametrize("command", [["scan", "bn_ff"], ["compare"], ["sweep", "--processes", "1"]])
def test_a_closed_stdout_is_refused_before_work_and_a_closed_stderr_is_not(command):
    small = ["--depth", "3", "--images", "synthetic:4x4", "--count", "3"]
    closed = [sys.executable, "-c", CLOSED]
    done = subprocess.run([*closed, "1", *command, *small], stderr=subprocess.PIPE, text=True)
    assert done.returncode == 2
    assert done.stderr.endswith("There is no stdout to write to: it is closed; name a file by --output.\n")
    done = subprocess.run([*closed, "2", *command, *small], stdout=subprocess.PIPE, text=True)
    assert done.returncode == 0
    assert done.stdout == in_a_process(*command, *small).stdout != ""
