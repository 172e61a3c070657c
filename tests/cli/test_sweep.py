import csv
import io
import os
import signal
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import pytest
from click.testing import CliRunner

import fastmoments as fm
from fastmoments.cli import main
from fastmoments.cli.sweep import Bar, _listed, read_value

# Without the working directory on the path: in a checkout it would hide the installed package.
COMMAND = (sys.executable, "-P", "-m", "fastmoments.cli", "sweep")
GRID = {
    "family": ["vanilla", "bn_ff"],
    "depth": [16, 20],
    "kernel_size": 1,
    "source": "synthetic:4x4",
    "count": 4,
}
SMALL = [
    "--family", "vanilla,bn_ff", "--depth", "16", "--depth", "20", "--kernel-size", "1",
    "--images", "synthetic:4x4", "--count", "4",
]  # fmt: skip
# Long enough to be interrupted; a few seconds in all.
LONG = [
    "--family", "bn_ff,residual", "--depth", "30,40", "--images", "synthetic:8x8", "--count", "4",
    "--seed", ",".join(map(str, range(12))), "--processes", "2",
]  # fmt: skip


def run(*arguments, code=0):
    """Run a command line in this process; the result has stdout and stderr apart."""
    result = CliRunner().invoke(main, ["sweep", *map(str, arguments)])
    assert result.exit_code == code, (result.exit_code, result.output, result.exception)
    return result


