"""Kernels compiled ahead, by a process beside the one that needs them.

The first scan on a machine compiles its kernels one after the other, which takes most of its time. Whoever
knows which kernels will follow the first has them compiled meanwhile (`compile_ahead`): another process puts
them into the cache, and `threads.spread` waits for it before it runs one of them. Where that is not possible,
the kernel is compiled when it is needed, as ever.
"""

from __future__ import annotations

import atexit
import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import numba
import numpy as np

from .jit import CACHE

#: Processes under way, by the name of the kernel.
_under_way: dict[str, subprocess.Popen] = {}


def _examples(real: np.dtype) -> dict[str, tuple]:
    """Arguments of kernels behind (worker, workers), empty but of the types that the maps give them."""
    from .blocks import POLYNOMIALS

    index = np.empty(0, np.int64)
    line, table, block = (np.empty((0,) * sides, real) for sides in (1, 2, 3))
    noise = np.empty((0, 0, 0))
    activation = (*POLYNOMIALS[real], real.type(1.0), real.type(0.0))
    return {
        "normalise": (
            *activation, block, index, index, line, table, line, table, table, table, table, line, 0, True,
            noise, noise,
        ),
        "multiply": (block, index, index, block, np.empty((0, 0, 0, 0), real)),
        "combine": (block, 1.0, block, 1.0),
    }  # fmt: skip


def _cached(name: str) -> bool:
    """Whether some version of the kernel is in the cache."""
    from . import blocks

    folder = Path(getattr(blocks, name).stats.cache_path)
    return any(folder.glob(f"blocks.{name}-*.nbi"))


def compile_ahead(names: Iterable[str], dtype: np.dtype) -> None:
    """Have kernels compiled that are not in the cache, for blocks of a precision; does not wait."""
    interpreted = bool(numba.config.DISABLE_JIT)  # type: ignore[attr-defined]  # set when numba is loaded
    if not CACHE or interpreted or getattr(sys, "frozen", False) or not sys.executable:
        return
    missing = [name for name in names if name not in _under_way and not _cached(name)]
    if not missing:
        return
    command = [sys.executable, "-m", __name__, str(dtype), *missing]
    try:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
    except OSError:
        return
    _under_way.update(dict.fromkeys(missing, process))


def wait_for(name: str) -> None:
    """Until a kernel that is compiled elsewhere is in the cache."""
    process = _under_way.pop(name, None)
    if process is not None:
        process.wait()


@atexit.register
def _end() -> None:
    """Of no use any more where nobody waited."""
    for process in set(_under_way.values()):
        process.terminate()
        process.wait()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_under_way.clear)

if __name__ == "__main__":
    from fastmoments.kernels import blocks

    real, *wanted = sys.argv[1:]
    examples = _examples(np.dtype(real))
    for kernel in wanted:
        getattr(blocks, kernel)(0, 1, *examples[kernel])
