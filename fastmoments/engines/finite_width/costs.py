"""What the theories of finite width take in memory."""

from __future__ import annotations

import math

from ...nets.network import Network, output_grid
from ..infinite_width import costs
from ..protocol import PROCESS, Plan, Shape
from .plain_convolutional import feedforward as convolutional
from .plain_convolutional import residual as convolutional_residual
from .shared.units import residual_of

#: Dense matrices over pairs of points that stand in memory at once (`python -m bench.finite_cost`): of nets
#: with batch norm; of plain ones, without and with skips, and further ones for every layer; of plain
#: convolutional ones, without and with skips, on the few images that stand for the batch.
NORMALISED, PLAIN, RESIDUAL, PER_LAYER, PLAIN_CONVOLUTIONAL, RESIDUAL_CONVOLUTIONAL = (
    40,
    65,
    110,
    1.1,
    48,
    115,
)


def memory(network: Network, shape: Shape, plan: Plan) -> int:
    """Peak of memory of one batch, in bytes; right to about a fifth."""
    images, height, width, _ = shape
    if network.fully_connected:
        if network.normalised:
            return int(PROCESS + 8 * NORMALISED * images**2)
        residuals = [residual for unit in network.units if (residual := residual_of(unit)) is not None]
        layers = sum(len(each.branch) // 2 for each in residuals) if residuals else len(network.units)
        return int(PROCESS + 8 * ((RESIDUAL if residuals else PLAIN) + PER_LAYER * layers) * images**2)
    means = costs.memory(network, shape, "float64")
    if network.normalised:
        return means
    positions = math.prod(output_grid(network.stem, (height, width)))
    most, matrices = convolutional.MOST_POINTS, PLAIN_CONVOLUTIONAL
    if any(residual_of(unit) is not None for unit in network.units):
        most, matrices = convolutional_residual.MOST_POINTS, RESIDUAL_CONVOLUTIONAL
    points = min(images, max(2, most // positions)) * positions
    return int(means + 8 * matrices * points**2)
