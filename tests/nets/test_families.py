"""The presets."""

import numpy as np
import pytest

from fastmoments.nets import families
from fastmoments.nets.activations import ReLU
from fastmoments.nets.linear import Conv, Gaussian
from fastmoments.nets.norms import BatchNorm


def test_presets():
    for name, family in families.FAMILIES.items():
        network = family(7, 5, "zeros", 3, 0.1)
        assert (network.name, network.depth, network.kernel_size) == (name, 7, 5)
        assert network.stem == (Conv(5, weights=Gaussian(gain=1.0), stride=2, padding="zeros"),)
        assert family(7, 1).stem == (Conv(1, weights=Gaussian(gain=1.0)),)
        assert family(7, input_conv=False).stem == ()
        assert family(np.int64(3)).architecture()["depth"] == 3
        assert family(3, 1).fully_connected
        assert not network.fully_connected
        assert network.has(BatchNorm) == name.startswith("bn")
    assert len(families.bn_res(1, res_depth=3).layers[0].branch) == 9


def test_stacks_are_those_of_the_reference():
    conv, norm, relu = Conv(3, Gaussian(2.0)), BatchNorm(1e-3), ReLU()
    assert families.vanilla(2).layers == (conv, relu) * 2
    assert families.bn_ff(2).layers == (conv, norm, relu) * 2
    assert [unit.branch for unit in families.residual(2).layers] == [(relu, conv) * 2] * 2
    assert [unit.branch for unit in families.bn_res(2).layers] == [(norm, relu, conv) * 2] * 2
    assert all(unit.shortcut == () for unit in families.bn_res(2).layers)


@pytest.mark.parametrize("name", families.FAMILIES)
def test_a_preset_quotes_what_it_was_made_from(name):
    net = families.FAMILIES[name](3, gain=1.5, scale=0.5, input_conv=False)
    said = net.architecture()
    assert (said["name"], said["gain"], said["input_conv"]) == (name, 1.5, False)
    assert said.get("scale") == (0.5 if "res" in name else None)
    assert all(conv.weights.gain == 1.5 for conv in net.convolutions())
    assert not {"gain", "scale", "input_conv"} & set(families.FAMILIES[name](3).architecture())


def test_a_branch_has_a_number_of_layers_within_reason():
    """A billion of them would fill the memory before anything is said."""
    with pytest.raises(ValueError, match="bn_res: res_depth must be a whole number from 1 to 1000, not 1000"):
        families.bn_res(3, res_depth=10**9)
    families.vanilla(3, res_depth=10**9)  # means nothing there
