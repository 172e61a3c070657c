"""A perceptron."""

from trained import trained

from fastmoments.nets import zoo


def test_its_layers():
    net = zoo.mlp(depth=2, width=100)
    assert net.depth == 3
    assert trained(net, 8) == (8 * 8 * 3 * 100 + 100) + (100 * 100 + 100) + (100 * 10 + 10)
