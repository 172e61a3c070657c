import csv
import io
import json
import os
import signal
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import fastmoments as fm
from fastmoments import cli
from fastmoments.cli import COMMANDS, main
from fastmoments.cli.output import duration, joined_csv, spread
from fastmoments.nets.families import FAMILIES
from fastmoments.nets.network import Network
from fastmoments.scans.scanning import scan
from fastmoments.scans.tables import number, text_table

SMALL = ["--images", "synthetic:8x8x3", "--count", "4", "--threads", "1", "--depth", "4"]
SAMPLED = [*SMALL, "--method", "sampled", "--width", "16", "--nets", "3"]
DEEP = [*SMALL, "--depth", "20", "--kernel-size", "1"]  # deep enough for a verdict; the last --depth counts

needs_matplotlib = pytest.mark.skipif(find_spec("matplotlib") is None, reason="figures need matplotlib")


# Without the working directory on the path: in a checkout it would hide the installed package.
PYTHON = (sys.executable, "-P")


def run(*arguments, code=0):
    """Run a command line in this process; the result has stdout and stderr apart."""
    result = CliRunner().invoke(main, list(map(str, arguments)))
    assert result.exit_code == code, (result.exit_code, result.output, result.exception)
    return result


def in_a_process(*arguments, **options):
    return subprocess.run(
        [*PYTHON, "-m", "fastmoments.cli", *arguments], capture_output=True, text=True, **options
    )


# Help


