"""What a second process brings to a sweep of small scans: `python -m bench.sweep`.

Bound: 200 scans on two processes at 1.7 times the speed of one. Every run is a process of its own, as on
the command line, and its start counts; "scans" leaves out what comes before the first of them. "halves" are
two sweeps of one process at the same time: more than their speed this machine does not have at the moment.
"""

from __future__ import annotations

import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from .common import arguments, child, deliver, interleaved, quartiles, table

CODE = """
import time
import fastmoments as fm

if __name__ == "__main__":
    start = time.perf_counter()
    begun = []
    grid = dict(
        family=["residual", "bn_ff"], depth=[{depth}, {depth} + 10], source="synthetic:8x8",
        epsilon=[1e-3, 3e-3, 1e-2, 3e-2, 1e-1], seed=range({first}, {first} + {scans} // 20),
    )
    progress = lambda done, number, row: begun or begun.append(time.perf_counter())
    found = fm.sweep(grid, processes={processes}, output={output!r}, progress=progress)
    end = time.perf_counter()
    assert len(found) == {scans} and not any(found["error"])
    print(end - start, end - begun[0])
"""


def run(processes: int, scans: int, depth: int, output, first: int = 0) -> tuple[float, float, float]:
    """Run one sweep; its seconds, those from the first scan on, and those that processors were busy."""
    code = CODE.format(processes=processes, scans=scans, depth=depth, output=str(output), first=first)
    finished = child([sys.executable, "-c", code])
    seconds, scanning = map(float, finished.said.split()[-2:])
    return seconds, scanning, finished.busy


def halves(scans: int, depth: int, folder: Path) -> tuple[float, float, float]:
    """Run two sweeps of half the scans at the same time: what two processes can bring on this machine."""
    with ThreadPoolExecutor(2) as pool:
        each = [
            pool.submit(run, 1, scans // 2, depth, folder / f"half{part}.csv", part * scans // 40)
            for part in (0, 1)
        ]
        seconds = np.array([future.result() for future in each])
    return seconds[:, 0].max(), seconds[:, 1].max(), seconds[:, 2].sum()


def main() -> None:
    """Run the same sweep on one process and on two, in turns, and compare speed and bytes."""
    parser = arguments(__doc__, repeats=5, scans=200, depth=50)
    given = parser.parse_args()
    scans = given.scans // 40 * 40
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        tasks = {
            "1": lambda: run(1, scans, given.depth, folder / "1.csv"),
            "2": lambda: run(2, scans, given.depth, folder / "2.csv"),
            "halves": lambda: halves(scans, given.depth, folder),
        }
        seconds = interleaved(tasks, given.repeats)
        same = (folder / "1.csv").read_bytes() == (folder / "2.csv").read_bytes()
    rows = []
    for name, values in seconds.items():
        columns = zip(("seconds", "scans", "busy"), values.T, strict=True)
        row = {"processes": name, **{column: quartiles(found) for column, found in columns}}
        row["speed"] = quartiles(seconds["1"][:, 0] / values[:, 0])
        row["speed of scans"] = quartiles(seconds["1"][:, 1] / values[:, 1])
        rows.append(row)
    table(rows, {"processes": "", **dict.fromkeys(list(rows[0])[1:], ".2f")})
    print("The tables have the same bytes." if same else "THE TABLES DIFFER.")
    deliver(given.json, rows=rows, same=same)


if __name__ == "__main__":
    main()
