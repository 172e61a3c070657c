"""Gradients on their way back, against whole Jacobians."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import nn
from torch_modules import MODULES, Basic, Translated, conv, draw

import fastmoments as fm
from fastmoments.images.sources import normalise

IMAGES = fm.load_images("synthetic:4x4x3", 3, seed=0)


def same(module):
    """A re-initialisation that leaves all as it is: nets differ by what is drawn of noise and gradients."""


def jacobian(back, x):
    """Mean over entries of x of the squared Jacobian of a function, summed over its outputs."""
    whole = torch.autograd.functional.jacobian(back, x)
    return float((whole**2).sum() / x.numel())


def test_mean_squares_are_those_of_the_jacobian():
    torch.manual_seed(0)
    module = nn.Sequential(
        conv(3, 4), nn.Tanh(), conv(4, 4), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(64, 2)
    )
    scan = fm.scan(module, IMAGES, fm.Measured(300, same))
    values = normalise(IMAGES)
    x = torch.from_numpy(values.transpose(0, 3, 1, 2)).float()
    module.double()
    x = x.double()
    for index in range(len(module)):
        station = scan.station(str(index))
        with torch.no_grad():
            at = module[: index + 1](x).clone()
        right = jacobian(lambda y, index=index: module[index + 1 :](y.clone()), at)
        error = station.sigma["jacobian"] / np.sqrt(300)
        assert abs(station.mean["jacobian"] - right) < 4 * error + 1e-6 * right
    assert scan.stations[-1].mean["jacobian"] == pytest.approx(1.0, rel=1e-6)
    assert (
        abs(scan.stations[0].mean["jacobian"] - jacobian(module, x))
        < 4 * scan.stations[0].sigma["jacobian"] / 17
    )


def test_one_gradient_is_that_of_autograd():
    """A linear net of one output: |J' u|^2 is known but for the size of u."""
    torch.manual_seed(0)
    module = nn.Sequential(nn.Flatten(), nn.Linear(48, 5), nn.Linear(5, 1))
    scan = fm.scan(module, IMAGES)
    row = module[2].weight.detach()
    assert scan.station("1").mean["jacobian"] == pytest.approx(float((row**2).mean()), rel=1e-4)
    whole = (row @ module[1].weight.detach()) ** 2
    assert scan.station("0").mean["jacobian"] == pytest.approx(float(whole.mean()), rel=1e-4)


def test_frozen_statistics_are_constants():
    """Of a batch norm and a mean over positions: gamma / sqrt(v + epsilon) back."""
    module = nn.Sequential(nn.BatchNorm2d(3, eps=0.0), nn.Conv2d(3, 1, 4))
    scan = fm.scan(module, IMAGES)
    weight = module[1].weight.detach()
    assert scan.station("0").mean["jacobian"] == pytest.approx(float((weight**2).mean()), rel=1e-4)
    assert scan.station("").mean["jacobian"] == pytest.approx(float((weight**2).mean()), rel=1e-3)
    moved = fm.scan(module, IMAGES, fm.Measured(batch_statistics="through"))
    assert moved.station("").mean["jacobian"] < 0.99 * scan.station("").mean["jacobian"]


def test_stations_inside_a_branch_have_none():
    torch.manual_seed(0)
    scan = fm.scan(nn.Sequential(conv(3, 4), Basic(4, 4), conv(4, 2)), IMAGES)
    known = [station.path for station in scan.stations if "jacobian" in station.mean]
    assert known == ["", "0", "1.add()", "1.relu#2", "2"]
    assert scan.verdict.budget.gradient_db == pytest.approx(scan.station("0").gradient_db)


def test_a_module_without_backward_has_no_gradients():
    class Forward(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = conv(3, 3)

        @torch.no_grad()
        def forward(self, x):
            return self.conv(x)

    scan = fm.scan(nn.Sequential(conv(3, 3), Forward()), IMAGES)
    assert np.isfinite(scan["chi"]).all() and np.isnan(scan.station("0").mean["jacobian"])


@pytest.mark.parametrize("name", ["resnet18", "vit", "unet"])
def test_no_gradient_is_left_behind(name):
    module = MODULES[name]()
    fm.scan(module, fm.load_images("synthetic:32x32x3", 2))
    assert all(each.grad is None for each in module.parameters())


def test_growth_agrees_with_that_of_a_simulation():
    """A net without means over positions, for which the noise tells the growth of gradients."""
    layers = (fm.Conv(3, padding="zeros", pad=1, channels=16), fm.ReLU())
    net, images = fm.Network(layers * 3), fm.load_images("synthetic:8x8x3", 4, seed=0)
    sampled = fm.scan(net, images, fm.Sampled(16, 30, seed=1))
    measured = fm.scan(Translated(net), images, fm.Measured(30, draw))
    error = np.hypot(sampled.standard_error("jacobian"), measured.standard_error("jacobian"))
    assert np.all(abs(sampled["jacobian"] - measured["jacobian"]) < 4 * error + 1e-5)
