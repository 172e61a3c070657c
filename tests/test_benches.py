"""Every bench, and every script of the docs, runs at its smallest size, so that none rots unseen."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[1]

SMALL = ["--images", "synthetic:4x4x1"]

#: Arguments of `python -m bench.NAME`, of those that take a moment.
QUICK = {
    "accuracy": [*SMALL, "--depth", "2", "--count", "2"],
    "batch_noise": ["--images", "synthetic:4x4x1", "--depth", "2", "--width", "16", "--nets", "3"],
    "bivariate": ["--units", "70", "--repeats", "1"],
    "finite_error": [
        *("--settings", "32x6", "--depth", "2", "--every", "1", "--nets", "3", "--kernels", "1"),
        *("--families", "vanilla,bn_ff"),
    ],
    "finite_width": [
        *("--settings", "32x6", "--depth", "2", "--every", "1", "--nets", "3", "--detail"),
        *("--families", "vanilla,residual,bn_ff"),
    ],
    "given": [
        *("--depth", "2", "--width", "6", "--side", "4", "--seeds", "1", "--samples", "400"),
        *("--inputs", "10000", "--perceptron", "16", "--layers", "2"),
    ],
    "layer": ["--sizes", "98", "--repeats", "1"],
    "post_activation": [
        *("--depth", "2", "--points", "6", "--channels", "64", "--populations", "2"),
        *("--images", "2", "--side", "2"),
    ],
    "precision": [*SMALL, "--depth", "2", "--count", "2"],
    "strided": [
        *("--images", "synthetic:6x8x1", "--side", "8", "--stages", "2", "--counts", "2"),
        *("--nets", "8", "--widths", "16,32"),
    ],
    "zoo": ["--nets", "mlp", "--images", "synthetic:4x4x3", "--counts", "2"],
}  # fmt: skip

#: The same of those that start many processes, compile with an empty cache, or have sizes of their own.
LONG = {
    "compare": ["--repeats", "0"],
    "convolution": ["--repeats", "1"],
    "finite_cost": ["--images", "synthetic:4x4x1", "--points", "6", "--depth", "2", "--width", "32"],
    "large": [*SMALL, "--count", "2", "--families", "vanilla,bn_ff", "--doubled", "--folder", "@kept"],
    "startup": ["--repeats", "1", "--scans", "1"],
    "sweep": ["--scans", "40", "--depth", "2", "--repeats", "1"],
}

#: Of those that compare with another program, what is ours, with a peer that answers at once.
WITH_A_PEER = {
    "peers": """
import numpy as np
from bench.peers import measured, ours
class Peer:
    def seconds(self, *task): return 1.0
images = np.random.default_rng(0).standard_normal((1, 4, 4, 1))
for net in ("vanilla", "residual"):
    row = measured(Peer(), net, images, (2, 4), 1)
    assert row["points"] == 16 and ours(net, 2, images)[1].signal.points == 16
""",
    "simulation": """
import tempfile
from argparse import Namespace
from pathlib import Path
import numpy as np
import fastmoments as fm
from bench.simulation import QUANTITIES, measured
class Peer:
    def ask(self, *, images, nets, **task):
        assert np.load(images).shape == (2, 4, 4, 1) and abs(np.load(images).mean()) < 1e-12
        return {"seconds": [1.0] * nets, "log_chi": [0.1, 0.2][:nets], "r_eff": [2.0, 3.0][:nets]}
images, given = fm.load_images("synthetic:4x4x1", 2), Namespace(depth=2, every=1, nets=4, repeats=2)
for family in ("vanilla", "bn_ff", "bn_res"):
    with tempfile.TemporaryDirectory() as folder:
        rows = measured(Peer(), family, images, 16, given, Path(folder))
    assert [row["quantity"] for row in rows] == list(QUANTITIES)
    assert all(row["nets"] == 4 and np.isfinite(row["own engine"]) for row in rows)