def begun(*arguments, done=8):
    """Start a process and wait until its journal has so many scans."""
    process = subprocess.Popen(
        [*COMMAND, *map(str, arguments)], stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    journal = Path(f"{arguments[arguments.index('--output') + 1]}.partial")
    deadline = time.monotonic() + 120
    while not journal.exists() or journal.read_bytes().count(b"\n") < 1 + done:
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return process, journal


def children(pid):
    """Processes that a process has started, as far as /proc tells."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            text = entry.read_text()
        except OSError:
            continue
        if int(text.rpartition(")")[2].split()[1]) == pid:
            found.append(int(entry.parent.name))
    return found


def ended(pids, seconds=30.0):
    """Whether these processes are gone, or become so in time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        states = [Path(f"/proc/{pid}/stat") for pid in pids]
        if not any(
            path.exists() and path.read_text().rpartition(")")[2].split()[0] != "Z" for path in states
        ):
            return True
        time.sleep(0.05)
    return False


# Tables


def test_values_are_read_as_in_toml():
    texts = ["50", "-1", "1e-3", "true", "False", "none", "zeros", "a/b.npy"]
    assert [read_value(text) for text in texts] == [50, -1, 0.001, True, False, None, "zeros", "a/b.npy"]
    assert _listed(None, None, ("1, 2", "3")) == [1, 2, 3]


def test_ranges_are_their_values():
    assert _listed(None, None, ("1:2:5",)) == [1.0, 1.25, 1.5, 1.75, 2.0]
    assert _listed(None, None, ("10:30:3, 7", "0.01:1:3:log")) == [10, 20, 30, 7, 0.01, 0.1, 1.0]
    assert _listed(None, None, ("10:1000:3:log",)) == [10, 100, 1000]
    assert _listed(None, None, ("synthetic:4x4", "a:b:c")) == ["synthetic:4x4", "a:b:c"]


def test_parameters_of_layers(tmp_path):
    net = fm.Network([fm.Residual([fm.BatchNorm(), fm.ReLU(), fm.Conv(1)])] * 3, [fm.Conv(1)], "mine")
    path = tmp_path / "net.toml"
    path.write_text(net.to_toml())
    sizes = ["--images", "synthetic:4x4", "--count", 4, "--processes", 1, "--quiet"]
    settings = ["--set", "layers.*.scale=0.5:1:3", "--set", "count=3,4"]
    run("--spec", path, *settings, *sizes[:2], *sizes[4:], "--output", tmp_path / "x.csv")
    grid = {"layers.*.scale": [0.5, 0.75, 1.0], "count": [3, 4], "source": "synthetic:4x4"}
    assert fm.Sweep.load(tmp_path / "x.csv").rows == fm.sweep(grid, network=net, processes=1).rows
    lines = run("--spec", path, "--set", "layers.0.scale=0.5,1", *sizes).stdout.splitlines()
    assert lines[0].split()[:2] == ["layers.0.scale", "verdict"]
    assert [line.split()[0] for line in lines[2:]] == ["0.5", "1"]


def test_the_table_is_that_of_the_library(tmp_path):
    wanted = fm.sweep(GRID, processes=1, output=tmp_path / "library.csv")
    result = run(*SMALL, "--processes", 1, "--output", tmp_path / "x.csv", "--quiet")
    assert (result.stdout, result.stderr) == ("", "")
    assert (tmp_path / "x.csv").read_bytes() == (tmp_path / "library.csv").read_bytes()
    lines = run(*SMALL, "--processes", 1).stdout.splitlines()
    assert lines[0].split() == ["family", "depth", "verdict", "chi", "reff_signal", "mu4_signal"]
    for line, row in zip(lines[2:], wanted, strict=True):
        assert line.split()[:2] == [row["family"], str(row["depth"])]
        assert f"{row['chi']:.4g}" in line
        assert row["verdict"] in line


def test_grid_in_a_file(tmp_path):
    path = tmp_path / "grid.toml"
    path.write_text(
        'family = "vanilla"\ndepth = [16, 20]\nkernel_size = 1\nsource = "synthetic:4x4"\ncount = 4\n'
    )
    options = ["--processes", 1, "--quiet", "--output", tmp_path / "x.csv"]
    run("--grid", path, *options)
    rows = list(csv.DictReader(io.StringIO((tmp_path / "x.csv").read_text())))
    assert [(row["family"], row["depth"]) for row in rows] == [("vanilla", "16"), ("vanilla", "20")]
    run("--grid", path, "--depth", "2,3,4", *options)
    rows = list(csv.DictReader(io.StringIO((tmp_path / "x.csv").read_text())))
    assert [row["depth"] for row in rows] == ["2", "3", "4"]


@pytest.mark.skipif(find_spec("pyarrow") is None, reason="Parquet needs pyarrow")
def test_parquet(tmp_path):
    from pyarrow import parquet

    run(*SMALL, "--processes", 1, "--output", tmp_path / "x.parquet", "--quiet")
    assert parquet.read_table(tmp_path / "x.parquet").to_pylist() == fm.sweep(GRID, processes=1).rows


@pytest.mark.skipif(find_spec("matplotlib") is None, reason="figures need matplotlib")
def test_heat_map(tmp_path):
    result = run(*SMALL, "--processes", 1, "--plot", tmp_path / "x.png", "--x", "depth", "--color", "rate")
    assert (tmp_path / "x.png").read_bytes().startswith(b"\x89PNG")
    assert f"The figure is in {tmp_path / 'x.png'}." in result.stderr


def test_failed_scans():
    result = run(*SMALL, "--count", 1, "--processes", 1)
    assert "error" in result.stdout.splitlines()[0]
    assert "4 of 8 scans failed; the column error says why." in result.stderr
    result = run(*SMALL[:-1], 1, "--processes", 1, "--quiet", code=1)
    assert result.stderr.startswith("Error: All scans failed; the first: the images carry no signal")


# Progress


def test_progress_in_lines():
    result = run(*SMALL, "--processes", 1)
    assert result.stderr.splitlines() == ["4 scans ...", *(f"{done} of 4 scans" for done in (1, 2, 3, 4))]


def test_progress_in_few_lines(capsys):
    bar = Bar(quiet=False)
    bar(40, 1000, None)
    for done in range(41, 1001):
        bar(done, 1000, {})
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "1000 scans, 40 of them from the journal ..."
    assert lines[1:] == [f"{hundred}00 of 1000 scans" for hundred in range(1, 11)]


def test_progress_on_a_terminal(monkeypatch, capsys):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    now = iter([100.0, 110.0, 110.01, 120.0])
    monkeypatch.setattr(time, "monotonic", lambda: next(now))
    with Bar(quiet=False) as bar:
        bar(1, 4, None)
        bar(2, 4, {})
        bar(3, 4, {})  # too soon to be drawn
        bar(4, 4, {})
    text = capsys.readouterr().err
    frames = text.split("\r\x1b[K")
    assert frames == [
        "",
        f"[{'#' * 7}{'.' * 23}] 1 of 4 scans",
        f"[{'#' * 15}{'.' * 15}] 2 of 4 scans, 0:00:20 left",
        f"[{'#' * 30}] 4 of 4 scans",
        "",
    ]


# Ends in the middle


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    """The bytes of LONG."""
    path = tmp_path_factory.mktemp("wanted") / "x.csv"
    run(*LONG, "--output", path, "--quiet")
    return path.read_bytes()


def test_killed_and_resumed(uninterrupted, tmp_path):
    output = tmp_path / "x.csv"
    process, journal = begun(*LONG, "--output", output)
    workers = children(process.pid)
    process.kill()  # SIGKILL
    process.communicate()
    finished = journal.read_bytes().count(b"\n") - 1
    assert 8 <= finished < 48
    assert not output.exists()
    assert ended(workers)  # nobody computes for a sweep that is no more
    refused = run(*LONG, "--output", output, code=2)
    assert "go on with --resume" in refused.stderr
    result = run(*LONG, "--output", output, "--resume")
    assert f"48 scans, {finished} of them from the journal ..." in result.stderr
    assert output.read_bytes() == uninterrupted
    assert os.listdir(tmp_path) == ["x.csv"]


def test_killed_worker(uninterrupted, tmp_path):
    output = tmp_path / "x.csv"
    process, _ = begun(*LONG, "--output", output)
    if not children(process.pid):
        pytest.skip("the system does not tell the children of a process")
    for pid in children(process.pid)[-1:]:
        os.kill(pid, signal.SIGKILL)
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    assert output.read_bytes() == uninterrupted


def test_interrupt(uninterrupted, tmp_path):
    output = tmp_path / "x.csv"
    process, journal = begun(*LONG, "--output", output, "--quiet")
    workers = children(process.pid)
    os.killpg(process.pid, signal.SIGINT)  # all of them get it from a terminal
    _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (130, "Stopped.\n")
    assert ended(workers)
    assert os.listdir(tmp_path) == [journal.name]
    run(*LONG, "--output", output, "--resume", "--quiet")
    assert output.read_bytes() == uninterrupted


# Wrong command lines: none of them may compute anything


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--depht", 1], ("No such option", "--depht")),
        (["--depth", "ten"], ("depth must be a whole number", "'ten'")),
        (["--depth", "5,,6"], ("depth must be a whole number", "''")),
        (["--depth", "5,5"], ("depth lists the value 5 twice",)),
        (["--family", "bnff"], ("family must be one of vanilla",)),
        (["--input-conv", "maybe"], ("input_conv must be true or false",)),
        (["--images", "fashion-mnst"], ("did you mean 'fashion-mnist'?",)),
        (["--width", 64], ('width belongs to method="finite" or "sampled"',)),
        (["--grid", "nowhere.toml"], ("Cannot read nowhere.toml: No such file",)),
        (["--grid", "bad.toml"], ("bad.toml is not TOML",)),
        (["--grid", "name.toml"], ("unknown parameter 'dept' (did you mean 'depth'?)",)),
        (["--set", "layers.0.gain"], ("'layers.0.gain' must be PATH=LIST",)),
        (["--set", "layers.99999.gain=1"], ("vanilla has no parameter layers.99999.gain", "layers.0 to")),
        (["--set", "gain=1:2:1"], ("the range '1:2:1' must have a whole number of values, from 2",)),
        (["--set", "gain=0:2:5:log"], ("must be of positive numbers",)),
        (["--set", "depth=3", "--depth", 3], ("depth is given twice, by its option and by --set",)),
        (["--spec", "nowhere.toml", "--depth", 3], ("Cannot read nowhere.toml",)),
        (["--resume"], ("--resume needs --output",)),
        (["--processes", 0], ("--processes", "x>=1")),
        (["--processes", 2, "--scheduler", "tcp://127.0.0.1:1"], ("give one of them, not both",)),
        (["--output", "x.json"], ("must end in .csv, .parquet",)),
        (["--output", "no/x.csv"], ("there is no folder no",)),
        (["--plot", "x.png"], ("A heat map takes two parameters",)),
        (["--depth", "1,2", "--plot", "x.png", "--color", "verdict"], ("color must be one of",)),
        (["--depth", "1,2", "--plot", "x.png", "--x", "epsilon"], ("'epsilon' is no axis",)),
    ],
)  # fmt: skip
def test_wrong_command_lines(arguments, words, tmp_path, monkeypatch):
    if "--plot" in arguments and find_spec("matplotlib") is None:
        pytest.skip("figures need matplotlib")
    monkeypatch.chdir(tmp_path)
    Path("bad.toml").write_text("depth = [")
    Path("name.toml").write_text("dept = 3")
    before = sorted(os.listdir())
    family = [] if {"--family", "--color", "--x"} & {*arguments} else ["--family", "vanilla"]
    result = run(*family, *arguments, code=2)
    *_, sentence = result.stderr.splitlines()
    assert sentence.startswith("Error: ")
    assert all(word in sentence for word in words), sentence
    assert result.stdout == ""
    assert sorted(os.listdir()) == before


