"""Stations of modules, their units, names and what stands before them."""

import pytest

torch = pytest.importorskip("torch")

from torch import nn
from torch_modules import Basic, PreActivation, UNet, conv, vgg16

from fastmoments.engines.measured.stops import Course, points_of
from fastmoments.engines.measured.tracing import Tracing


def stops(module, shape=(2, 3, 8, 8)):
    images, tracing = torch.randn(shape), Tracing(module)
    source = tracing.begin(images)
    with torch.no_grad(), tracing:
        output = module(images)
    return Course(tracing, source, tracing.values_of(output)).stops()


def rows(module, shape=(2, 3, 8, 8)):
    return [(each.seen.path, each.depth, each.loc, each.before) for each in stops(module, shape)]


def test_a_plain_stack_begins_a_unit_at_every_layer_with_weights():
    net = nn.Sequential(
        nn.ReLU(), conv(3, 4), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2), conv(4, 4), nn.Flatten()
    )
    assert rows(net) == [
        ("0", 1, "act", ""), ("1", 1, "conv", "0"), ("2", 1, "norm", "1"), ("3", 1, None, "2"),
        ("4", 1, None, "3"), ("5", 2, "conv", "4"), ("6", 2, None, "5"),
    ]  # fmt: skip


def test_a_unit_that_activates_behind_its_merge():
    net = nn.Sequential(conv(3, 4), Basic(4, 6, 2), conv(6, 4))
    assert rows(net) == [
        ("0", 1, "conv", ""),
        ("1.downsample.0", 2, "conv", "0"), ("1.downsample.1", 2, "norm", "1.downsample.0"),
        ("1.conv1", 2, None, "0"), ("1.bn1", 2, None, "1.conv1"), ("1.relu", 2, "act", "1.bn1"),
        ("1.conv2", 2, None, "1.relu"), ("1.bn2", 2, None, "1.conv2"), ("1.add()", 2, "merge", "0"),
        ("1.relu#2", 2, "out", "1.add()"), ("2", 3, "conv", "1.relu#2"),
    ]  # fmt: skip


def test_a_unit_that_activates_before_its_convolutions():
    net = nn.Sequential(conv(3, 4), PreActivation(4, 4), PreActivation(4, 6, 2))
    assert rows(net) == [
        ("0", 1, "conv", ""),
        ("1.bn1", 2, "norm", "0"), ("1.relu()", 2, "act", "1.bn1"), ("1.conv1", 2, "conv", "1.relu()"),
        ("1.bn2", 2, None, "1.conv1"), ("1.relu()#2", 2, None, "1.bn2"), ("1.conv2", 2, None, "1.relu()#2"),
        ("1.add()", 2, "merge", "0"),
        ("2.bn1", 2, None, "1.add()"), ("2.relu()", 2, "out", "2.bn1"),
        ("2.shortcut", 3, "conv", "2.relu()"), ("2.conv1", 3, None, "2.relu()"),
        ("2.bn2", 3, "norm", "2.conv1"),
        ("2.relu()#2", 3, "act", "2.bn2"), ("2.conv2", 3, None, "2.relu()#2"),
        ("2.add()", 3, "merge", "2.relu()"),
    ]  # fmt: skip


def test_ways_that_never_meet_in_one_value_are_one_unit():
    net = UNet(4)
    found = {each.seen.path: each for each in stops(net, (2, 3, 16, 16))}
    assert max(each.depth for each in found.values()) == 6
    assert {
        found[path].depth for path in ("down.1.0", "down.2.3", "up.0", "cat()", "merge.0.0", "cat()#2")
    } == {3}
    assert not found["cat()"].alone and found["cat()#2"].loc == "merge"
    assert found["cat()"].before == found["cat()#2"].before == "down.0.5"
    assert found["merge.0.0"].before == "cat()"


def test_a_module_without_others_shows_its_functions():
    class Functional(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.two = nn.Parameter(torch.randn(4, 3, 3, 3)), nn.Parameter(torch.randn(4, 4, 3, 3))

        def forward(self, x):
            x = nn.functional.conv2d(x, self.one).relu()
            return nn.functional.conv2d(x, self.two, padding=1) + x

    assert rows(Functional()) == [
        ("conv2d()", 1, "conv", ""), ("relu()", 1, "act", "conv2d()"), ("add()", 2, "merge", "relu()"),
    ]  # fmt: skip


def test_what_a_container_makes_is_behind_it():
    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = conv(3, 3)

        def forward(self, x):
            return torch.exp(self.inner(x)) - self.inner(x)

    net = nn.Sequential(Scaled(), Basic(3, 3))
    found = [path for path, *_ in rows(net)]
    assert found[:3] == ["0.inner", "0.inner#2", "0.sub()"]


def test_what_does_nothing_takes_no_station_from_others():
    class Unit(nn.Module):
        def __init__(self, early):
            super().__init__()
            self.conv, self.shortcut, self.drop, self.early = conv(3, 3), nn.Sequential(), nn.Dropout(), early

        def forward(self, x):
            skip = self.shortcut(x) if self.early else None
            out = self.drop(self.conv(x))
            return nn.functional.relu(out + (self.drop(x) if skip is None else skip))

    for early in (False, True):
        net = nn.Sequential(Unit(early), Unit(early), nn.Identity(), conv(3, 3))
        found = [path for path, *_ in rows(net.eval())]
        assert found == [
            "0.conv", "0.drop", "0.add()", "0.relu()", "1.conv", "1.drop", "1.add()", "1.relu()", "3",
        ]  # fmt: skip


def test_a_dense_head_and_a_classifier_count():
    assert max(each.depth for each in stops(vgg16(True, 4), (2, 3, 32, 32))) == 15


@pytest.mark.parametrize(
    ("shape", "axes", "grid", "channels"),
    [
        ((2, 3, 8, 4), (1,), (8, 4), 3), ((2, 8, 4, 3), (3,), (8, 4), 3), ((2, 7, 3), (2,), (1, 7), 3),
        ((7, 2, 3), (2,), (1, 7), 3), ((2, 5), (1,), (1, 1), 5), ((2, 3, 2, 8, 4), (1,), (1, 64), 3),
        ((2, 16, 3, 2), (2, 3), (1, 16), 6), ((8, 16, 3), (2,), (1, 64), 3),
    ],
)  # fmt: skip
def test_points_and_channels(shape, axes, grid, channels):
    assert points_of(shape, axes, 2) == (grid, channels)