@pytest.mark.parametrize(
    ("arguments", "absent"),
    [
        ([], ("numpy", "scipy", "numba", "matplotlib")),
        *(([name], ("numba", "matplotlib")) for name in COMMANDS),
    ],
)
def test_help_loads_no_heavy_library(arguments, absent):
    code = (
        "import sys\nfrom fastmoments.cli import main\n"
        f"main([*{arguments}, '--help'], standalone_mode=False)\n"
        f"print([name for name in {absent} if name in sys.modules])"
    )
    output = subprocess.run(
        [sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True
    ).stdout
    assert output.startswith("Usage: ")
    assert output.endswith("[]\n")


@pytest.mark.parametrize("name", COMMANDS)
def test_list_of_commands_quotes_their_help(name):
    assert COMMANDS[name] in run("--help").stdout
    assert COMMANDS[name] in run(name, "--help").stdout


def test_version():
    assert run("--version").stdout == f"fastmoments {fm.__version__}\n"


# Data


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


def test_durations():
    assert [duration(s) for s in (0.01, 1.4, 70.0, 500.0, 9e4)] == [
        "0.1 seconds", "1 seconds", "70 seconds", "8.3 minutes", "25 hours",
    ]  # fmt: skip


def test_effective_ranks_where_they_are_asked_for():
    values = json.loads(run("scan", "bn_ff", *SMALL, "--format", "json", "--reff-at", "all").stdout)
    assert list(values["moments"]["reff_signal"]) == values["locs"] == ["input", "conv", "norm", "act"]
    values = json.loads(run("scan", "bn_ff", *SMALL, "--format", "json", "--reff-at", "conv").stdout)
    assert list(values["moments"]["reff_noise"]) == ["conv"]


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


def test_table_of_a_scan():
    output = run("scan", "vanilla", *SAMPLED, "--quiet").stdout
    assert "vanilla: depth 4" in output
    assert "sampled, 3 nets of width 16" in output
    assert "verdict: none (it takes a depth of at least 16, and several recorded depths)" in output
    assert "+-" in output


def test_compare_sets_the_families_side_by_side():
    output = run("compare", *DEEP, "--every", 2, "--count", 8).stdout
    lines = output.splitlines()
    for name in FAMILIES:
        assert sum(line.startswith(name) for line in lines) == 1
    assert sum(line.split()[-4:] == list(FAMILIES) for line in lines) == 2
    assert "At depth 20: 8 images of synthetic:8x8x3, 8 points; infinite width" in output


def test_compare_json_and_csv():
    values = json.loads(run("compare", *SMALL, "--format", "json").stdout)
    assert values["schema"] == "fastmoments.compare/1"
    assert [each["architecture"]["name"] for each in values["scans"]] == list(FAMILIES)
    rows = list(csv.DictReader(io.StringIO(run("compare", *SMALL, "--format", "csv").stdout)))
    assert list(rows[0])[:3] == ["architecture", "depth", "loc"]
    assert list(dict.fromkeys(row["architecture"] for row in rows)) == list(FAMILIES)
    last = [row for row in rows if (row["architecture"], row["loc"]) == ("bn_res", "merge")][-1]
    assert float(last["chi"]) == values["scans"][-1]["moments"]["chi"]["merge"]["mean"][-1]
    assert last["delta_chi_bn"] == ""  # a moment of another station


def test_spec(tmp_path):
    path = tmp_path / "net.toml"
    path.write_text('layers = [{repeat = 3, layers = [{type = "Conv"}, {type = "ReLU"}]}]')
    options = ["--images", "synthetic:8x8x3", "--count", 4, "--format", "json", "--quiet"]
    values = json.loads(run("scan", "--spec", path, *options).stdout)
    assert values["architecture"]["name"] == "net"
    family = json.loads(run("scan", "vanilla", "--depth", 3, "--no-input-conv", *options).stdout)
    assert values["moments"] == family["moments"]


def test_depth_zero():
    assert "depth" in run("scan", "bn_res", *SMALL, "--depth", 0).stdout


def test_data_and_progress_are_apart():
    loud, quiet = run("scan", "vanilla", *SMALL), run("scan", "vanilla", *SMALL, "--quiet")
    assert loud.stdout == quiet.stdout
    assert "vanilla ..." in loud.stderr
    assert quiet.stderr == ""


# Checks


def test_fail_if():
    exploding = ["scan", "bn_ff", *DEEP, "--count", 8, "--quiet"]
    assert "exploding sensitivity" in run(*exploding).stdout
    result = run(*exploding, "--fail-if", "well-behaved", "--fail-if", "exploding", code=3)
    assert result.stderr == "Error: --fail-if: bn_ff has the label 'exploding sensitivity'.\n"
    assert "exploding sensitivity" in result.stdout  # the data come all the same
    run(*exploding, "--fail-if", "exploding sensitivity", code=3)
    run(*exploding, "--fail-if", "one-dimensional")
    run("compare", *DEEP, "--count", 8, "--quiet", "--every", 1, "--fail-if", "exploding", code=3)


def test_fail_if_without_a_verdict_fails():
    result = run("scan", "vanilla", *SMALL, "--fail-if", "exploding", "--quiet", code=3)
    assert "has no verdict; it takes a depth of at least 16" in result.stderr


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


def test_doctor(monkeypatch):
    output = run("doctor").stdout
    for word in ("numba", "threads", "cache", "relu            ok", "batch norm      ok"):
        assert word in output
    assert output.endswith("\nok\n")
    from fastmoments.cli import selftest

    monkeypatch.setitem(selftest.TESTS, "relu", lambda: selftest._difference([1.0], 2.0, 1e-3))
    result = run("doctor", code=1)
    assert "relu            FAILED: off by 1.0e+00" in result.stdout
    assert result.stderr == "Error: The self-test failed: relu.\n"


# Figures


@needs_matplotlib
def test_figures(tmp_path):
    single, comparison = tmp_path / "scan.npz", tmp_path / "compare.json"
    result = run("scan", "vanilla", *SMALL, "--output", single, "--plot", tmp_path / "a.png")
    assert f"The figure is in {tmp_path / 'a.png'}." in result.stderr
    run("compare", *SMALL, "--output", comparison, "--plot", tmp_path / "b.svg", "--quiet")
    run("plot", single, "--output", tmp_path / "c.png", "--quiet")
    run("plot", comparison, "--output", tmp_path / "d.png", "--quiet")
    for name in ("a.png", "c.png", "d.png"):
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")
    assert b"<svg" in (tmp_path / "b.svg").read_bytes()


def test_missing_matplotlib_is_said_before_computing(tmp_path, monkeypatch):
    monkeypatch.setattr(cli.import_module("fastmoments.cli.output"), "find_spec", lambda name: None)
    result = run("scan", "vanilla", *SMALL, "--plot", tmp_path / "a.png", code=2)
    assert "pip install" in result.stderr
    assert result.stdout == ""


# Wrong command lines: none of them may compute anything


WRONG = [
    (["scn"], ("No such command",)),
    (["scan"], ("FAMILY", "--spec FILE", "one of them is needed")),
    (["scan", "bnff"], ("'bnff' is not one of", "bn_ff")),
    (["scan", "bn_ff", "--spec", "net.toml"], ("give one of them, not both",)),
    (["scan", "--spec", "nowhere.toml"], ("Cannot read nowhere.toml", "No such file")),
    (["scan", "--spec", "nowhere.toml", "--depth", 100], ("--depth is for a FAMILY",)),
    (["scan", "--spec", "nowhere.toml", "--no-input-conv"], ("--no-input-conv is for a FAMILY",)),
    (["scan", "--spec", "nowhere.toml", "--res-depth", 2], ("--res-depth is for a FAMILY",)),
    (["scan", "bn_ff", "--depth", -1], ("--depth", "-1 is not in the range x>=0")),
    (["scan", "bn_ff", "--depth", "ten"], ("'ten' is not a valid integer",)),
    (["scan", "bn_ff", "--kernel-size", 0], ("--kernel-size", "x>=1")),
    (["scan", "bn_ff", "--padding", "same"], ("'same' is not one of", "periodic")),
    (["scan", "bn_ff", "--res-depth", 0], ("--res-depth",)),
    (["scan", "bn_ff", "--epsilon", -1], ("--epsilon",)),
    (["scan", "bn_ff", "--epsilon", "nan"], ("--epsilon", "not a finite number")),
    (["scan", "bn_ff", "--epsilon", "inf"], ("--epsilon", "not a finite number")),
    (["scan", "bn_ff", "--images", "fashion-mnst"], ("did you mean 'fashion-mnist'?",)),
    (["scan", "bn_ff", "--images", "no/such.npy"], ("no file or folder 'no/such.npy'",)),
    (["scan", "bn_ff", "--images", "synthetic:8"], ("the size in 'synthetic:8' must be",)),
    (["scan", "bn_ff", "--count", 0], ("--count",)),
    (["scan", "bn_ff", "--count", 1000], ("count is 1000, but there are only 256 images",)),
    (["scan", "bn_ff", "--count", 1, "--kernel-size", 1], ("two different images",)),
    (["scan", "bn_ff", "--every", 0], ("--every",)),
    (["scan", "bn_ff", "--seed", -1], ("--seed",)),
    (["scan", "bn_ff", "--threads", 0], ("--threads",)),
    (["scan", "bn_ff", "--threads", 100_000], ("threads must be a whole number from 1 to",)),
    (["scan", "bn_ff", "--method", "exact"], ("'exact' is not one of", "sampled")),
    (["scan", "bn_ff", "--width", 64], ('width belongs to method="finite" or "sampled"',)),
    (["scan", "bn_ff", "--nets", 3], ('nets belongs to method="sampled"',)),
    (["scan", "bn_ff", "--method", "sampled", "--width", 0], ("--width",)),
    (["scan", "bn_res", "--scale", -1], ("--scale", "x>=0")),
    (["scan", "bn_res", "--gain", 0], ("--gain", "x>0")),
    (["scan", "bn_res", "--gain", "nan"], ("--gain", "not a finite number")),
    (["scan", "bn_ff", "--resume"], ("--resume goes on with the scan of --output FILE",)),
    (["scan", "bn_ff", "--dtype", "float16"], ("'float16' is not one of", "float32")),
    (["scan", "vanilla", "--dtype", "float32"], ("float32 needs a BatchNorm in every unit",)),
    (["scan", "bn_ff", "--rank", 0], ("--rank", "x>=1")),
    (["scan", "bn_ff", "--reff-at", "bn"], ("'bn' is not one of", "merge", "all")),
    (["scan", "bn_ff", "--format", "xml"], ("'xml' is not one of", "table")),
    (["scan", "bn_ff", "--output", "x.txt"], ("Cannot tell the format of x.txt", ".json, .csv, .npz")),
    (["scan", "bn_ff", "--output", "x.json", "--format", "csv"], ("csv and --output x.json disagree",)),
    (["scan", "bn_ff", "--output", "no/x.json"], ("Cannot write no/x.json: there is no folder no",)),
    (["scan", "bn_ff", "--output", "."], ("it is a folder",)),
    (["scan", "bn_ff", "--fail-if", "boring"], ("'boring' is not one of", "exploding")),
    (["compare", "bn_ff"], ("unexpected extra argument",)),
    (["compare", "--output", "x.npz"], ("Cannot tell the format of x.npz", ".json, .csv")),
    (["compare", "--spec", "net.toml"], ("No such option",)),
    (["verify"], ("FAMILY", "one of them is needed")),
    (["verify", "bn_ff", "--widths", "64,x"], ("'64,x' is not a list of whole numbers",)),
    (["verify", "bn_ff", "--widths", "64"], ("at least two different widths",)),
    (["verify", "bn_ff", "--method", "sampled"], ("--method", "sampled")),
    (["verify", "residual", "--method", "finite"], ("Of nets with convolutions",)),
    (["verify", "bn_ff", "--widths", "0,64"], ("all of widths must be a positive whole number, not 0",)),
    (["verify", "bn_ff", "--nets", "7"], ("--nets", "x>=8")),
    (["verify", "bn_ff", "--depth", "0"], ("nothing to verify",)),
    (["plot"], ("Missing argument 'RESULT'",)),
    (["plot", "x.json"], ("Missing option '--output'",)),
    (["plot", "x.csv", "--output", "x.png"], ("Cannot tell the format of x.csv",)),
    (["plot", "x.json", "--output", "x.png"], ("There is no file x.json",)),
    (["plot", "x.json", "--output", "x.gif"], ("Cannot tell the format of x.gif", ".png, .pdf, .svg")),
    (["doctor", "now"], ("unexpected extra argument",)),
]  # fmt: skip


@pytest.mark.parametrize(("arguments", "words"), WRONG)
def test_wrong_command_lines(arguments, words, monkeypatch, tmp_path):
    if arguments[0] == "plot" and find_spec("matplotlib") is None:
        pytest.skip("figures need matplotlib")
    monkeypatch.chdir(tmp_path)
    result = run(*arguments, code=2)
    assert isinstance(result.exception, SystemExit)  # and no traceback
    *_, sentence = result.stderr.splitlines()
    assert sentence.startswith("Error: ")
    assert sentence.endswith((".", "?", ")"))
    assert all(word in sentence for word in words), sentence
    assert result.stdout == ""
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    "content", ["", "{}", "[1]", '{"schema": "fastmoments.compare/1", "scans": [{}]}', "\x00"]
)
def test_plot_of_a_damaged_file(tmp_path, content):
    if find_spec("matplotlib") is None:
        pytest.skip("figures need matplotlib")
    path = tmp_path / "x.json"
    path.write_text(content)
    assert "is not a scan saved by" in run("plot", path, "--output", tmp_path / "x.png", code=2).stderr


