"""Depthwise convolutions and layer norm."""

from trained import trained

import fastmoments as fm
from fastmoments.nets import zoo


def test_as_many_numbers_as_published():
    """PyTorch's model zoo counts 28,589,128, a scale for every channel of every branch included."""
    net = zoo.NETS["convnext-tiny"]()
    units = [layer for layer in net.layers if isinstance(layer, fm.Residual)]
    assert trained(net, biases=True) + sum(unit.branch[-1].channels for unit in units) == 28_589_128


def test_all_weights_have_the_deviation_of_a_fiftieth():
    """A gain is a variance times the channels before and the taps."""
    net = zoo.NETS["convnext-tiny"](scale=0.5)
    unit = next(layer for layer in net.layers if isinstance(layer, fm.Residual))
    depthwise, _, wide, _, narrow = unit.branch
    gains = [depthwise.weights.gain, wide.weights.gain, narrow.weights.gain, net.stem[0].weights.gain]
    assert gains == [0.02**2 * fan_in for fan_in in (49, 96, 4 * 96, 48)] and unit.scale == 0.5
