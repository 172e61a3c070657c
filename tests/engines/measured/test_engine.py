"""The options of the engine, and which engine a call means; what is said without PyTorch."""

import subprocess
import sys

import numpy as np
import pytest

import fastmoments as fm
from fastmoments.engines.measured.engine import is_module
from fastmoments.scans.scanning import rehearsed

IMAGES = fm.load_images("synthetic:8x8x3", 4, seed=0)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"nets": 0}, "nets must be"),
        ({"nets": 3}, "needs reinit"),
        ({"seed": -1}, "seed must be"),
        ({"reinit": "reset"}, "reinit must be None"),
        ({"batch_statistics": "moved"}, "batch_statistics must be one of frozen, through"),
        ({"device": 0}, "device must be the name"),
    ],
)
def test_wrong_parameters_are_refused(wrong, said):
    with pytest.raises(ValueError, match=said):
        fm.Measured(**wrong)


def test_a_module_as_it_stands_is_one_net():
    assert fm.Measured().nets == 1 and fm.Measured(reinit="reset_parameters").nets == 10
    assert fm.Measured(3, print).nets == 3


def test_what_is_no_module_is_not_measured():
    with pytest.raises(ValueError, match="measures modules of PyTorch, not Network; leave engine out"):
        fm.scan(fm.bn_ff(2), IMAGES, "measured")
    with pytest.raises(ValueError, match="network must be a fastmoments Network, not int"):
        fm.scan(3, IMAGES)


def test_nothing_else_loads_pytorch():
    code = (
        "import sys, fastmoments as fm; images = fm.load_images('synthetic:8x8x3', 4); fm.Measured(); "
        "fm.scan(fm.bn_ff(2), images); fm.scan(fm.bn_ff(2), images, fm.Sampled(8, 2)); "
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-P", "-c", code], check=True)


def test_modules_are_known_as_such():
    torch = pytest.importorskip("torch")
    module = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3))
    assert is_module(module) and not is_module(torch.nn.Module) and not is_module(fm.bn_ff(2))
    assert fm.scan(module, IMAGES).method == "measured"
    with pytest.raises(ValueError, match="Sequential is a module of PyTorch, which fastmoments"):
        fm.scan(module, IMAGES, fm.InfiniteWidth())


def test_tensors_are_images():
    torch = pytest.importorskip("torch")
    module = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3))
    tensor = torch.from_numpy(IMAGES.array.transpose(0, 3, 1, 2))
    assert np.array_equal(fm.scan(module, tensor)["chi"], fm.scan(module, IMAGES)["chi"])


def test_a_module_is_estimated():
    torch = pytest.importorskip("torch")
    module = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3))
    for images in (IMAGES, (4, 8, 8, 3)):
        found = fm.estimate(module, images)
        assert found.points == 256 and found.bytes > 4e8 and found.seconds < 10
    again = fm.estimate(module, IMAGES, fm.Measured(50, "reset_parameters"))
    assert again.bytes == found.bytes
    assert rehearsed(module, IMAGES).points == 256


def test_memory_is_that_of_so_many_images():
    torch = pytest.importorskip("torch")
    engine = fm.Measured()
    traced = engine.traced(torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3)), IMAGES, True)
    whole, half = (engine.memory(traced, (count, 8, 8, 3), None) for count in (4, 2))
    assert half < whole and engine.seconds(traced, (4, 8, 8, 3), None, 1) > 0 and not engine.smaller(traced)
