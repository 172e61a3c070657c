"""What a scan sees of a module, and what is refused before it is measured."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import nn
from torch_modules import MODULES

import fastmoments as fm
from fastmoments.engines.measured.traced import traced

IMAGES = fm.load_images("synthetic:8x8x3", 4, seed=0).array


@pytest.mark.parametrize("name", MODULES)
def test_published_modules_are_measured(name):
    """Every station behind which there is signal has a finite chi; units, names and order are sound."""
    torch.manual_seed(0)
    scan = fm.scan(MODULES[name](), fm.load_images("synthetic:32x32x3", 2, seed=0))
    assert np.isfinite(scan["log_chi"]).all() and scan.depth.tolist() == list(range(1, scan.depth[-1] + 1))
    paths = [station.path for station in scan.stations]
    for index, station in enumerate(scan.stations):
        assert np.isfinite(station.mean["log_chi"]) or station.mean["nu2_signal"] == 0.0
        assert station.before is None or station.before in paths[:index]
    assert str(scan.report()).count("\n") > len(paths)


DEPTHS = {
    "resnet18": 10, "resnet50": 18, "preact-resnet110": 56, "vgg16": 15, "vgg16-bn": 15, "convnext": 6,
    "vit": 10, "vit, unfused": 10, "vit of the library": 6, "mlp": 6, "densenet": 13, "fixup": 6, "unet": 6,
    "separable": 10,
}  # fmt: skip


@pytest.mark.parametrize("name", MODULES)
def test_depth_counts_units(name):
    assert (
        traced(MODULES[name](), np.random.default_rng(0).normal(size=(2, 32, 32, 3)), True, "cpu").depth
        == DEPTHS[name]
    )


def test_a_net_of_vectors_gets_vectors():
    net = nn.Sequential(nn.Linear(8 * 8 * 3, 5), nn.ReLU())
    found = traced(net, IMAGES, True, "cpu")
    assert found.fully_connected and found.values.shape == (4, 1, 1, 192)
    given = traced(net, IMAGES, False, "cpu")
    assert torch.equal(
        given.input(given.values), torch.from_numpy(IMAGES.transpose(0, 3, 1, 2)).flatten(1).float()
    )


def test_a_compiled_module_is_the_one_inside():
    class Compiled(nn.Module):
        def __init__(self, module):
            super().__init__()
            self._orig_mod = module

        def forward(self, x):
            raise AssertionError

    net = nn.Sequential(nn.Conv2d(3, 4, 3))
    assert traced(Compiled(net), IMAGES, True, "cpu").module is net


def test_weights_have_a_digest():
    net = nn.Sequential(nn.Conv2d(3, 4, 3))
    one, again = (traced(net, IMAGES, True, "cpu").architecture() for _ in range(2))
    nn.init.zeros_(net[0].bias)
    other = traced(net, IMAGES, True, "cpu").architecture()
    assert one == again and one["parameters"] == 112 and one["weights"] != other["weights"]


@pytest.mark.parametrize(
    ("module", "said"),
    [
        (nn.LazyLinear(3), "the size of weight is known after a first call only"),
        (nn.Conv2d(3, 4, 3, device="meta"), "weight is on the meta device"),
        (nn.Conv2d(5, 4, 3), r"^Conv2d cannot be called with images of shape \(4, 3, 8, 8\): RuntimeError"),
        (nn.Sequential(nn.Conv2d(3, 4, 3), nn.Linear(7, 3)), r"^1 \(Linear\) cannot be called with images"),
    ],
    ids=["lazy", "meta", "channels", "inside"],
)  # fmt: skip
def test_what_cannot_be_called_is_refused_in_one_sentence(module, said):
    with pytest.raises(ValueError, match=said):
        traced(module, IMAGES, True, "cpu")


def test_the_device_is_where_the_module_is():
    with pytest.raises(ValueError, match="weight is on cpu, and the images go to cuda"):
        traced(nn.Conv2d(3, 4, 3), IMAGES, True, "cuda")
