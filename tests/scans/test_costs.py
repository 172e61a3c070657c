"""Memory and time of a scan before it is begun."""

import subprocess
import sys
import weakref

import numpy as np
import pytest

import fastmoments as fm
from fastmoments.covariances.storage import Covariance
from fastmoments.nets.layers import Conv
from fastmoments.nets.network import Residual
from fastmoments.scans import costs

# Where the system tells it (Linux), the peak of the memory since the program began: `ru_maxrss` also counts
# the process that started it, before it became this program.
PEAK = """
import resource, sys, fastmoments as fm
from pathlib import Path
net, images, dtype = sys.argv[1:]
net = eval(net)
fm.scan(net, fm.load_images("synthetic:32x32x3", int(images), seed=0), every=net.depth, dtype=dtype)
status = Path("/proc/self/status")
if status.exists():
    print(next(int(line.split()[1]) * 1024 for line in status.open() if line.startswith("VmHWM")))
else:
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024))
"""


@pytest.mark.parametrize(
    ("net", "count", "dtype"),
    [
        ("fm.vanilla(2)", 24, "float64"),
        ("fm.bn_res(1)", 20, "float64"),
        ("fm.bn_ff(2)", 32, "float32"),
        ("fm.Network([fm.Conv(3, stride=2), fm.ReLU()], stem=[fm.Conv(3)])", 5, "float64"),
    ],
)
def test_memory_is_known_before_it_is_taken(net, count, dtype):
    fm.scan(eval(net), fm.load_images("synthetic:32x32x3", 2), dtype=dtype)  # compiling takes memory as well
    said = subprocess.run(
        [sys.executable, "-P", "-c", PEAK, net, str(count), dtype], capture_output=True, text=True, check=True
    )
    measured = int(said.stdout)
    expected = fm.estimate(eval(net), (count, 32, 32, 3), dtype=dtype).bytes
    assert 0.95 * measured < expected < 1.2 * measured


class Kept:
    """Bytes of the arrays that covariances hold as blocks, those that nobody holds any more left out."""

    def __init__(self):
        self.arrays, self.peak = weakref.WeakValueDictionary(), 0

    def take(self, array):
        while array.base is not None:  # a view holds all of the memory it is of
            array = array.base
        self.arrays[id(array)] = array
        self.peak = max(self.peak, sum(each.nbytes for each in self.arrays.values()))


@pytest.fixture
def kept(monkeypatch):
    """What covariances of the signal store while a scan runs."""
    kept = Kept()

    def store(self, name, value):
        if name == "blocks":
            kept.take(value)
        object.__setattr__(self, name, value)

    monkeypatch.setattr(Covariance, "__setattr__", store, raising=False)
    return kept


NETS = {
    "plain": fm.vanilla(2),
    "normalised": fm.bn_ff(2),
    "shortcut": fm.residual(3),
    "strided": fm.Network([Conv(3, stride=2), fm.ReLU()], stem=[Conv(3)]),
    "strided shortcut": fm.Network(
        [Residual([Conv(3, stride=2), fm.ReLU(), Conv(3)], [Conv(1, stride=2)])], stem=[Conv(3)]
    ),
    "fully connected": fm.vanilla(2, 1),
    "fully connected shortcut": fm.bn_res(2, 1),
}


CASES = [(name, dtype) for name, net in NETS.items() for dtype in costs.DTYPES[: 1 + net.normalised]]


@pytest.mark.parametrize(("name", "dtype"), CASES)
def test_stored_bytes_are_those_of_the_covariances(name, dtype, kept):
    net, shape = NETS[name], (40 if NETS[name].fully_connected else 6, 8, 8, 1)
    fm.scan(net, fm.load_images("synthetic:8x8x1", shape[0]), dtype=dtype)
    assert costs._walked(net, shape, dtype)[0].peak == kept.peak


def test_what_comes_down_to_one_position_is_counted_as_the_tile_it_becomes(kept):
    net = fm.Network([Conv(3), fm.ReLU(), Conv(2, stride=8), fm.ReLU(), Conv(1)])
    fm.scan(net, fm.load_images("synthetic:8x8x1", 6))
    assert costs._walked(net, (6, 8, 8, 1), "float64")[0].peak == kept.peak + (6 * 6 - 21) * 8


def test_stored_bytes_by_hand():
    """Blocks of pairs of images, by pairs of positions, eight bytes each; twice with a shortcut."""
    account = costs._walked(fm.residual(3), (6, 12, 12, 1), "float64")[0]
    assert account.peak == 2 * account.stored == 2 * 21 * 36**2 * 8
    account = costs._walked(fm.vanilla(3, 1), (40, 4, 4, 1), "float64")[0]
    assert account.peak == account.stored == 40 * 40 * 8


def test_it_grows_as_it_should():
    small, large = (fm.estimate(fm.bn_ff(50), (n, 32, 32, 3), threads=2) for n in (16, 32))
    assert (small.points, large.points) == (4096, 8192)
    assert 3.0 < (large.bytes - costs.PROCESS) / (small.bytes - costs.PROCESS) < 4.0
    deep = fm.estimate(fm.bn_ff(100), (16, 32, 32, 3))
    assert deep.bytes == small.bytes
    half = fm.estimate(fm.bn_ff(50), (16, 32, 32, 3), dtype="float32")
    assert half.bytes < small.bytes
    assert fm.estimate(fm.vanilla(0), (2, 4, 4, 1)).seconds < 0.1


def test_what_does_not_fit_is_refused(monkeypatch):
    images = fm.load_images("synthetic:32x32x3", 8)
    shape = images.array.shape

    def free(net, count, dtype="float64"):
        """Just enough for so many images."""
        enough = costs._walked(net, (count, *shape[1:]), dtype)[2] / costs.SAFE + 1e3
        monkeypatch.setattr(costs, "free_memory", lambda: enough)

    free(fm.vanilla(2), 7)
    with pytest.raises(ValueError, match=r"takes \d+ MB of memory, and \d+ MB are free; what fits: 7 images"):
        fm.scan(fm.vanilla(2), images)
    free(fm.bn_res(2), 8, "float32")
    with pytest.raises(ValueError, match=r"what fits: dtype float32 \(\d+ MB\), or \d images"):
        fm.scan(fm.bn_res(2), images)
    fm.scan(fm.bn_res(2), images, dtype="float32")
    monkeypatch.setattr(costs, "free_memory", lambda: 1_000_000)
    with pytest.raises(ValueError, match="use fewer positions per image"):
        fm.scan(fm.bn_res(2), images)
    monkeypatch.setattr(costs, "free_memory", lambda: None)
    fm.scan(fm.vanilla(1), np.random.default_rng(0).standard_normal((3, 4, 4, 1)))


def test_the_system_says_how_much_is_free():
    free = costs.free_memory()
    assert free is None or 1e6 < free < 1e15


def test_normalised_nets():
    assert fm.bn_res(3).normalised and fm.bn_ff(2).normalised
    assert not fm.residual(3).normalised
    assert not fm.Network([Residual([Conv(3)]), fm.BatchNorm()]).normalised
