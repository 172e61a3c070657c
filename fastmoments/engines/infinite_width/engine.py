"""The engine at infinite width: its options, and what a run of it takes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

from ...covariances.storage import DTYPES
from ...images.batches import Batch
from ...nets.network import Network
from ...validation import MOST, one_of, whole
from ..protocol import Plan, Shape

if TYPE_CHECKING:
    from .walk import InfiniteWidthWalk

#: How covariances may be convolved.
CONVOLUTIONS = ("auto", "direct", "fft")


@dataclass(frozen=True)
class InfiniteWidth:
    """Moments of infinitely wide nets, analytically.

    Exact but for what `Station.error` estimates: the quadrature of batch norm (1e-7) and, of large batches,
    the bulk of its spectrum (a few 1e-3 in the covariance of a layer), and for `Station.errors`, what the law
    behind merges that are activated leaves out.

    Parameters
    ----------
    convolution : {"auto", "direct", "fft"}
        How covariances are convolved; "auto" takes the faster.
    rank : int, optional
        Leading eigenpairs in batch norm; as many as matter if left out.
    dtype : {"float64", "float32"}
        Precision in which the signal's covariance is stored. "float32" takes half the memory and about half
        the time, and is refused for nets that have a unit with an activation but no batch norm.
    draws : int
        Channels drawn where there is no formula: max pooling, a depthwise Conv with an activation behind it,
        batch norm of what is not Gaussian. Their error falls as 1 / sqrt(draws) and stands with every station
        (``drawn``). A net that needs them in every unit is worth one of this width.
    seed : int
        Of those channels.

    Raises
    ------
    ValueError
        If a parameter is out of range.
    """

    convolution: str = "auto"
    rank: int | None = None
    dtype: str = DTYPES[0]
    draws: int = 16_384
    seed: int = 0

    method: ClassVar[str] = "infinite"
    width: ClassVar[None] = None
    nets: ClassVar[None] = None

    def __post_init__(self) -> None:
        one_of("convolution", self.convolution, CONVOLUTIONS)
        one_of("dtype", self.dtype, DTYPES)
        if self.rank is not None:
            whole("rank", self.rank)
        whole("draws", self.draws, 64, MOST)
        whole("seed", self.seed, 0)

    def prepare(self, network: Network, batch: Batch, plan: Plan) -> InfiniteWidthWalk:
        """A run; see `Engine.prepare`."""
        from .population import Draws
        from .walk import InfiniteWidthWalk

        return InfiniteWidthWalk(
            network, batch.values, depths=plan.depths, reff_locs=plan.reff_locs,
            convolution=self.convolution, rank=self.rank, dtype=self.dtype,
            draws=Draws(self.draws, self.seed),
        )  # fmt: skip

    def drawn(self, images: int) -> dict[str, int]:
        """All images are one batch."""
        return {}

    def memory(self, network: Network, shape: Shape, plan: Plan) -> int:
        """At least the peak, and at most twice that."""
        from . import costs

        return costs.memory(network, shape, self.dtype, self.draws)

    def seconds(self, network: Network, shape: Shape, plan: Plan, threads: int) -> float:
        """Right to about a factor of two."""
        from . import costs

        return costs.seconds(network, shape, plan, self.dtype, threads, self.draws)

    def smaller(self, network: Network) -> list[InfiniteWidth]:
        """The same question in less memory."""
        if self.dtype == "float32" or not network.spreading:
            return []
        return [replace(self, dtype="float32")]
