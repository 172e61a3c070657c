"""Plain stacks of convolutions."""

import pytest
from trained import trained

import fastmoments as fm
from fastmoments.nets import zoo

#: As PyTorch's model zoo counts them.
PARAMETERS = {
    "vgg11": 132_863_336, "vgg13": 133_047_848, "vgg16": 138_357_544, "vgg19": 143_667_240,
    "vgg11-bn": 132_868_840, "vgg13-bn": 133_053_736, "vgg16-bn": 138_365_992, "vgg19-bn": 143_678_248,
}  # fmt: skip


@pytest.mark.parametrize("name", PARAMETERS)
def test_as_many_numbers_as_published(name):
    net = zoo.NETS[name]()
    assert trained(net, biases=True) == PARAMETERS[name]
    assert net.has(fm.BatchNorm) == name.endswith("bn")
