"""A small grid to sweep, and what its tests need."""

from importlib.util import find_spec

import pytest

#: Eight small scans, deep enough for a verdict.
SMALL = {
    "family": ["vanilla", "bn_ff"], "depth": [16, 20], "kernel_size": 1, "epsilon": [1e-3, 0.1],
    "source": "synthetic:4x4", "count": 4,
}  # fmt: skip

needs_matplotlib = pytest.mark.skipif(find_spec("matplotlib") is None, reason="figures need matplotlib")

needs_pyarrow = pytest.mark.skipif(find_spec("pyarrow") is None, reason="Parquet needs pyarrow")
