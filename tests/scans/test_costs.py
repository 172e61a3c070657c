"""Memory and time of a scan before it is begun."""

import subprocess
import sys

import numpy as np
import pytest

import fastmoments as fm
from fastmoments.engines.protocol import PROCESS
from fastmoments.scans import costs

# Where the system tells it (Linux), the peak of the memory since the program began: `ru_maxrss` also counts
# the process that started it, before it became this program.
PEAK = """
import resource, sys, fastmoments as fm
from pathlib import Path
net, images, engine = sys.argv[1:]
net, engine = eval(net), eval(engine)
images = fm.load_images("synthetic:32x32x3", int(images), seed=0)
fm.scan(net, images, engine, every=net.depth)
status = Path("/proc/self/status")
if status.exists():
    print(next(int(line.split()[1]) * 1024 for line in status.open() if line.startswith("VmHWM")))
else:
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024))
"""


#: What the estimate says of itself, as shares of the measured peak.
EXACT = {"InfiniteWidth": (0.95, 1.2), "FiniteWidth": (0.8, 1.25), "Sampled": (0.9, 1.2)}


@pytest.mark.parametrize(
    ("net", "count", "engine"),
    [
        ("fm.vanilla(2)", 24, "fm.InfiniteWidth()"),
        ("fm.bn_res(1)", 20, "fm.InfiniteWidth()"),
        ("fm.bn_ff(2)", 32, "fm.InfiniteWidth(dtype='float32')"),
        ("fm.Network([fm.Conv(3, stride=2), fm.ReLU()], stem=[fm.Conv(3)])", 5, "fm.InfiniteWidth()"),
        ("fm.vanilla(10)", 6, "fm.FiniteWidth()"),
        ("fm.vanilla(20, 1)", 512, "fm.FiniteWidth(512)"),
        ("fm.residual(10, 1)", 512, "fm.FiniteWidth(512)"),
        ("fm.residual(3)", 64, "fm.Sampled(128, 1)"),
    ],
)
def test_memory_is_known_before_it_is_taken(net, count, engine):
    # Compiling takes memory as well: it is done beforehand, and the process reads it from the cache.
    fm.scan(eval(net), fm.load_images("synthetic:32x32x3", 2), eval(engine))
    said = subprocess.run(
        [sys.executable, "-P", "-c", PEAK, net, str(count), engine],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    measured = int(said.stdout)
    expected = fm.estimate(eval(net), (count, 32, 32, 3), eval(engine)).bytes
    least, most = EXACT[type(eval(engine)).__name__]
    assert least * measured < expected < most * measured, (measured, expected)


def test_it_grows_as_it_should():
    small, large = (fm.estimate(fm.bn_ff(50), (n, 32, 32, 3), threads=2) for n in (16, 32))
    assert (small.points, large.points) == (4096, 8192)
    assert 3.0 < (large.bytes - PROCESS) / (small.bytes - PROCESS) < 4.0
    deep = fm.estimate(fm.bn_ff(100), (16, 32, 32, 3))
    assert deep.bytes == small.bytes
    half = fm.estimate(fm.bn_ff(50), (16, 32, 32, 3), fm.InfiniteWidth(dtype="float32"))
    assert half.bytes < small.bytes
    assert fm.estimate(fm.vanilla(0), (2, 4, 4, 1)).seconds < 0.1


def test_what_does_not_fit_is_refused(monkeypatch):
    images = fm.load_images("synthetic:32x32x3", 8)
    shape = images.array.shape

    def free(net, count, dtype="float64"):
        """Just enough for so many images."""
        enough = fm.estimate(net, (count, *shape[1:]), fm.InfiniteWidth(dtype=dtype)).bytes / costs.SAFE + 1e3
        monkeypatch.setattr(costs, "free_memory", lambda: enough)

    free(fm.vanilla(2), 7)
    with pytest.raises(ValueError, match=r"takes \d+ MB of memory, and \d+ MB are free; what fits: 7 images"):
        fm.scan(fm.vanilla(2), images)
    free(fm.bn_res(2), 8, "float32")
    with pytest.raises(ValueError, match=r"what fits: dtype float32 \(\d+ MB\), or \d images"):
        fm.scan(fm.bn_res(2), images)
    fm.scan(fm.bn_res(2), images, fm.InfiniteWidth(dtype="float32"))
    monkeypatch.setattr(costs, "free_memory", lambda: 1_000_000)
    with pytest.raises(ValueError, match="use fewer positions per image"):
        fm.scan(fm.bn_res(2), images)
    monkeypatch.setattr(costs, "free_memory", lambda: None)
    fm.scan(fm.vanilla(1), np.random.default_rng(0).standard_normal((3, 4, 4, 1)))
