"""A module of PyTorch measured over many draws, beside the net at infinite width that it is translated to.

Their stations are matched by the translation, which knows where each layer comes from. Moments of random nets
differ from those at infinite width by a bias a / width: of modules at several widths the differences are
extrapolated, at one width they are given as they are.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ..engines.infinite_width.engine import InfiniteWidth
from ..engines.measured.engine import Measured, is_module
from ..engines.protocol import Engine, Passage, Station
from ..images.sources import Images, as_images
from ..nets.dense import Dense
from ..nets.network import Network, walk
from ..nets.torch import translated
from ..validation import whole
from .comparisons import (
    Comparison,
    Verification,
    extrapolate,
    is_rank,
    known_moments,
    mean_logarithm,
    usual_threshold,
)  # fmt: skip
from .results import Scan
from .scanning import scan

#: What is compared unless told otherwise, at every station that both have.
MODULE_MOMENTS = ("chi", "mu2_signal", "nu2_signal")

#: Moments over nets at a station, by path: logarithms, and "error".
_At = dict[str, dict[str, list[float]]]


def verify_module(
    make: Callable[..., Any],
    images: Images | ArrayLike,
    *,
    widths: Iterable[int] = (),
    nets: int = 40,
    seed: int = 0,
    init: str = "measured",
    moments: Iterable[str] = MODULE_MOMENTS,
    threads: int | None = None,
    progress: Callable[[str, Station | Passage], None] | None = None,
) -> Verification:
    """Compare the analytic moments of a module of PyTorch with those measured in it.

    Parameters
    ----------
    make : callable
        Makes the module, drawing its parameters: of one of the widths, if some are given, else of nothing.
    images : Images or array_like
        As for `scan`; few and small ones.
    widths : sequence of int
        To extrapolate from, at least two; without, the difference holds a bias of order 1 / width.
    nets : int
        How often the module is made at each width, at least 8.
    seed : int
        Of the parameters and the noise. What else `make` draws without a seed of its own comes from it too.
    init : str
        As of `from_torch`. By "measured" variances are means over all modules that were made.
    moments : sequence of str
    threads : int, optional
    progress : callable, optional
        As of `verify`.

    Returns
    -------
    Verification
        Whose rows have paths of the module in the place of stations.

    Raises
    ------
    ValueError
        In one sentence: if an argument is out of range, or the module cannot be measured or translated.
    """
    widths = tuple(sorted({whole("all of widths", width, 1) for width in widths}))
    if len(widths) == 1:
        raise ValueError(f"widths must hold at least two different widths to extrapolate from, not {widths}.")
    nets = whole("nets", nets, 8, why=", for standard errors")
    seed = whole("seed", seed, 0)
    names = known_moments(moments)
    images = as_images(images)
    example = np.moveaxis(images.array[:1], -1, 1)
    found: list[tuple[dict[str, str], _At, _At]] = []
    seconds = 0.0
    seeds = np.random.SeedSequence(seed).generate_state(max(1, len(widths))).tolist()
    for width, own in zip(widths or (None,), seeds, strict=True):
        given = () if width is None else (width,)
        stage = "measuring" if width is None else f"width {width}"
        ranks = ("act",) if any(map(is_rank, names)) else ()

        def run(net: Any, engine: Engine, what: str, ranks: Sequence[str] = ranks) -> tuple[Scan, _At]:
            stations: list[Station] = []

            def take(event: Station | Passage) -> None:
                if isinstance(event, Station):
                    stations.append(event)
                if progress is not None:
                    progress(what, event)

            result = scan(net, images, engine, reff_locs=ranks, threads=threads, progress=take)
            return result, _by_path(stations)

        draws = _Draws(make, given)
        measured, sampled = run(draws.module, Measured(nets, draws, own), stage)
        network, places = translated(draws.typical(), example, init=init)
        infinite, analytic = run(network, InfiniteWidth(), f"{stage}, analytic")
        found.append((_inner(network, places), analytic, sampled))
        seconds += measured.provenance["seconds"] + infinite.provenance["seconds"]
    rows = tuple(_compared(names, widths, found, _depths(network)))
    if not rows:
        raise ValueError(f"The module and its net have no station in common with {', '.join(names)}.")
    return Verification(
        rows=rows, threshold=usual_threshold(len(rows), nets), architecture=network.architecture(),
        data=infinite.data, method="measured", widths=widths, nets=nets, seconds=seconds,
    )  # fmt: skip


def remade(make: Callable[[], Any]) -> Callable[[Any], object]:
    """A re-initialisation of `Measured`: the parameters of a module that is made anew."""
    return lambda module: module.load_state_dict(make().state_dict())


class _Draws:
    """A module that is made anew for every net, and the squares of the parameters that this gave."""

    def __init__(self, make: Callable[..., Any], given: tuple[int, ...]) -> None:
        self.make, self.given = make, given
        self.module = self.made()
        self.squares: dict[str, Any] = {}
        self.count = 0

    def made(self) -> Any:
        """A new one."""
        module = self.make(*self.given)
        if not is_module(module):
            raise ValueError(f"make gives a {type(module).__name__}, and not a torch.nn.Module.")
        return module

    def __call__(self, module: Any) -> None:
        """Draw the parameters of a net: as those of a module that is made."""
        remade(self.made)(module)
        self.count += 1
        for name, value in module.named_parameters():
            self.squares[name] = self.squares.get(name, 0.0) + value.detach().double() ** 2

    def typical(self) -> Any:
        """A module whose parameters have, one by one, the mean square of all that were drawn."""
        for name, value in self.module.named_parameters():
            root = (self.squares[name] / self.count).sqrt().to(value.dtype)
            value.data.copy_(root.where(value >= 0.0, -root))
        return self.module


def _by_path(stations: Iterable[Station]) -> _At:
    """Logarithms of the moments and numerical errors over nets; a place may be told twice."""
    values: _At = {}
    for station in {(station.path, station.net): station for station in stations}.values():
        at = values.setdefault(station.path, {"error": []})
        at["error"].append(station.error)
        for name, value in station.moments.items():
            at.setdefault(name.removeprefix("log_"), []).append(value)
    return values


def _inner(network: Network, places: Mapping[str, str]) -> dict[str, str]:
    """The places before the classifier: of few outputs the moments have a bias that no width takes away."""
    paths = [path for path, layer in walk((network,), "")]
    dense = [path for path, layer in walk((network,), "") if isinstance(layer, Dense)]
    inner = set(paths[: paths.index(dense[-1])] if network.outputs is not None and dense else paths)
    return {origin: path for origin, path in places.items() if path in inner}


def _depths(network: Network) -> dict[str, int]:
    """Units of depth by paths of layers; 0 in the stem."""
    return {place.path: depth for depth in range(1, network.depth + 1) for place in network.places(depth)}


def _compared(
    names: Sequence[str], widths: Sequence[int], found: Sequence[tuple[dict[str, str], _At, _At]],
    depths: Mapping[str, int],
) -> Iterator[Comparison]:  # fmt: skip
    """Yield the comparisons at all stations that module and net have in common."""
    for origin, path in found[-1][0].items():
        for name in names:
            if not all(
                name in analytic.get(places.get(origin, ""), {}) and name in sampled.get(origin, {})
                for places, analytic, sampled in found
            ):
                continue
            differences, errors, own = [], [], 0.0
            for places, analytic, sampled in found:
                (exact,), (own,) = (analytic[places[origin]][key] for key in (name, "error"))
                exact = math.log(exact) if is_rank(name) else exact
                mean, error = mean_logarithm(name, sampled[origin])
                differences.append(mean - exact)
                errors.append(max(error, float(np.finfo(np.float32).eps)))
            difference, error = differences[0], errors[0]
            if widths:
                difference, error = extrapolate(widths, differences, errors)
            yield Comparison(
                name, origin, depths.get(path, 0), exact, exact + difference, math.hypot(error, own)
            )
