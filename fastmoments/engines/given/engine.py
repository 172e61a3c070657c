"""The engine of one given net: its options, and what a run of it takes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from ...images.batches import Batch
from ...nets.network import Network
from ...validation import MOST, one_of, whole
from ..protocol import Plan, Shape

if TYPE_CHECKING:
    from .walk import GivenRun

#: How covariances may be stored.
STORAGES = ("dense", "stationary")


@dataclass(frozen=True)
class GivenNetwork:
    """Moments of one given net over random inputs: of its own weights, not of nets drawn at initialisation.

    Mean and full covariance go through the net, exactly in every linear layer, and in every activation as if
    what comes to it were Gaussian: better the more summands it has. Inputs are Gaussian, of the mean and
    covariance of the images, or of `gaussian_images`.

    Parameters
    ----------
    storage : {"dense", "stationary"}
        "dense": of all channels at all positions, for small nets. "stationary": of channels by displacement,
        what is the same at all positions of an image without borders; of images it takes the mean over
        positions. Fast at any width; it needs periodic padding and no `Flatten`.
    check : int
        So many inputs are sampled and sent through the same weights; what they give stands beside. 0: none.
    seed : int
        Of these samples.

    Raises
    ------
    ValueError
        If a parameter is out of range.
    """

    storage: str = STORAGES[0]
    check: int = 0
    seed: int = 0

    method: ClassVar[str] = "given"
    dtype: ClassVar[str] = "float64"
    width: ClassVar[None] = None
    nets: ClassVar[None] = None

    def __post_init__(self) -> None:
        one_of("storage", self.storage, STORAGES)
        whole("check", self.check, 0, MOST)
        if 0 < self.check < FEWEST:
            raise ValueError(f"check must be 0 or at least {FEWEST} samples, not {self.check}.")
        whole("seed", self.seed, 0)

    def prepare(self, network: Network, batch: Batch, plan: Plan) -> GivenRun:
        """A run; see `Engine.prepare`."""
        from .walk import GivenRun

        return GivenRun(
            network, batch, storage=self.storage, check=self.check, seed=self.seed,
            depths=plan.depths, reff_locs=plan.reff_locs,
        )  # fmt: skip

    def drawn(self, images: int) -> dict[str, int]:
        """All images are one batch."""
        return {}

    def memory(self, network: Network, shape: Shape, plan: Plan) -> int:
        """Right to about a third."""
        from . import costs

        return costs.memory(network, (shape[1:3], shape[3]), self.storage) + costs.of_samples(
            network, (shape[1:3], shape[3]), self.check
        )

    def seconds(self, network: Network, shape: Shape, plan: Plan, threads: int) -> None:
        """Not known."""

    def smaller(self, network: Network) -> list[GivenNetwork]:
        """`storage` is not another way to the same answer."""
        return []


#: Samples that show a standard error.
FEWEST = 1000
