"""Residual nets without batch norm, which begin as their shortcuts."""

import pytest
from trained import trained

import fastmoments as fm
from fastmoments.nets import zoo

#: In millions, as the residual nets of the same depth, whose batch norms are few numbers.
PARAMETERS = {20: 0.27, 56: 0.85, 110: 1.7}
IMAGES = fm.load_images("synthetic:32x32x3", 2)


@pytest.mark.parametrize("kind", ["fixup", "skipinit"])
@pytest.mark.parametrize("depth", PARAMETERS)
def test_as_large_as_published(kind, depth):
    net = zoo.NETS[f"{kind}-resnet{depth}"]()
    assert not net.has(fm.BatchNorm)
    assert trained(net, 32) == pytest.approx(1e6 * PARAMETERS[depth], rel=0.03)
    norms = 2 * (16 + 2 * 16 * (depth - 2) // 6 * 7)  # of resnet20, 56, 110, but for projections
    with_norms = trained(zoo.NETS[f"resnet{depth}"](), 32)
    assert with_norms - trained(net, 32) in (norms, norms + 2 * (32 + 64))


def test_of_bottlenecks():
    """53,120 numbers of ResNet-50 are those of batch norms."""
    for kind in ("fixup", "skipinit"):
        assert trained(zoo.NETS[f"{kind}-resnet50"]()) == 25_557_032 - 53_120


def test_fixup_shrinks_all_convolutions_but_the_last():
    """54 branches of two convolutions, 16 of three."""
    for name, factor in (("fixup-resnet110", 54.0**-1.0), ("fixup-resnet50", 16.0**-0.5)):
        units = [layer for layer in zoo.NETS[name]().layers if isinstance(layer, fm.Residual)]
        unit = units[-1]
        convs = [layer for layer in unit.branch if isinstance(layer, fm.Conv)]
        before = convs[-1].channels  # of an identity shortcut
        for conv in convs:
            he = 2.0 * before / conv.channels
            expected = he if conv is convs[-1] else factor * he
            assert conv.weights.gain == pytest.approx(expected, rel=1e-12)
            before = conv.channels
        assert unit.scale == 0.0 and not unit.shortcut


@pytest.mark.parametrize(("name", "factor"), [("fixup-resnet20", "last"), ("skipinit-resnet20", "alpha")])
def test_units_begin_as_their_shortcuts_and_open(name, factor):
    shut = fm.scan(zoo.NETS[name](), IMAGES)
    assert shut["chi", "merge"][1] == pytest.approx(shut["chi", "merge"][2], rel=1e-12)
    opened = fm.scan(zoo.NETS[name](**{factor: 1.0}), IMAGES)
    assert opened["nu2_signal", "merge"][1] < opened["nu2_signal", "merge"][2]
