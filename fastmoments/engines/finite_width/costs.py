"""What the theories of finite width take in memory."""

from __future__ import annotations

import math

from ...nets.network import Network, Residual, output_grid
from ..infinite_width import costs
from ..protocol import PROCESS, Plan, Shape
from .convolutional import MOST_POINTS

#: Dense matrices over pairs of points that stand in memory at once, and further ones for every layer that is
#: carried back through (`python -m bench.finite_cost`): of nets with batch norm, and of plain ones.
NORMALISED, PLAIN, PER_LAYER = 40, 60, 1.0


def memory(network: Network, shape: Shape, plan: Plan) -> int:
    """Peak of memory of one batch, in bytes; right to about a third."""
    images, height, width, _ = shape
    if network.fully_connected:
        points, means = images, PROCESS
    else:
        means = costs.memory(network, shape, "float64")
        positions = math.prod(output_grid(network.stem, (height, width)))
        points = min(images * positions, max(2 * positions, MOST_POINTS))
    if network.normalised:
        return int(means + (8 * NORMALISED * points**2 if network.fully_connected else 0))
    layers = sum(2 if isinstance(unit[0], Residual) else 1 for unit in network.units)
    return int(means + 8 * (PLAIN + PER_LAYER * layers) * points**2)
