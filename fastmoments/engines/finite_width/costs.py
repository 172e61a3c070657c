"""What the theories of finite width take in memory."""

from __future__ import annotations

import math

from ...nets.network import Network, output_grid
from ..infinite_width import costs
from ..protocol import PROCESS, Plan, Shape
from .plain_convolutional.feedforward import MOST_POINTS
from .shared.units import residual_of

#: Dense matrices over pairs of points that stand in memory at once (`python -m bench.finite_cost`): of nets
#: with batch norm; of plain ones, without and with skips, and further ones for every layer; of plain
#: convolutional ones, on the few images that stand for the batch.
NORMALISED, PLAIN, RESIDUAL, PER_LAYER, PLAIN_CONVOLUTIONAL = 40, 65, 110, 1.1, 48


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
    points = min(images, max(2, MOST_POINTS // positions)) * positions
    return int(means + 8 * PLAIN_CONVOLUTIONAL * points**2)
