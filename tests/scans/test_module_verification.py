"""Modules of PyTorch, measured at several widths, against the nets they are translated to."""

import functools
import math

import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402
from torch_modules import Basic, Head, PreActivation, ResNet, conv  # noqa: E402

import fastmoments as fm  # noqa: E402
from fastmoments.scans import module_verification  # noqa: E402
from fastmoments.scans.comparisons import extrapolate  # noqa: E402

IMAGES = fm.load_images("synthetic:8x8x3", 4, seed=0)


def small(width=16):
    units = (PreActivation(width, width) for _ in range(2))
    return nn.Sequential(nn.Conv2d(3, width, 3, padding=1), nn.ReLU(), *units, Head(width))


@pytest.fixture(scope="module")
def verification():
    return fm.verify_module(small, IMAGES, widths=(8, 16, 32), nets=30)


def test_both_agree_at_every_station(verification):
    assert verification.agrees
    stations = {row.loc for row in verification.rows}
    assert {"0", "1", "2.bn1", "2.relu()", "2.relu()#2", "2.add()", "3.add()", "4.mean()"} <= stations
    assert "4.fc" not in stations  # ten outputs at any width
    chi = {row.loc: row for row in verification.rows if row.moment == "chi"}
    assert abs(chi["3.add()"].z) < 4.0 and chi["3.add()"].depth == 2
    assert verification.widths == (8, 16, 32) and verification.nets == 30


def test_a_wrong_translation_is_found(monkeypatch):
    right = module_verification.translated

    def wrong(*given, **options):
        network, places = right(*given, **options)
        layers = (fm.Residual(network.layers[0].branch, scale=2.0), *network.layers[1:])
        return fm.Network(layers, network.stem), places

    monkeypatch.setattr(module_verification, "translated", wrong)
    found = fm.verify_module(small, IMAGES, widths=(8, 16), nets=8, moments=["mu2_signal"])
    z = {row.loc: row.z for row in found.rows}
    assert abs(z["2.add()"]) > found.threshold and abs(z["2.conv2"]) < found.threshold
    assert not found.agrees


def test_variances_are_those_of_all_that_was_drawn():
    """With the mean squares of all nets the second moment behind a convolution is that of their mean."""

    def make():
        return nn.Sequential(nn.Conv2d(3, 4, 3, bias=False), nn.Conv2d(4, 4, 1, bias=False))

    draws = module_verification._Draws(make, ())
    squares = []
    for _ in range(5):
        draws(draws.module)
        squares.append(float((draws.module[0].weight.detach().double() ** 2).mean()))
    found = float((draws.typical()[0].weight.detach().double() ** 2).mean())
    assert math.isclose(found, sum(squares) / 5, rel_tol=1e-6)


@pytest.mark.parametrize(
    ("make", "options", "said"),
    [
        (small, {"widths": [8]}, "widths must hold at least two"),
        (small, {"nets": 7}, "nets must be"),
        (lambda: 3, {}, "make gives a int, and not a torch.nn.Module"),
        (lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.Softmax(1)), {}, "1: Softmax has no formula here"),
        (small, {"moments": ["mu3"]}, "moments must be"),
    ],
)
def test_refusals(make, options, said):
    with pytest.raises(ValueError, match=said) as caught:
        fm.verify_module(make, IMAGES, **{"nets": 8, **options})
    assert str(caught.value).endswith(".")


def second_version(width):
    """ResNet-18 whose units activate first (He et al., 2016)."""
    layers, before = [conv(3, width, 7, 2), nn.MaxPool2d(3, 2, 1)], width
    for stage in range(4):
        for index in range(2):
            layers.append(PreActivation(before, width * 2**stage, 1 + (stage > 0 and index == 0)))
            before = width * 2**stage
    made = nn.Sequential(*layers, nn.BatchNorm2d(before), nn.ReLU(), Head(before))
    for module in made.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    return made


@pytest.mark.slow
@pytest.mark.parametrize("make", [functools.partial(ResNet, Basic, (2, 2, 2, 2)), second_version])
def test_chi_of_resnet18_at_infinite_width_is_what_is_measured(make):
    """Within 2%, and three standard errors of the nets, behind every sum."""
    images = fm.load_images("synthetic:32x32x3", 8, seed=0)
    infinite = fm.from_torch(make(32), torch.zeros(1, 3, 32, 32), init="kaiming_fan_out")
    exact = fm.scan(infinite, images, reff_locs=())["chi"][:-1]
    means, errors, widths = [], [], (8, 16, 32)
    for width in widths:
        reinit = module_verification.remade(functools.partial(make, width))
        found = fm.scan(make(width), images, fm.Measured(20, reinit, width), reff_locs=())
        means.append(found["chi"][1:-1]), errors.append(found.standard_error("chi")[1:-1])
    for unit, value in enumerate(exact):
        chi, error = extrapolate(widths, *([each[unit] for each in values] for values in (means, errors)))
        assert error < 0.05 * chi
        assert abs(value - chi) < 0.02 * chi + 3.0 * error
