"""The engine at finite width: its options, and what a run of it takes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from ...images.batches import Batch
from ...nets.network import Network
from ...validation import whole
from ..protocol import Plan, Shape

if TYPE_CHECKING:
    from .run import FiniteWidthRun

#: Width at which 1 / width is below the rounding of everything.
MOST_WIDTH = 10**16
#: Batches that are drawn if only their size is given.
BATCHES = 8


@dataclass(frozen=True)
class FiniteWidth:
    """Mean and standard deviation over random nets of a given width, analytically (`docs/finite-width.md`).

    Means to O(1 / width) a layer, deviations to leading order.

    Parameters
    ----------
    width : int
        Channels behind every layer.
    batch, batches : int, optional
        So many batches (`BATCHES` if left out) of so many of the images, drawn anew, each normalised by
        itself. Their means are averaged and the variance between them is added. Left out, all images are
        one batch.
    seed : int
        Of the batches.

    Raises
    ------
    ValueError
        If a parameter is out of range.
    """

    width: int = 256
    batch: int | None = None
    batches: int | None = None
    seed: int = 0

    method: ClassVar[str] = "finite"
    nets: ClassVar[None] = None
    dtype: ClassVar[str] = "float64"

    def __post_init__(self) -> None:
        whole("width", self.width, 1, MOST_WIDTH)
        whole("seed", self.seed, 0)
        if self.batch is not None:
            whole("batch", self.batch)
        if self.batches is not None:
            whole("batches", self.batches)
            if self.batch is None:
                raise ValueError("batches says how many batches to draw; say of how many images with batch.")

    def prepare(self, network: Network, batch: Batch, plan: Plan) -> FiniteWidthRun:
        """A run; see `Engine.prepare`."""
        from .run import FiniteWidthRun

        return FiniteWidthRun(network, self._batches(batch), width=self.width, depths=plan.depths)

    def drawn(self, images: int) -> dict[str, int]:
        """Size and number of the batches, if some are drawn."""
        return {} if self.batch is None else {"batch": self.batch, "batches": self.batches or BATCHES}

    def _batches(self, batch: Batch) -> list[np.ndarray]:
        if self.batch is None:
            return [batch.values]
        images = len(batch.array)
        if not 2 <= self.batch <= images:
            raise ValueError(f"batch must be a whole number from 2 to the {images} images, not {self.batch}.")
        streams = np.random.SeedSequence(self.seed).spawn(self.batches or BATCHES)
        generators = map(np.random.default_rng, streams)
        return [batch.chosen(rng.choice(images, self.batch, replace=False)) for rng in generators]

    def memory(self, network: Network, shape: Shape, plan: Plan) -> int:
        """Right to about a fifth."""
        from . import costs

        return costs.memory(network, (self.batch or shape[0], *shape[1:]), plan)

    def seconds(self, network: Network, shape: Shape, plan: Plan, threads: int) -> None:
        """Not known."""

    def smaller(self, network: Network) -> list[FiniteWidth]:
        """There is no other way."""
        return []
