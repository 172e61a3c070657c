"""Parameters drawn anew."""

import pytest

torch = pytest.importorskip("torch")

from torch import nn
from torch_modules import MODULES, UNet

import fastmoments as fm
from fastmoments.engines.measured.redrawing import RESET, redraw, say_what_stays
from fastmoments.validation import Notice


def test_every_module_draws_by_its_own_way():
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.MultiheadAttention(4, 2), nn.BatchNorm2d(4), nn.ReLU())
    before = {name: value.clone() for name, value in module.state_dict().items()}
    nn.init.ones_(module[2].bias)
    redraw(module, None)
    assert torch.equal(module[0].weight, before["0.weight"])
    torch.manual_seed(0)
    redraw(module, RESET)
    for name in ("0.weight", "0.bias", "1.in_proj_weight", "1.out_proj.weight"):
        assert not torch.equal(module.state_dict()[name], before[name])
    assert not module[2].bias.any()
    kept = module[0].weight.clone()
    torch.manual_seed(0)
    redraw(module, RESET)
    assert torch.equal(module[0].weight, kept)


def test_a_function_draws_the_whole():
    module = nn.Sequential(nn.Linear(2, 2))
    redraw(module, lambda each: nn.init.zeros_(each[0].weight))
    assert not module[0].weight.any() and module[0].bias.any()


def test_what_has_no_way_is_said():
    with pytest.warns(
        Notice, match=r"leaves token, positions as they are, whose modules have no such method"
    ):
        fm.scan(MODULES["vit"](), fm.load_images("synthetic:32x32x3", 2), fm.Measured(2, RESET))
    with pytest.warns(Notice, match=r"leaves 1.gamma, 2.gamma, 3.gamma and 1 more as they are"):
        say_what_stays(MODULES["convnext"]())
    say_what_stays(UNet())
