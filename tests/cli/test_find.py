"""`fastmoments find`."""

import csv
import io
import json

import pytest
from command_line import needs_matplotlib, run

import fastmoments as fm

SIZES = ["--images", "synthetic:4x4", "--count", 4, "--threads", 1]
NET = ["--kernel-size", 1, "--depth", 12, *SIZES]
SEARCH = ["find", "bn_res", "--set", "scale=0.01:1", "--so-that", "chi=1.5", *NET]


def test_a_parameter_of_a_family():
    result = run(*SEARCH)
    images = fm.load_images("synthetic:4x4", 4)
    wanted = fm.find(lambda scale: fm.bn_res(12, 1, scale=scale), images, ("chi", 1.5), (0.01, 1.0))
    first, _, head, _, *rows = result.stdout.splitlines()
    assert first == f"bn_res: chi = 1.5 for scale = {wanted.value:.8g}"
    assert head.split() == ["scale", "chi"]
    assert [float(row.split()[0]) for row in rows] == [float(f"{v:.8g}") for v, _ in sorted(wanted.trace)]
    assert result.stderr.splitlines()[0] == f"bn_res, scale = 0.01: chi = {wanted.trace[0][1]:.4g}"
    assert run(*SEARCH[:1], *SEARCH[2:], "--quiet").stdout == result.stdout  # bn_res if nothing is said


def test_json_and_csv(tmp_path):
    values = json.loads(run(*SEARCH, "--format", "json", "--quiet").stdout)
    assert (values["schema"], values["parameter"], values["curve"]) == ("fastmoments.find/1", "scale", "chi")
    assert values["reached"] == pytest.approx(1.5, rel=1e-5)
    assert values["scan"]["depth"][-1] == 12
    run(*SEARCH, "--output", tmp_path / "x.csv", "--quiet")
    rows = list(csv.DictReader(io.StringIO((tmp_path / "x.csv").read_text())))
    assert [[float(row["scale"]), float(row["chi"])] for row in rows] == values["trace"]


def test_depth_is_whole_and_a_path_is_of_any_net(tmp_path):
    search = ["--set", "depth=2:40", "--so-that", "chi=20", "--kernel-size", 1, *SIZES, "--quiet"]
    assert "chi = 19.68 for depth = 4\n" in run("find", "bn_ff", *search).stdout
    (tmp_path / "net.toml").write_text(fm.bn_res(12, 1).to_toml())
    search = ["--set", "layers.*.scale=0.01:1", "--so-that", "chi=1.5", *SIZES, "--quiet"]
    found = run("find", "--spec", tmp_path / "net.toml", *search).stdout.splitlines()[0]
    assert found.replace("layers.*.", "") == run(*SEARCH, "--quiet").stdout.splitlines()[0]


@needs_matplotlib
def test_figure(tmp_path):
    result = run(*SEARCH, "--plot", tmp_path / "x.png")
    assert (tmp_path / "x.png").read_bytes().startswith(b"\x89PNG")
    assert f"The figure is in {tmp_path / 'x.png'}." in result.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], ("Missing option '--set'",)),
        (["--set", "scale=0:1"], ("Missing option '--so-that'",)),
        (["--set", "scale", "--so-that", "chi=10"], ("'scale' must be PATH=A:B",)),
        (["--set", "scale=0:x", "--so-that", "chi=10"], ("'scale=0:x' must be PATH=A:B",)),
        (["--set", "scale=0:1", "--so-that", "chi"], ("'chi' must be CURVE=VALUE, such as chi=10",)),
        (["--set", "scale=0:1", "--so-that", "ch=1"], ("the curve of so_that must be one of", "'ch'")),
        (["--set", "skale=0:1", "--so-that", "chi=10"], ("--set skale: give the path", "or one of depth,")),
        (["--set", "layers.0.skale=0:1", "--so-that", "chi=10"], ("did you mean 'scale'?",)),
        (["--set", "scale=0:1", "--so-that", "chi=10", "--scale", 1], ("scale is given twice",)),
        (["mlp", "--set", "scale=0:1", "--so-that", "chi=10"], ("such as layers.0.gain.",)),
        (["--set", "scale=0.1:1", "--so-that", "chi=1e9", "--depth", 2], ("chi is below 1e+09 at",)),
    ],
)  # fmt: skip
def test_wrong_command_lines(arguments, words):
    result = run("find", *arguments, *SIZES, "--quiet", code=2)
    *_, sentence = result.stderr.splitlines()
    assert sentence.startswith("Error: ") and all(word in sentence for word in words), sentence
    assert result.stdout == ""
