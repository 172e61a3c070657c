"""`fastmoments plot`, and the figures of the other commands."""

from importlib.util import find_spec

import pytest
from command_line import SMALL, needs_matplotlib, run


@needs_matplotlib
def test_figures(tmp_path):
    single, comparison = tmp_path / "scan.npz", tmp_path / "compare.json"
    result = run("scan", "vanilla", *SMALL, "--output", single, "--plot", tmp_path / "a.png")
    assert f"The figure is in {tmp_path / 'a.png'}." in result.stderr
    run("compare", *SMALL, "--output", comparison, "--plot", tmp_path / "b.svg", "--quiet")
    run("plot", single, "--output", tmp_path / "c.png", "--quiet")
    run("plot", comparison, "--output", tmp_path / "d.png", "--quiet")
    for kind, name in (("report", "e.png"), ("propagation", "f.png")):
        run("plot", single, "--output", tmp_path / name, "--kind", kind, "--quiet")
        refused = run("plot", comparison, "--output", tmp_path / "g.png", "--kind", kind, code=2)
        assert f"--kind {kind} draws one scan, and this is a comparison of 4." in refused.stderr
        assert not (tmp_path / "g.png").exists()
    run("scan", "vanilla", *SMALL, "--report", "--plot", tmp_path / "h.png", "--quiet")
    assert (tmp_path / "h.png").read_bytes() == (tmp_path / "e.png").read_bytes()
    for name in ("a.png", "c.png", "d.png", "e.png", "f.png"):
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")
    assert b"<svg" in (tmp_path / "b.svg").read_bytes()


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{}",
        "[1]",
        '{"schema": "fastmoments.compare/1", "scans": [{}]}',
        "\x00",
        "[" * 100_000,
        "NaN",
        '{"schema": "fastmoments.compare/1"}',
        '{"schema": "fastmoments.compare/1", "scans": []}',
        '{"schema": ["fastmoments.compare/1"]}',
        '{"schema": "fastmoments.scan/2", "depth": 1e999}',
    ],
    ids=range(11),
)
def test_plot_of_a_damaged_file(tmp_path, content):
    if find_spec("matplotlib") is None:
        pytest.skip("figures need matplotlib")
    path = tmp_path / "x.json"
    path.write_text(content)
    assert "is not a scan saved by" in run("plot", path, "--output", tmp_path / "x.png", code=2).stderr