""",
}  # fmt: skip


def ran(*arguments, code=0):
    """What a child process prints that starts in the checkout, as CONTRIBUTING says.

    The command line that it starts itself is the installed one.
    """
    done = subprocess.run(
        [sys.executable, *map(str, arguments)], cwd=ROOT, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def bench(name, arguments, folder):
    """Run a bench whose files, named with an @, stand in a folder; its results."""
    arguments = [str(folder / each[1:]) if each.startswith("@") else each for each in arguments]
    ran("-m", f"bench.{name}", *arguments, "--json", folder / "results.json")
    return json.loads((folder / "results.json").read_text())


def test_every_bench_is_run_here():
    names = {path.stem for path in (ROOT / "bench").glob("*.py")}
    shared = {"__init__", "common", "peer", "peer_torch", "peer_neural_tangents"}
    assert names == {*QUICK, *LONG, *WITH_A_PEER, "golden", "recorded", *shared}


@pytest.mark.parametrize("name", sorted({*QUICK, *LONG, *WITH_A_PEER, "golden", "recorded"}))
def test_every_bench_is_listed(name):
    assert f"python -m bench.{name} " in (ROOT / "CONTRIBUTING.md").read_text()
    assert f"| `{name}` |" in (ROOT / "bench" / "README.md").read_text()


@pytest.mark.parametrize("name", [*LONG, *WITH_A_PEER])
def test_a_bench_that_is_not_always_run_says_what_it_does(name):
    assert "usage:" in ran("-m", f"bench.{name}", "--help")


@pytest.mark.parametrize("name", QUICK)
def test_a_quick_bench_runs(name, tmp_path):
    results = bench(name, QUICK[name], tmp_path)
    assert results.pop("machine") and all(results.values())


@pytest.mark.slow
@pytest.mark.parametrize("name", LONG)
def test_a_long_bench_runs(name, tmp_path):
    results = bench(name, LONG[name], tmp_path)
    assert results.pop("machine") and all(results.values())


@pytest.mark.parametrize("name", WITH_A_PEER)
def test_our_side_of_a_comparison_runs(name):
    ran("-c", WITH_A_PEER[name])


def test_recordings_are_compared(tmp_path):
    """With images that are none of CIFAR-10."""
    images = np.random.default_rng(0).integers(0, 256, (64, 8, 8, 3), dtype=np.uint8)
    np.savez(tmp_path / "images.npz", images=images)
    arguments = ["vanilla_symmetric", "--batches", "1", "--images", "2", "--cifar", "@images.npz"]
    found = bench("recorded", arguments, tmp_path)["summary"]
    assert "chi_loc3" in {row["moment"] for row in found}
    assert "no CIFAR-10 images" in ran("-m", "bench.recorded", "--cifar", "missing.npz", code=1)


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="golden compares with a commit; this is no checkout")
def test_golden_finds_a_commit_equal_to_itself():
    assert "with other numbers" in ran("-m", "bench.golden", "HEAD", "--only", "weighted, sampled")


@pytest.mark.slow
@pytest.mark.parametrize("script", ["histogram", "my_resnet", "residual_scale"])
def test_a_script_of_the_docs_runs(script, tmp_path):
    scripts = {path.stem for path in (ROOT / "docs").glob("*.py")} - {"conf", "figures"}  # of the site
    assert scripts == {"histogram", "my_resnet", "residual_scale"}
    if script == "my_resnet":
        pytest.importorskip("torch")
    small = {"histogram": ["synthetic:4x2x1"], "my_resnet": ["--units", "2"]}
    ran(ROOT / "docs" / f"{script}.py", *small.get(script, []), "--plot", tmp_path / "figure.png")
    assert (tmp_path / "figure.png").stat().st_size > 1000


@pytest.mark.slow
@pytest.mark.parametrize("projected", [[], ["--projected"]])
def test_what_the_copula_leaves_out_is_claimed_in_nine_cases_of_ten(projected, tmp_path):
    """Fully connected and convolutional, with and without batch norm, but for errors of drawing."""
    sizes = ["--depth", "12", "--side", "4", "--images", "2", "--channels", "20000", "--populations", "6"]
    rows = bench("post_activation", [*sizes, *projected], tmp_path)["post_activation"]
    covered = [abs(row["off"]) <= np.hypot(row["claimed"], 2.0 * row["error"]) for row in rows]
    assert len(covered) == 80 and np.mean(covered) >= 0.9, [
        row for row, ok in zip(rows, covered, strict=True) if not ok
    ]
    assert max(row["claimed"] for row in rows if row["moment"] == "chi") < 0.05


@pytest.mark.slow
def test_nets_in_stages_agree_with_simulations(tmp_path):
    """Images of 32 x 32, three stages; widths large enough that the means lie on a line in 1 / N."""
    rows = bench("strided", ["--counts", "4", "--widths", "64,128", "--nets", "12"], tmp_path)["rows"]
    z = {(row["net"], row["stage"], row["moment"]): row["z"] for row in rows}
    assert len(z) == 3 * 3 * 4
    assert max(map(abs, z.values())) < 4.0 and np.mean(np.square(list(z.values()))) < 2.5, z
