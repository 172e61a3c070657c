"""What is read off a net."""

from fastmoments.engines.finite_width.shared.units import convolutions, layers_of, residual_of, stem_of
from fastmoments.nets.activations import ReLU
from fastmoments.nets.families import bn_ff, bn_res
from fastmoments.nets.linear import Conv
from fastmoments.nets.network import Residual
from fastmoments.nets.norms import BatchNorm


def test_a_unit_with_a_skip_is_its_branch():
    unit = bn_res(depth=1, kernel_size=1, res_depth=1).units[0]
    assert isinstance(residual_of(unit), Residual)
    assert [type(layer) for layer in layers_of(unit)] == [BatchNorm, ReLU, Conv]


def test_a_unit_without_a_skip_is_itself():
    unit = bn_ff(depth=1, kernel_size=1).units[0]
    assert residual_of(unit) is None
    assert layers_of(unit) == unit
    assert convolutions(unit) == [unit[0]]


def test_a_stem_is_there_or_not():
    net = bn_ff(depth=1, kernel_size=1)
    assert stem_of(net) == net.stem[0]
    assert stem_of(bn_ff(depth=1, kernel_size=1, input_conv=False)) is None
