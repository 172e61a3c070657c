"""Channel numbers of a net, multiplied."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

import fastmoments as fm
from fastmoments.nets.network import walk
from fastmoments.nets.widths import narrowest, of_width, widened
from fastmoments.nets.zoo import NETS


def numbers(network):
    layers = (layer for _, layer in walk((*network.stem, *network.layers)))
    return [layer.channels for layer in layers if getattr(layer, "channels", None)]


@pytest.mark.parametrize("name", ["resnet18", "resnet50", "resnet20-v2", "vgg11-bn", "mlp"])
def test_all_but_the_classes_are_multiplied(name):
    net = NETS[name]()
    *before, classes = numbers(net)
    assert numbers(widened(net, 2)) == [*(2 * number for number in before), classes]
    assert numbers(widened(net, 0.5)) == [*(number // 2 for number in before), classes]
    assert widened(net, 1.0) == net
    assert widened(widened(net, 4.0), 0.25) == net
    assert narrowest(widened(net, 2)) == 2 * narrowest(net)
    assert of_width(net, 3 * narrowest(net)) == widened(net, 3.0)


def test_the_method_is_the_function():
    assert NETS["mlp"]().widened(2.0) == widened(NETS["mlp"](), 2.0)


def test_gains_and_all_else_stay():
    wide, net = widened(NETS["resnet18"](), 3), NETS["resnet18"]()
    pairs = zip(walk((*net.stem, *net.layers)), walk((*wide.stem, *wide.layers)), strict=True)
    for (path, one), (there, other) in pairs:
        assert (path, type(one)) == (there, type(other))
        assert getattr(one, "weights", None) == getattr(other, "weights", None)
    assert (wide.name, wide.depth) == (net.name, net.depth)


def test_infinite_width_does_not_depend_on_it():
    images = fm.load_images("synthetic:8x8x3", 3)
    net = NETS["resnet20-v2"]()
    one, other = (fm.scan(each, images) for each in (net, widened(net, 2.5)))
    assert one["chi"].tolist() == other["chi"].tolist()


@given(st.integers(1, 999), st.integers(1, 10), st.floats(0.01, 100.0))
def test_rounding(channels, groups, factor):
    net = fm.Network((fm.Conv(channels=channels * groups), fm.GroupNorm(groups), fm.Conv(channels=channels)))
    first, second = numbers(widened(net, factor))
    assert first % groups == 0
    assert first == max(int(factor * channels + 0.5), 1) * groups or abs(factor * channels % 1 - 0.5) < 1e-9
    assert abs(second - factor * channels) <= max(0.5 * groups, 1.0) + 1e-9


def test_a_half_is_rounded_up_and_nothing_to_zero():
    assert numbers(widened(fm.Network((fm.Conv(channels=3), fm.Conv(channels=1))), 0.5)) == [2, 1]
    assert numbers(widened(fm.Network((fm.Conv(channels=3),)), 1e-9)) == [1]


def test_a_net_that_ends_in_a_convolution_has_no_classifier():
    assert numbers(widened(fm.Network((fm.Dense(8), fm.ReLU(), fm.Conv(channels=10))), 2)) == [16, 20]


def test_what_cannot_be_multiplied_is_refused():
    with pytest.raises(ValueError, match="bn_ff has no numbers of channels to multiply; choose the engine's"):
        widened(fm.bn_ff(3), 2)
    with pytest.raises(ValueError, match="no numbers of channels"):
        widened(fm.Network((fm.Flatten(), fm.Dense(10))), 2)
    with pytest.raises(ValueError, match="factor must be a finite positive number, not 0"):
        widened(NETS["resnet18"](), 0)
    with pytest.raises(ValueError, match="channels must be a whole number from 1 to 1000000"):
        widened(NETS["resnet18"](), 1e6)
    assert of_width(fm.bn_ff(3), 64) == fm.bn_ff(3)


def test_a_dense_layer_at_the_end_of_a_branch_is_no_classifier():
    unit = fm.Residual([fm.Dense(channels=12), fm.ReLU(), fm.Dense(channels=3)])
    assert numbers(widened(fm.Network([unit]), 2.0)) == [24, 6]


def test_a_classifier_in_a_stage_keeps_its_classes():
    head = fm.Network([fm.GlobalAvgPool(), fm.Dense(channels=10)])
    assert numbers(widened(fm.Network([fm.Conv(channels=4), head]), 2.0)) == [8, 10]
