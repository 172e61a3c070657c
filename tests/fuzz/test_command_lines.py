"""Command lines of any options: an exit code that README names, and one sentence where it is not 0."""

import os
from pathlib import Path
from unittest import mock

import numpy as np
from click.testing import CliRunner
from fuzzing import a_folder, fuzzed, is_sentence, mostly
from hypothesis import event
from hypothesis import strategies as st

from fastmoments.cli import main

#: What stands where something else is expected.
JUNK = st.one_of(
    st.sampled_from(["", "0", "-1", "1e20", str(10**20), "nan", "inf", "1e308", "5e-324", "=cmd", "--",
    "a,b", "/", "."]),
    st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=5),
)  # fmt: skip


def of(*values):
    """Mostly one of these."""
    return mostly(st.sampled_from(values), JUNK)


FAMILIES = of("vanilla", "residual", "bn_ff", "bn_res")
PRESET = {
    "--depth": of("0", "1", "3", "6", str(10**9)), "--kernel-size": of("1", "2", "3", "5", "5001"),
    "--padding": of("periodic", "zeros", "symmetric"), "--res-depth": of("1", "2", str(10**9)),
    "--epsilon": of("0", "1e-3", "1e12"), "--gain": of("1", "2", "8", "1e-100"), "--scale": of("0", "1",
    "0.1"),
}  # fmt: skip
DATA = {
    "--images": of("synthetic:4x4", "synthetic:3x5x2", "x.npy", "x.npz", "empty.npy", "fashion-mnst",
    "synthetic:9"),
    "--count": of("2", "3", "4", "1", str(10**9)), "--seed": of("0", "5"),
}  # fmt: skip
ENGINE = {
    "--every": of("1", "2", "7"), "--method": of("infinite", "finite", "sampled"), "--width": of("4", "8",
    str(10**9)),
    "--nets": of("1", "2", str(10**20)), "--batch": of("2", "3"), "--batches": of("1", "2"),
    "--reff-at": of("act", "all", "norm"), "--dtype": of("float64", "float32"), "--rank": of("1", "3"),
}  # fmt: skip
OUT = (
    "x.json",
    "x.npz",
    "x.csv",
    "link.json",
    "full.json",
    "no/x.json",
    "x.txt",
    "folder",
    "mine.json",
    "old.json",
)
OUTPUT = {
    "--format": of("table", "json", "csv"), "--output": of(*OUT), "--threads": of("1", "1", "100000"),
    "--quiet": None
}  # fmt: skip
PLOT = {"--plot": of("x.png", "x.svg", "x.gif", "no/x.png", "folder")}
FLAGS = {"--resume": None, "--dry-run": None, "--report": None, "--fail-if": of("exploding", "well-behaved")}
SPEC = {"--spec": of("net.toml", "bad.toml", "no.toml", "x.npy")}
SWEEP = {name: st.lists(value, min_size=1, max_size=2).map(",".join) for name,
    value in (PRESET | DATA).items()} | {
    "--family": FAMILIES, "--grid": of("net.toml", "grid.toml", "no.toml"), "--scheduler": of("foo",
    "foo:bar"),
    "--output": of("x.csv", "x.parquet", "mine.csv", "folder"), "--resume": None, "--quiet": None,
    "--color": of("chi", "mu4_signal"), "--x": of("depth"), "--y": of("epsilon"), "--every": of("1"),
}  # fmt: skip
RESULTS = of("x.npz", "mine.json", "old.json.partial", "no.json", "net.toml")


@st.composite
def lines(draw, start, options, most=5):
    """A command line that begins with `start`, some of the options behind it, mostly in their right form."""
    line = [each if isinstance(each, str) else draw(each) for each in start]
    for name in draw(st.lists(st.sampled_from(sorted(options)), max_size=most)):
        line += [name] if options[name] is None else [name, draw(options[name])]
    return line


