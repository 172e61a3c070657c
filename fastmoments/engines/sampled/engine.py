"""The engine that simulates: its options, and what a run of it takes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from ...images.batches import Batch
from ...nets.network import Network
from ...validation import MOST, one_of, whole
from ..protocol import Plan, Shape

if TYPE_CHECKING:
    from .walk import SampledRun

#: How a Conv may be drawn.
DRAWS = ("auto", "weights", "gram")


@dataclass(frozen=True)
class Sampled:
    """Moments of random nets by simulation: the ground truth of the other engines.

    Parameters
    ----------
    width : int
        Channels behind every Conv.
    nets : int
        How many. Each has a random stream of its own: net k is the same whatever their number.
    seed : int
    draw : {"auto", "weights", "gram"}
        How a Conv is drawn. "weights": its weights, applied to signal and noise. "gram": its output
        channels, which given the input are independent Gaussian vectors over the points of signal
        and noise, with the Gram matrix of the patches as covariance; the same law, other numbers.
        "auto": per layer, whichever takes fewer operations; in a wide fully connected net "gram"
        up to about one point to four channels.

    Raises
    ------
    ValueError
        If a parameter is out of range.
    """

    width: int = 256
    nets: int = 10
    seed: int = 0
    draw: str = "auto"

    method: ClassVar[str] = "sampled"
    dtype: ClassVar[str] = "float32"

    def __post_init__(self) -> None:
        whole("width", self.width, 1, MOST)
        whole("nets", self.nets, 1, MOST)
        whole("seed", self.seed, 0)
        one_of("draw", self.draw, DRAWS)

    def prepare(self, network: Network, batch: Batch, plan: Plan) -> SampledRun:
        """A run; see `Engine.prepare`."""
        from .walk import SampledRun

        return SampledRun(
            network, batch.values, width=self.width, nets=self.nets, seed=self.seed, draw=self.draw,
            depths=plan.depths, reff_locs=plan.reff_locs,
        )  # fmt: skip

    def drawn(self, images: int) -> dict[str, int]:
        """All images are one batch."""
        return {}

    def memory(self, network: Network, shape: Shape, plan: Plan) -> int:
        """Right to about a tenth."""
        from . import costs

        return costs.memory(network, shape, self.width)

    def seconds(self, network: Network, shape: Shape, plan: Plan, threads: int) -> None:
        """Not known."""

    def smaller(self, network: Network) -> list[Sampled]:
        """There is no other way."""
        return []
