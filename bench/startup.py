"""How soon fastmoments answers: imports, help, and the first scan: `python -m bench.startup`.

Bounds: `import fastmoments` 0.3 s, `fastmoments --help` 0.2 s, the first scan with an empty cache of
compiled kernels 8 s.
"""

from __future__ import annotations

import sys
import tempfile

import numpy as np

from fastmoments.nets.families import FAMILIES

from .common import FASTMOMENTS, arguments, child, deliver, interleaved, quartiles, table

HEAVY = ("numpy", "scipy", "numba", "llvmlite", "click", "matplotlib", "pandas")
SAY_HEAVY = f"import sys; print(*[name for name in {HEAVY!r} if name in sys.modules])"

#: Seconds of two scans by the clock, and the processor seconds of the first.
FIRST_SCAN = """
import time
import fastmoments as fm
images, net = fm.load_images("synthetic:16x16", 4), fm.{family}(3)
times = []
for _ in range(2):
    start = time.perf_counter(), time.process_time()
    fm.scan(net, images)
    times += [time.perf_counter() - start[0], time.process_time() - start[1]]
print(times[0], times[2], times[1])
"""


def starts(repeats: int) -> list[dict]:
    """Time fresh processes against an interpreter that does nothing, by the clock and busy."""
    python = sys.executable
    commands = {"python": [python, "-c", "pass"], "import": [python, "-c", "import fastmoments"]}
    loaded = {"import": f"import fastmoments; {SAY_HEAVY}"}
    if FASTMOMENTS.exists():
        commands["--help"] = [FASTMOMENTS, "--help"]
        loaded["--help"] = (
            f"from fastmoments.cli import main; main(['--help'], standalone_mode=False); {SAY_HEAVY}"
        )
    else:
        print("The command line is not installed beside this interpreter: left out.\n", file=sys.stderr)
    tasks = {name: lambda command=command: child(command)[:2] for name, command in commands.items()}
    seconds = interleaved(tasks, repeats)
    rows = []
    for name, values in seconds.items():
        above = np.median(values - seconds["python"], axis=0).tolist()
        row = {
            "start": name,
            "seconds": quartiles(values[:, 0]),
            "best": values[:, 0].min(),
            "above": above[0],
        }
        row |= {"busy": quartiles(values[:, 1]), "busy above": above[1]}
        if name in loaded:
            row["loads"] = child([python, "-c", loaded[name]]).said.splitlines()[-1]
        rows.append(row)
    return rows


def first_scans(repeats: int) -> list[dict]:
    """First and second scan of a process, with an empty cache of kernels and with a full one."""
    rows = []
    for family in FAMILIES:
        code = FIRST_SCAN.format(family=family)
        for _ in range(repeats):
            with tempfile.TemporaryDirectory() as cache:
                for state in ("empty", "full"):
                    said = child([sys.executable, "-c", code], NUMBA_CACHE_DIR=cache).said
                    times = [float(part) for part in said.split()[-3:]]
                    rows.append({"family": family, "cache": state, "times": times})
    return [
        {"family": family, "cache": state}
        | dict(
            zip(("first scan", "second scan", "busy in the first"), np.median(found, 0).tolist(), strict=True)
        )
        for family in FAMILIES
        for state in ("empty", "full")
        for found in [[r["times"] for r in rows if (r["family"], r["cache"]) == (family, state)]]
    ]


def main() -> None:
    """Time the starts, then the first scans."""
    parser = arguments(__doc__, repeats=11, scans=1)
    given = parser.parse_args()
    started = starts(given.repeats)
    columns = dict.fromkeys(("seconds", "best", "above", "busy", "busy above"), ".3f")
    table(started, {"start": "", **columns, "loads": ""})
    scanned = first_scans(given.scans)
    columns = {"first scan": ".2f", "second scan": ".3f", "busy in the first": ".2f"}
    table(scanned, {"family": "", "cache": "", **columns})
    deliver(given.json, starts=started, scans=scanned)


if __name__ == "__main__":
    main()
