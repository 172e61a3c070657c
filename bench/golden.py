"""The same numbers to the last bit as another commit: `python -m bench.golden REVISION`.

Every case is a `fastmoments scan`, run by the package of REVISION and by that of the checkout; the curves of
both must be equal bit for bit. Curves that only one of them has are named. Exit code 1 where numbers differ.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import tarfile
import tempfile
from io import BytesIO
from pathlib import Path

from .common import child

CHECKOUT = Path(__file__).resolve().parents[1]

#: Nets beside the families, as TOML.
SPECS = {
    "stages": """
stem = [{ type = "Conv", stride = 2, gain = 1.0 }]
layers = [
    { type = "Conv", bias_variance = 0.1 }, { type = "ReLU" },
    { type = "Residual", branch = [
        { type = "ReLU" }, { type = "Conv", stride = 2 }], shortcut = [
        { type = "Conv", kernel_size = 1, stride = 2, gain = 1.0 }] },
    { repeat = 3, layers = [{ type = "Residual", scale = 0.5, branch = [
        { type = "ReLU" }, { type = "Conv", dilation = 2 }, { type = "ReLU" }, { type = "Conv" }] }] },
]
""",
    "weighted": """
layers = [{ repeat = 4, layers = [
    { type = "Conv", tap_variances = [[0.5, 1.0, 0.5], [1.0, 4.0, 1.0], [0.5, 1.0, 0.5]] },
    { type = "BatchNorm", epsilon = 0.01 }, { type = "ReLU" }] }]
""",
}

_SMALL = "--images synthetic:12x12x3 --count 6"
_FLAT = "--images synthetic:6x6x3 --count 24 --kernel-size 1"
_FINITE = "--method finite --width 96"
_SAMPLED = "--method sampled --width 48 --nets 3"

#: Arguments of `fastmoments scan` by the name of the case.
CASES = {
    **{
        f"{family}, {name}": f"{family} --depth 12 --reff-at all {options}"
        for family in ("vanilla", "residual", "bn_ff", "bn_res")
        for name, options in {
            "infinite": _SMALL,
            "infinite, fully connected": _FLAT,
            "sampled": f"{_SMALL} {_SAMPLED}",
            "sampled, fully connected": f"{_FLAT} {_SAMPLED}",
            "finite, fully connected": f"{_FLAT} {_FINITE}",
        }.items()
    },
    **{
        f"{family}, finite": f"{family} --depth 12 {_SMALL} {_FINITE}"
        for family in ("vanilla", "bn_ff", "bn_res")
    },
    "bn_ff, finite, batches": f"bn_ff --depth 8 {_FLAT} {_FINITE} --batch 12 --batches 3",
    "bn_ff, leading eigenpairs": "bn_ff --depth 8 --images synthetic:16x16x3 --count 12 --reff-at all",
    "bn_res, leading eigenpairs": "bn_res --depth 8 --images synthetic:16x16x3 --count 12 --rank 24",
    "bn_res, float32": f"bn_res --depth 8 {_SMALL} --dtype float32",
    "vanilla, zeros": f"vanilla --depth 8 {_SMALL} --padding zeros --reff-at all",
    "bn_res, symmetric": f"bn_res --depth 8 {_SMALL} --padding symmetric --res-depth 1",
    "residual, 7 taps": f"residual --depth 6 {_SMALL} --kernel-size 5 --scale 0.5 --reff-at merge",
    "stages": f"--spec stages.toml {_SMALL}",
    "stages, sampled": f"--spec stages.toml {_SMALL} {_SAMPLED}",
    "weighted": f"--spec weighted.toml {_SMALL} --reff-at norm",
    "weighted, sampled": f"--spec weighted.toml {_SMALL} {_SAMPLED}",
}


def package(folder: Path, revision: str | None) -> Path:
    """Lay out an importable package under `folder`: of a revision, or of the checkout as it stands."""
    tree = CHECKOUT
    if revision is not None:
        tree = folder / "tree"
        archive = subprocess.run(
            ["git", "archive", revision, "fastmoments", "cli"], cwd=CHECKOUT, check=True, capture_output=True
        ).stdout
        with tarfile.open(fileobj=BytesIO(archive)) as files:
            files.extractall(tree, filter="data")
    target = folder / "site" / "fastmoments"
    target.mkdir(parents=True)
    for part in (tree / "fastmoments").iterdir():
        (target / part.name).symlink_to(part)
    (target / "cli").symlink_to(tree / "cli")
    return folder / "site"


def curves(site: Path, cache: Path, case: str) -> dict[tuple[str, str, str], list]:
    """The curves of one case by (moment, station, "mean" or "sigma")."""
    with tempfile.TemporaryDirectory() as folder:
        for name, text in SPECS.items():
            Path(folder, f"{name}.toml").write_text(text)
        words = [str(Path(folder, w)) if w.endswith(".toml") else w for w in CASES[case].split()]
        output = Path(folder, "scan.json")
        child(
            [sys.executable, "-m", "fastmoments.cli", "scan", *words, "--quiet", "--output", output],
            PYTHONPATH=str(site), NUMBA_CACHE_DIR=str(cache),
        )  # fmt: skip
        scan = json.loads(output.read_text())
    return {
        (moment, loc, part): values
        for moment, at in scan["moments"].items()
        for loc, curve in at.items()
        for part, values in curve.items()
        if values is not None
    }


def differences(old: dict, new: dict) -> tuple[list[str], list[str]]:
    """What differs in number, and the stations of curves that only one of them has, in words."""
    changed, apart = [], []
    for key in {**old, **new}:
        if key not in old or key not in new:
            apart.append(f"curves at {key[1]} only {'after' if key in new else 'before'}")
        elif old[key] != new[key]:
            changed.append(f"{' '.join(key)}: relative {_largest(old[key], new[key]):.1e}")
    return changed, list(dict.fromkeys(apart))


def _largest(old: list, new: list) -> float:
    if len(old) != len(new) or any((a is None) != (b is None) for a, b in zip(old, new, strict=True)):
        return math.nan
    found = zip(old, new, strict=True)
    return max(abs(a - b) / max(abs(a), 1e-300) for a, b in found if a is not None)


def main() -> None:
    """Compare, case by case."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("revision", help="the commit to compare the checkout with")
    parser.add_argument("--only", default="", help="cases whose name has this in it")
    given = parser.parse_args()
    wrong = 0
    with tempfile.TemporaryDirectory() as folder:
        sites = {}
        for name, revision in (("before", given.revision), ("after", None)):
            sites[name] = package(Path(folder, name), revision)
        for case in (case for case in CASES if given.only in case):
            old, new = (curves(site, Path(folder, name, "numba"), case) for name, site in sites.items())
            changed, apart = differences(old, new)
            wrong += bool(changed)
            print(f"{case}: {'; '.join([*(changed or ['the same']), *apart])}", flush=True)
    print(f"{wrong} with other numbers (threads: {os.cpu_count()})")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