def test_folder_without_permission(tmp_path):
    if os.geteuid() == 0:
        pytest.skip("root may write anywhere")
    tmp_path.chmod(0o500)
    assert "not writable" in run("scan", "bn_ff", "--output", tmp_path / "x.json", code=2).stderr


# Failures


@pytest.mark.parametrize(
    ("problem", "code", "sentence"),
    [
        (KeyboardInterrupt(), 130, "Stopped.\n"),
        (MemoryError(), 1, "Error: There is not enough memory; use fewer or smaller images.\n"),
        (np.linalg.LinAlgError("no convergence"), 1, "Error: The computation failed: no convergence.\n"),
        (FloatingPointError("No signal."), 1, "Error: The computation failed: No signal.\n"),
        (ValueError("This is wrong."), 2, "Error: This is wrong.\n"),
        (ImportError('pip install "fastmoments[plot]"'), 1, 'Error: pip install "fastmoments[plot]"\n'),
    ],
)  # fmt: skip
def test_exceptions_become_exit_codes(tmp_path, monkeypatch, problem, code, sentence):
    def fail(self):
        raise problem

    monkeypatch.setattr(Network, "architecture", fail)
    path = tmp_path / "x.json"
    path.write_text("as before")
    result = run("scan", "vanilla", *SMALL, "--output", path, "--quiet", code=code)
    assert result.stderr == sentence
    assert path.read_text() == "as before"
    assert os.listdir(tmp_path) == ["x.json"]