# Dask


def test_a_scheduler_that_is_not_there():
    pytest.importorskip("distributed", reason="the cluster needs distributed")
    result = run(*SMALL, "--scheduler", "nonsense://127.0.0.1:1", code=1)
    assert "There is no Dask scheduler at nonsense://127.0.0.1:1" in result.stderr


@pytest.mark.parametrize("address", ["foo", "foo:bar", "", "127.0.0.1", "tcp://"])
def test_an_address_without_a_port_is_refused_at_once(address):
    pytest.importorskip("distributed", reason="the cluster needs distributed")
    result = run(*SMALL, "--scheduler", address, code=2)
    assert f"--scheduler must be an address such as tcp://host:8786, not {address!r}" in result.stderr


def test_a_scheduler_of_no_known_kind_leaves_no_traceback():
    """What distributed leaves behind would be printed when the process ends, much later."""
    pytest.importorskip("distributed", reason="the cluster needs distributed")
    command = [*COMMAND, *SMALL, "--scheduler", "nonsense://127.0.0.1:1"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=15)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert done.stderr.startswith(
        "Error: There is no Dask scheduler at nonsense://127.0.0.1:1: unknown address"
    )


def test_without_distributed(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    assert 'pip install "fastmoments[distributed]"' in run(*SMALL, "--scheduler", "tcp://x:1", code=1).stderr


@pytest.mark.slow
def test_a_cluster_by_its_address(uninterrupted, tmp_path):
    distributed = pytest.importorskip("distributed", reason="the cluster needs distributed")
    options = {"n_workers": 2, "threads_per_worker": 1, "processes": True, "dashboard_address": None}
    with distributed.LocalCluster(**options) as cluster:
        arguments = [*LONG[:-2], "--scheduler", cluster.scheduler_address, "--output", tmp_path / "x.csv"]
        done = subprocess.run([*COMMAND, *map(str, arguments), "--quiet"], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert (tmp_path / "x.csv").read_bytes() == uninterrupted
