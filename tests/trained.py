"""How many numbers of a net are trained, to compare with published counts."""

from fastmoments.nets.concat import Concat
from fastmoments.nets.dense import Dense
from fastmoments.nets.layer_norm import LayerNorm
from fastmoments.nets.linear import Conv
from fastmoments.nets.network import Residual, unrolled
from fastmoments.nets.norms import BatchNorm


def count(layers, channels, grid, biases=False):
    """Numbers that are trained in a stack, and the channels and positions behind it.

    A Conv has biases where `biases` says so, a Dense always.
    """
    total = 0
    for _, layer in unrolled(layers, "", ""):
        after = layer.output_channels(channels, grid, 0)
        if isinstance(layer, Residual | Concat):
            total += sum(count(getattr(layer, name), channels, grid, biases)[0] for name in layer.stacks)
        elif isinstance(layer, Conv):
            seen = 1 if layer.channelwise else channels
            total += layer.kernel_size**2 * seen * after + (after if biases else 0)
        elif isinstance(layer, Dense):
            total += channels * after + after
        elif isinstance(layer, BatchNorm | LayerNorm):
            total += 2 * channels
        channels, grid = after, layer.output_grid(grid)
    return total, channels, grid


def trained(net, size=224, biases=False):
    """Of a whole net, on colour images; it must end in one position."""
    total, _, grid = count((*net.stem, *net.layers), 3, (size, size), biases)
    assert grid == (1, 1)
    return total