def test_a_defect_keeps_its_traceback(monkeypatch):
    monkeypatch.setattr(Network, "architecture", lambda self: 1 / [])
    result = run("scan", "vanilla", *SMALL, code=1)
    assert isinstance(result.exception, TypeError)


def test_interrupt_of_a_process(tmp_path):
    command = ["scan", "vanilla", *SMALL, "--method", "sampled", "--nets", "1000000", "--output", "x.json"]
    process = subprocess.Popen(
        [*PYTHON, "-m", "fastmoments.cli", *command],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr.readline() == "vanilla ...\n"
    # During an import of compiled code Python may end by the signal itself instead of an exit code.
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not (tmp_path / "x.json.partial").exists():
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 130
    assert errors == "x.json.partial holds what is done; --resume goes on from there.\nStopped.\n"
    assert os.listdir(tmp_path) == ["x.json.partial"]


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


def _interrupt(self, station):
    if station.depth == 3:
        raise KeyboardInterrupt


def test_reader_that_has_seen_enough():
    command = [*PYTHON, "-m", "fastmoments.cli", "scan", "vanilla", *SMALL, "--format", "json"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    process.stdout.close()
    errors = process.stderr.read()
    process.stderr.close()
    assert process.wait(timeout=60) == 141
    assert errors == "vanilla ...\n"


def test_exit_codes_of_a_process(tmp_path):
    assert in_a_process("--version").returncode == 0
    wrong = in_a_process("scan", "bn_ff", "--threads", "100000", "--quiet", cwd=tmp_path)
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert wrong.stderr.startswith("Error: threads must be")
    failed = in_a_process("scan", "vanilla", *SMALL, "--fail-if", "exploding", "--quiet")
    assert failed.returncode == 3


# Small parts


def test_numbers():
    assert [number(v) for v in (None, float("nan"), 1234567.0, 0.5)] == ["-", "-", "1.235e+06", "0.5"]
    assert number(float("inf"), 1000.0 * np.log(10.0) + np.log(2.0)) == "2.000e+1000"
    assert number(float("inf"), float("inf")) == "-"


def test_table_is_aligned():
    table = text_table([["name", "x"]], [["a", "1.5"], ["longer", "-"]])
    assert table.splitlines() == ["name      x", "------  ---", "a       1.5", "longer    -"]


def test_csv_of_rows_that_differ():
    rows = [{"name": "a", "y": 1}, {"name": "b", "x": 2}]
    assert joined_csv(rows, ("x", "y")) == "name,x,y\na,,1\nb,2,\n"


@pytest.mark.parametrize("count", [1, 2, 9, 10, 11, 500])
def test_spread_keeps_both_ends(count):
    chosen = spread(np.arange(count))
    assert (chosen[0], chosen[-1]) == (0, count - 1)
    assert len(chosen) == min(count, 10)


def test_progress_on_a_terminal(monkeypatch, capsys):
    from fastmoments.cli.progress import Progress
    from fastmoments.engines.protocol import Passage, Station

    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    with Progress(9, quiet=False) as progress:
        progress.begin("bn_ff")
        progress(Station("layers.5", "ReLU", 3, "act", {}, net=4))
    assert "bn_ff: net 5, depth 3 of 9" in capsys.readouterr().err
    with Progress(9, quiet=False) as progress:
        progress.begin("vanilla")
        progress(Passage(1, 7))
    assert "vanilla: batch 2, depth 7 of 9" in capsys.readouterr().err
