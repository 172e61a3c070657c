"""The default `fastmoments compare`, with an empty and a full cache of kernels: `python -m bench.compare`.

Bounds: 60 s with an empty cache, 30 s with a full one, 1 GB of memory.
"""

from __future__ import annotations

import sys
import tempfile

from .common import FASTMOMENTS, arguments, child, deliver, table


def main() -> None:
    """Run it once with an empty cache and then with the cache that left behind."""
    parser = arguments(__doc__, repeats=3)
    given = parser.parse_args()
    if not FASTMOMENTS.exists():
        sys.exit("The command line is not installed beside this interpreter.")
    rows = []
    with tempfile.TemporaryDirectory() as cache:
        for turn in range(given.repeats + 1):
            run = child([FASTMOMENTS, "compare", "--quiet"], NUMBA_CACHE_DIR=cache)
            rows.append(
                {
                    "cache": "full" if turn else "empty",
                    "seconds": run.seconds, "busy": run.busy, "peak GB": run.peak / 1e9,
                }
            )  # fmt: skip
    table(rows, {"cache": "", "seconds": ".1f", "busy": ".1f", "peak GB": ".2f"})
    deliver(given.json, runs=rows)


if __name__ == "__main__":
    main()
