"""What a scan takes before it is begun: its memory, which is certain, and its time, which is a guess."""

from __future__ import annotations

import math
import time

import numpy as np

from ...maps.laws import DATA, between_units, check
from ...nets.concat import concatenated_channels
from ...nets.network import Network, output_grid, unrolled
from ...nets.norms import BatchNorm
from ..protocol import PROCESS, Plan, Shape, Wanted
from . import rates
from .account import Account, Where

SPEED_UP = 0.85  # exponent of the number of threads
# Noise that moves statistics: matrices of all points that stand at once. Drawn channels: copies of a batch.
MOVING, FLOWS = 14, 3.5
# Values of a point beside the covariance: of a Lanczos recursion, of the eigenvectors in a batch norm.
LANCZOS, EIGENVECTORS = 96, 8 * 72
# And of the laws of channels behind a merge, before and after a layer, at the share of a branch some 50 units
# deep; bytes of their tables (`python -m bench.zoo`: resnet20).
CHANNELS, TABLES = 4 * 300, 40e6


def account(network: Network, shape: Shape, dtype: str, draws: int = 0, plan: Plan | None = None) -> Account:
    """What the layers of a net take, on images of a shape as the engine takes them."""
    images, height, width, channels = shape
    concatenated_channels(network, shape)  # or it is refused
    starts = check(network)
    wanted = Wanted(network) if plan is None else Wanted(network, plan.depths, plan.reff_locs)
    at = Where((height, width), DATA, images=True)
    found = Account(images, channels, np.dtype(dtype).itemsize, wanted, draws, at)
    found.through(at, list(unrolled(network.stem, "", "stem")), starts=starts)
    for depth in range(1, network.depth + 1):
        at.law = between_units(at.law)
        wanted.begin(depth)
        if wanted.entrance is not None:
            found.measure(at, wanted.entrance)
        found.through(at, list(network.unit(depth)), starts=starts)
    return found


def memory(network: Network, shape: Shape, dtype: str, draws: int = 0) -> int:
    """Peak of memory of a walk at infinite width, in bytes: at least the peak, and at most twice that."""
    images, height, width, channels = shape
    found = account(network, shape, dtype, draws)
    points = images * math.prod(output_grid(network.stem, (height, width)))
    beside: float = 3 * found.noise + LANCZOS * points + 4 * images * height * width * channels
    beside += MOVING * found.joint**2
    if network.has(BatchNorm):
        beside += EIGENVECTORS * points
    beside += CHANNELS * found.laws
    drawn = 4 * FLOWS * found.batch + max(found.factoring, 4 * found.factored**2 + 4 * found.population)
    return int(found.peak + 8 * beside + drawn + (TABLES if found.laws else 0) + PROCESS)


def seconds(network: Network, shape: Shape, plan: Plan, dtype: str, threads: int, draws: int = 0) -> float:
    """Time of a walk at infinite width, compilation apart; right to about a factor of two."""
    found = account(network, shape, dtype, draws, plan)
    shared = found.copies * _seconds_per_byte() + found.shared
    alone = rates.SCAN_SECONDS + found.seconds + rates.SECONDS_PER_PRODUCT * found.products
    return shared / threads**SPEED_UP + alone


def _seconds_per_byte() -> float:
    """How long this machine takes to copy a byte, out of its caches."""
    source = np.ones(2**23)
    target = np.empty_like(source)
    best = np.inf
    for _ in range(3):
        start = time.thread_time()  # not that of other programs
        np.copyto(target, source)
        best = min(best, time.thread_time() - start)
    return best / source.nbytes
