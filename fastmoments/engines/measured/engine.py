"""The engine that measures modules of PyTorch: its options, and what a run of it takes."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from ...images.batches import Batch
from ...images.sources import Images
from ...nets.network import Network
from ...validation import MOST, one_of, whole
from ..protocol import Plan, Shape
from .redrawing import RESET, Reinit

if TYPE_CHECKING:
    from .run import MeasuredRun
    from .traced import TracedModule

#: What noise may do to the statistics of batch norm.
STATISTICS = ("frozen", "through")
#: Re-initialisations, if nothing is said.
NETS = 10


def is_module(value: object) -> bool:
    """Whether something is a module of PyTorch; does not import it."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.nn.Module)


@dataclass(frozen=True)
class Measured:
    """Moments of a module of PyTorch: no translation, any operator that has a derivative.

    Signal and noise go through the module together, by forward-mode differentiation. The module is in
    evaluation mode (dropout is the identity), but batch norm takes the batch's statistics, so that running
    ones are neither used nor changed. Afterwards the module is as it was.

    Parameters
    ----------
    nets : int, optional
        Re-initialisations, `NETS` if left out; without `reinit` the one module as it stands.
    reinit : None, "reset_parameters" or callable
        How parameters are drawn for each net: by the method of that name of every module that has one, or by
        a function of the whole module that changes it in place. Both draw from seeded generators of
        PyTorch, numpy and Python.
    seed : int
        Of noise and re-initialisation. Each net has a random stream of its own.
    batch_statistics : {"frozen", "through"}
        Whether mean and variance in batch norm are those of the signal, or are moved by the noise. Statistics
        that a module of one's own computes by other means than PyTorch's batch norm are always moved.
    device : str
        Where the module is.

    Raises
    ------
    ValueError
        If a parameter is out of range.
    """

    nets: int | None = None
    reinit: Reinit = None
    seed: int = 0
    batch_statistics: str = "frozen"
    device: str = "cpu"

    method: ClassVar[str] = "measured"
    width: ClassVar[None] = None
    dtype: ClassVar[str] = "of the module"

    def __post_init__(self) -> None:
        if self.nets is None:
            object.__setattr__(self, "nets", 1 if self.reinit is None else NETS)
        whole("nets", self.nets, 1, MOST)
        whole("seed", self.seed, 0)
        one_of("batch_statistics", self.batch_statistics, STATISTICS)
        if not isinstance(self.device, str):
            raise ValueError(f'device must be the name of one, such as "cpu", not {self.device!r}.')
        if not (self.reinit in (None, RESET) or callable(self.reinit)):
            raise ValueError(f'reinit must be None, "{RESET}" or a function, not {self.reinit!r}.')
        if self.reinit is None and self.nets != 1:
            raise ValueError(
                f"nets={self.nets} needs reinit, or all of them would be the same module; give "
                f'reinit="{RESET}" or a function that draws its parameters.'
            )

    def traced(self, module: object, images: Images, normalise: bool) -> TracedModule:
        """What the module does to the images, found out by calling it once: its stations and its depth.

        Raises
        ------
        ValueError
            In one sentence, if it is no module or cannot be called with a batch of images.
        """
        if not is_module(module):
            raise ValueError(
                f"fastmoments.Measured() measures modules of PyTorch, not {type(module).__name__}; leave "
                "engine out, or give another one."
            )
        from .traced import traced

        return traced(module, images.array, normalise, self.device)

    def prepare(self, network: Any, batch: Batch, plan: Plan) -> MeasuredRun:
        """A run on what `traced` gave; see `Engine.prepare`."""
        from .run import MeasuredRun

        return MeasuredRun(
            network, plan, nets=self.nets or 1, seed=self.seed, reinit=self.reinit,
            through=self.batch_statistics == "through",
        )  # fmt: skip

    def drawn(self, images: int) -> dict[str, int]:
        """All images are one batch."""
        return {}

    def memory(self, network: Any, shape: Shape, plan: Plan) -> int:
        """A bound, of all that the module makes."""
        return int(network.memory * shape[0] / network.images)

    def seconds(self, network: Any, shape: Shape, plan: Plan, threads: int) -> float:
        """By how long the call took that found out what the module does."""
        return 6.0 * network.seconds * (self.nets or 1)

    def smaller(self, network: Network) -> list[Measured]:
        """There is no other way."""
        return []