SMALL = ("--depth", "3", "--images", "synthetic:4x4", "--count", "3", "--threads", "1")
ALL = PRESET | DATA | ENGINE | OUTPUT
LINES = st.one_of(
    lines(("scan", FAMILIES, *SMALL), ALL | FLAGS),
    lines(("scan", FAMILIES, *SMALL), ALL | FLAGS),
    lines(("scan", "bn_ff", *SMALL), OUTPUT | FLAGS | SPEC),
    lines(("scan", "--spec", "net.toml", *SMALL[2:]), DATA | ENGINE | OUTPUT | FLAGS),
    lines(("compare", *SMALL), ALL | {"--fail-if": of("exploding")}, 5),
    lines(("verify", FAMILIES, *SMALL, "--nets", "8", "--widths", "4,8"), PRESET | DATA | OUTPUT, 3),
    lines(("sweep", "--family", "bn_ff", *SMALL[:-2], "--processes", "1"), SWEEP, 5),
    lines(("plot", RESULTS, "--output", of("x.gif", "folder", "no/x.png", "mine.json")), {"--quiet": None}),
    st.lists(JUNK, max_size=3),
)
FIGURES = st.one_of(
    lines(("scan", FAMILIES, *SMALL), PLOT | OUTPUT, 3),
    lines(("plot", RESULTS, "--output", "x.png"), {"--quiet": None}),
    lines(
        ("sweep", "--family", "bn_ff", *SMALL[2:-2], "--depth", "2,3", "--processes", "1"), PLOT | SWEEP, 3
    ),
)

MINE = {
    "mine.json": b"mine", "mine.csv": b"mine", "old.json.partial": b"something else\n", "empty.npy": b"",
    "net.toml": b'layers = [{type = "Conv"}, {type = "BatchNorm"}, {type = "ReLU"}]',
    "bad.toml": b"layers = [",
    "grid.toml": b"depth = [1, 2]\nfamily = 'bn_ff'\nsource = 'synthetic:3x3'\ncount = 3",
}  # fmt: skip


def check_line(line):
    images = np.random.default_rng(0).normal(size=(4, 4, 4, 1))
    with a_folder() as folder, mock.patch.dict(os.environ, COLUMNS="80"):
        for name, content in MINE.items():
            Path(name).write_bytes(content)
        for name in ("mine.json", "mine.csv"):
            Path(name).chmod(0o444)
        np.save("x.npy", images)
        np.savez("x.npz", images=images)
        Path("link.json").symlink_to("behind.json")
        Path("full.json").symlink_to(os.devnull)
        Path("folder").mkdir()
        result = CliRunner().invoke(main, line)
        assert result.exception is None or isinstance(result.exception, SystemExit), repr(result.exception)
        assert result.exit_code in (0, 1, 2, 3), result.exit_code
        event(f"exit code {result.exit_code}")
        if result.exit_code:
            *_, last = result.stderr.splitlines()
            helped = not line and result.stderr.startswith("Usage: ")
            assert helped or (last.startswith("Error: ") and is_sentence(last)), result.stderr
            assert "Traceback" not in result.stderr
        if result.exit_code in (1, 2) and line[:1] != ["sweep"]:
            assert result.stdout == ""
        assert all(Path(name).read_bytes() == content for name, content in MINE.items())
        assert Path("link.json").is_symlink() and Path("full.json").is_symlink()
        left = {path.name for path in Path(folder).iterdir()}
        known = {*MINE, "x.npy", "x.npz", "link.json", "full.json", "folder", "behind.json"}
        named = {*line, "x.npz", *(f"{each}.partial" for each in line)}
        assert left - known <= named, left
        assert result.exit_code in (0, 3) or not [name for name in left if name.endswith(".partial")][1:], (
            left
        )


test_a_command_line_is_carried_out_or_refused, test_a_command_line_is_carried_out_or_refused_at_length = (
    fuzzed(check_line, 1400, LINES)
)
test_a_figure_is_drawn_or_refused, test_a_figure_is_drawn_or_refused_at_length = fuzzed(
    check_line, 100, FIGURES
)
