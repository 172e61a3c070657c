"""Kernels that another process compiles."""

import os
import subprocess
import sys

import numpy as np
import pytest

from fastmoments.kernels import ahead

SCAN = """
import fastmoments as fm
from fastmoments.kernels import ahead, blocks
{before}
fm.scan(fm.bn_res(2), fm.load_images("synthetic:8x8x3", 4), fm.InfiniteWidth(dtype="{dtype}"))
for name in ("normalise", "multiply", "combine", "convolve"):
    stats = getattr(blocks, name).stats
    print(sum(stats.cache_hits.values()), sum(stats.cache_misses.values()), end=" ")
"""


def hits_and_misses(folder, before="", dtype="float64"):
    """Of normalise, multiply, combine and convolve, in a process with a cache of its own."""
    found = subprocess.run(
        [sys.executable, "-c", SCAN.format(before=before, dtype=dtype)],
        env=os.environ | {"NUMBA_CACHE_DIR": str(folder), "NUMBA_NUM_THREADS": "2"},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert not found.stderr
    numbers = list(map(int, found.stdout.split()))
    return numbers[::2], numbers[1::2]


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_a_first_scan_finds_what_was_compiled_beside_it(tmp_path, dtype):
    """The types of the examples are those of the maps: nothing is compiled twice."""
    hits, misses = hits_and_misses(tmp_path, dtype=dtype)
    # Noise is of double precision, so that single precision merges in both.
    assert hits[:3] == [1, 1, 1] and misses[:2] == [0, 0]
    assert misses[2] == (dtype == "float32") and misses[3] >= 1
    hits, misses = hits_and_misses(tmp_path, dtype=dtype)
    assert not any(misses)


@pytest.mark.parametrize("before", ["ahead.sys.executable = '/nowhere/python'", "ahead.CACHE = False"])
def test_without_another_process_a_scan_compiles_itself(tmp_path, before):
    hits, misses = hits_and_misses(tmp_path, before)
    assert not any(hits) and all(misses)


def test_waiting_for_what_nobody_compiles_is_over_at_once():
    ahead.wait_for("nothing")


def test_what_is_cached_is_not_compiled_again(monkeypatch):
    started = []
    monkeypatch.setattr(ahead.subprocess, "Popen", lambda *args, **options: started.append(args))
    monkeypatch.setattr(ahead, "_cached", lambda name: True)
    ahead.compile_ahead(["normalise"], np.dtype(np.float64))
    assert not started
