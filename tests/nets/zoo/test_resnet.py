"""Residual nets with batch norm."""

import pytest
from trained import trained

import fastmoments as fm
from fastmoments.nets import zoo

#: As PyTorch's model zoo counts them.
PARAMETERS = {
    "resnet18": 11_689_512, "resnet34": 21_797_672, "resnet50": 25_557_032, "resnet101": 44_549_160,
    "resnet152": 60_192_808,
}  # fmt: skip


@pytest.mark.parametrize("name", PARAMETERS)
def test_as_many_numbers_as_published(name):
    assert trained(zoo.NETS[name]()) == PARAMETERS[name]


def test_a_wide_net_is_as_large_as_published():
    assert trained(zoo.NETS["wide-resnet-28-10"](), 32) == pytest.approx(36.5e6, rel=1e-3)


@pytest.mark.parametrize("name", ["resnet20", "resnet20-v2"])
def test_the_last_gamma_is_the_factor_on_a_branch(name):
    net = zoo.NETS[name](last_gamma=0.25)
    units = [layer for layer in net.layers if isinstance(layer, fm.Residual)]
    assert {unit.scale for unit in units} == {0.25}
    images = fm.load_images("synthetic:32x32x3", 2)
    shut = fm.scan(zoo.NETS[name](last_gamma=0.0), images)
    # The second and third unit of a stage are their shortcuts.
    assert shut["chi", "merge"][1] == pytest.approx(shut["chi", "merge"][2], rel=1e-12)


def test_batch_norm_with_that_gamma_is_the_same():
    """In v1 it stands at the end of the branch."""
    images = fm.load_images("synthetic:8x8x3", 3)
    (unit, relu) = zoo.resnet.unit_v1(8, 8, 1, False, 0.3)
    gamma = fm.Residual((*unit.branch[:-1], fm.BatchNorm(1e-5, gamma=0.3)))
    ours, theirs = (fm.scan(fm.Network([each, relu], [fm.Conv()]), images) for each in (unit, gamma))
    assert ours["chi"][-1] == pytest.approx(theirs["chi"][-1], rel=1e-9)
