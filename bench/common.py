"""What the benchmarks share: interleaved timing, child processes, tables and JSON."""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import numpy as np

#: The console script that was installed beside this interpreter.
FASTMOMENTS = Path(sys.executable).with_name("fastmoments")


def machine() -> dict:
    """Tell what the figures depend on: processor, cores, memory and versions."""
    model = platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [line for line in info.read_text().splitlines() if line.startswith("model name")]
        model = names[0].partition(":")[2].strip() if names else model
    facts = {"cpu": model, "cores": os.cpu_count(), "system": platform.system()}
    if hasattr(os, "sysconf"):
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        facts["memory_gb"] = round(memory / 2**30)
    facts["python"] = platform.python_version()
    return facts | {name: version(name) for name in ("numpy", "scipy", "numba", "fastmoments")}


def interleaved(tasks: dict[str, Callable], repeats: int) -> dict[str, np.ndarray]:
    """Run tasks A, B, A, B, ... and collect what they return, so that disturbances meet all of them alike.

    The first round warms up and is left out.
    """
    found: dict[str, list] = {name: [] for name in tasks}
    for turn in range(repeats + 1):
        for name, task in tasks.items():
            value = task()
            if turn:
                found[name].append(value)
    return {name: np.array(values) for name, values in found.items()}


def timed(task: Callable, prepare: Callable = tuple) -> Callable[[], tuple[float, float]]:
    """Make a function that runs `task` on what `prepare` returns and tells its wall and processor seconds."""

    def run() -> tuple[float, float]:
        ready = prepare()
        start = time.perf_counter(), time.process_time()
        task(*ready)
        return time.perf_counter() - start[0], time.process_time() - start[1]

    return run


def quartiles(values: np.ndarray) -> list[float]:
    """Lower quartile, median and upper quartile."""
    return np.quantile(values, [0.25, 0.5, 0.75]).tolist()


class Finished(NamedTuple):
    """What a child process took (seconds, of the clock and of processors; peak resident bytes) and said."""

    seconds: float
    busy: float
    peak: int
    said: str


def child(command: list, **environment: str) -> Finished:
    """Run a command to its end.

    Raises
    ------
    RuntimeError
        With its last words, if the command failed.
    """
    start = time.perf_counter()
    process = subprocess.Popen(
        [str(part) for part in command],
        # PYTHONSAFEPATH: of the package that is installed, not of the folder of its name in the checkout.
        env=os.environ | {"PYTHONSAFEPATH": "1"} | environment,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    said = process.stdout.read()
    process.stdout.close()
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{' '.join(map(str, command))} failed:\n{said[-2000:]}")
    unit = 1 if platform.system() == "Darwin" else 1024
    return Finished(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * unit, said)


def arguments(description: str, **options) -> argparse.ArgumentParser:
    """Parser with the options that all benchmarks have; `options` are further ones by name: default."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--json", metavar="FILE", help="write the results and the machine's facts there")
    for name, default in options.items():
        parser.add_argument(f"--{name}", type=type(default), default=default, help=f"default {default}")
    return parser


def table(rows: list[dict], columns: dict[str, str]) -> None:
    """Print rows; `columns` maps keys to formats, an empty one for text. Quartiles: median (lower..upper)."""
    lines = [[_cell(row.get(key), form) for key, form in columns.items()] for row in rows]
    widths = [max(map(len, column)) for column in zip(columns, *lines, strict=True)]
    for line in [list(columns), *lines]:
        cells = zip(line, widths, columns.values(), strict=True)
        print("  ".join(f"{cell:{'>' if form else '<'}{width}}" for cell, width, form in cells).rstrip())
    print(flush=True)


def _cell(value, form: str) -> str:
    if value is None:
        return "-"
    if isinstance(value, list):  # quartiles
        low, median, high = (format(part, form) for part in value)
        return f"{median} ({low}..{high})"
    return str(value) if isinstance(value, str) else format(value, form)


def deliver(path: str | None, **results) -> None:
    """Write results with the machine's facts as JSON, if a path was given."""
    if path is not None:
        Path(path).write_text(json.dumps({"machine": machine(), **results}, indent=1) + "\n")
