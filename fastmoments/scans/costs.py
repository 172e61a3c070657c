"""What a scan takes before it is begun, and the refusal of one that does not fit in memory."""

from __future__ import annotations

import math
import os
from collections.abc import Collection
from dataclasses import asdict, dataclass
from typing import cast

import numpy as np
from numpy.typing import ArrayLike

from ..engines.measured.engine import Measured, is_module
from ..engines.protocol import Engine, Plan, Shape, recorded_depths
from ..images.sources import Images, as_images
from ..memory import SAFE, free_memory, in_units
from ..nets.network import Network, output_grid
from ..validation import whole
from .engines import GIVEN, engine_of

#: Of the shape of a batch.
SIDES = ("images", "height", "width", "channels")


@dataclass(frozen=True)
class Estimate:
    """What a scan takes.

    Attributes
    ----------
    points : int
        M behind the stem.
    bytes : int
        Peak of memory, the process included.
    seconds : float or None
        Without compilation; right to about a factor of two from some 1,000 points on. None where the engine
        has no estimate.
    """

    points: int
    bytes: int
    seconds: float | None

    def to_dict(self) -> dict:
        """The estimate in plain values."""
        return asdict(self)


def estimate(
    network: Network, images: Images | ArrayLike | Shape, engine: Engine | str | None = None, *,
    every: int = 1, reff_locs: Collection[str] = ("act",), threads: int | None = None,
) -> Estimate:  # fmt: skip
    """Estimate the memory and time of a scan, without computing it.

    Parameters
    ----------
    network : Network, or torch.nn.Module
        A module is called once.
    images : Images, or array_like, or the shape (n, h, w, c) of one
    engine, every, reff_locs
        As for `scan`.
    threads : int, optional
        All cores if left out.

    Returns
    -------
    Estimate
    """
    chosen = engine_of(engine)
    gaussian = chosen.method == GIVEN
    sides = images if isinstance(images, tuple) else as_images(images, gaussian=gaussian).array.shape
    if len(sides) != 4:
        raise ValueError(f"a shape of images has four numbers (n, h, w, c), not {sides!r}.")
    n, h, w, c = (whole(name, side) for name, side in zip(SIDES, sides, strict=True))
    chosen = engine_of(engine, network)
    if isinstance(chosen, Measured) and is_module(network):
        given = np.random.default_rng(0).normal(size=(n, h, w, c)) if isinstance(images, tuple) else images
        network = cast(Network, chosen.traced(network, as_images(given, "auto"), True))
    shape: Shape = (n, 1, 1, h * w * c) if network.fully_connected else (n, h, w, c)
    plan = Plan(frozenset(recorded_depths(network.depth, every)), frozenset(reff_locs))
    points = n * math.prod(output_grid(network.stem, shape[1:3]))
    seconds = chosen.seconds(network, shape, plan, threads or os.cpu_count() or 1)
    return Estimate(points, chosen.memory(network, shape, plan), seconds)


def refuse_what_does_not_fit(engine: Engine, network: Network, shape: Shape, plan: Plan) -> None:
    """Refuse a scan that takes more memory than is free, and name smaller settings that fit.

    Raises
    ------
    ValueError
        In one sentence.
    """
    free, first = free_memory(), engine.memory(network, shape, plan)
    if free is None or first <= SAFE * free:
        return
    fits, count, needed = [], shape[0], first
    for smaller in engine.smaller(network):
        takes = smaller.memory(network, shape, plan)
        fits += [f"dtype {smaller.dtype} ({in_units(takes)})"] if takes <= SAFE * free else []
    while count > 2 and needed > SAFE * free:
        count = max(2, min(count - 1, int(0.98 * count)))
        needed = engine.memory(network, (count, *shape[1:]), plan)
    fits += [f"{count} images ({in_units(needed)})"] if needed <= SAFE * free else []
    advice = f"what fits: {', or '.join(fits)}" if fits else "use fewer positions per image"
    raise ValueError(f"This scan takes {in_units(first)} of memory, and {in_units(free)} are free; {advice}.")
