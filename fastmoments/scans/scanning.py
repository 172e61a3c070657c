"""The scan of a net: from images to curves over depth, whichever engine computes them."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from typing import cast

import numpy as np
from numpy.typing import ArrayLike

from .. import __version__
from ..engines.measured.engine import Measured, is_module
from ..engines.protocol import Engine, Passage, Plan, Run, Station, recorded_depths
from ..images.batches import Batch
from ..images.sources import Images, as_images
from ..nets.network import LOCS, Network, output_grid
from ..validation import truth, whole
from .costs import Estimate, estimate, refuse_what_does_not_fit
from .engines import GIVEN, engine_of
from .journal import Journal
from .results import Scan, assembled

#: Values in the signal, points times channels, from which on BLAS gets more than one thread.
BLAS_VALUES = 2**18

#: What is told of a scan on its way.
Progress = Callable[[Station | Passage], None]


def scan(
    network: Network,
    images: Images | ArrayLike,
    engine: Engine | str | None = None,
    *,
    every: int = 1,
    reff_locs: Collection[str] = ("act",),
    normalise: bool = True,
    classes: int | None = None,
    threads: int | None = None,
    journal: str | os.PathLike[str] | None = None,
    resume: bool = False,
    progress: Progress | None = None,
) -> Scan:
    """Compute the moments of signal and noise over the depth of a net.

    chi is the square root of noise over signal variance, each divided by its value on the images:
    ``sqrt((mu2_noise / mu2_signal) / (mu2_noise_0 / mu2_signal_0))``. How exact it is depends on the engine
    and stands in `Scan.provenance` (``layer_error``) and with every station (``error``).

    Parameters
    ----------
    network : Network, or torch.nn.Module
        A module of PyTorch is measured.
    images : Images, or array_like of shape (n, h, w, c), (n, c, h, w) or (n, h, w)
        Arrays are read as `load_images` does. A fully connected net flattens them.
    engine : InfiniteWidth, FiniteWidth, Sampled, Measured, or the name of one
        "infinite" (the default), "finite", "sampled" or "measured" (the default for a module) mean the
        engine with its default options.
    every : int
        Depths between the recorded ones; the last is always recorded.
    reff_locs : sequence of str
        Stations at which effective ranks are taken.
    normalise : bool
        Bring the images to mean 0 and variance 1 as the reference does (`images.sources.normalise`); False
        takes them as they are.
    classes : int, optional
        That are to be told apart, against which the verdict holds the directions of variance that are left;
        the outputs of a `Dense` at the end if left out.
    threads : int, optional
        All cores if left out. The numbers do not depend on it at infinite width.
    journal : path, optional
        File in which stations stand as they come, so that a scan that is interrupted loses little:
        `load_scan` reads it (name it .partial). Beside it a checkpoint of the engine, every minute or
        so, until the scan is complete.
    resume : bool
        Continue from the journal, to the same numbers; without one begin it.
    progress : callable, optional
        Called with every `Station` as it comes, and with a `Passage` where an engine whose stations come late
        says where it is.

    Returns
    -------
    Scan

    Raises
    ------
    ValueError
        In one sentence, if an argument is out of range, the images do not vary, or the net is not
        covered by the engine; if it needs more memory than is free; or if the journal is of another
        scan, damaged, being written by another process, or there and `resume` is False.
    OSError
        If the journal cannot be written; what it holds stays.

    Warns
    -----
    Notice
        If the checkpoint is damaged, so that the scan begins anew.
    """
    prepared = _prepare(network, images, engine, every, reff_locs, normalise, classes)
    threads = checked_threads(threads)
    start = time.perf_counter()
    # Small products gain nothing from a second BLAS thread, whose waiting costs much on a busy machine.
    values = (prepared.engine.width or 0) * prepared.batch.values[..., 0].size
    with limited_threads(threads, threads if values >= BLAS_VALUES else 1):
        if journal is None:
            stations = _collected(prepared.run, progress)
        else:
            with prepared.journal(journal, resume) as kept:
                stations = kept.stations
                if not kept.complete:
                    stations = prepared.run.attach(kept)
                    stations = stations + _collected(prepared.run, progress, kept)
                    kept.finish()
    took = {"seconds": round(time.perf_counter() - start, 3), "threads": threads}
    described = prepared.described | {"provenance": prepared.described["provenance"] | took}
    return assembled(described, stations, recorded_depths(prepared.network.depth, every))


def rehearsed(
    network: Network,
    images: Images | ArrayLike,
    engine: Engine | str | None = None,
    *,
    every: int = 1,
    reff_locs: Collection[str] = ("act",),
    normalise: bool = True,
    classes: int | None = None,
    threads: int | None = None,
    journal: str | os.PathLike[str] | None = None,
    resume: bool = False,
) -> Estimate:
    """What a scan takes, once all is checked that `scan` checks before it computes; arguments as there.

    Raises
    ------
    ValueError
        As `scan`.
    """
    prepared = _prepare(network, images, engine, every, reff_locs, normalise, classes)
    threads = checked_threads(threads)
    if journal is not None:
        prepared.journal(journal, resume).close()
    net, source = prepared.network, as_images(images, gaussian=prepared.engine.method == GIVEN)
    return estimate(net, source, prepared.engine, every=every, reff_locs=reff_locs, threads=threads)


@dataclass(frozen=True)
class _Prepared:
    """A scan before it is run: checked, and described in plain values.

    Attributes
    ----------
    run : Run
    network : Network
    engine : Engine
    batch : Batch
    plan : Plan
    described : dict
        The fields of the `Scan` that are known beforehand.
    options : dict
        What else a journal must have in common with the scan that goes on with it.
    """

    run: Run
    network: Network
    engine: Engine
    batch: Batch
    plan: Plan
    described: dict
    options: dict

    def journal(self, path: str | os.PathLike[str], resume: bool) -> Journal:
        """The journal of this scan, with its errors."""
        journal = Journal(path, self.described | {"options": self.options}, resume)
        try:
            journal.refuse_unknown(self.network, self.plan)
        except BaseException:
            journal.close()
            raise
        return journal


def _prepare(
    network: Network, images: Images | ArrayLike, engine: Engine | str | None, every: int,
    reff_locs: Collection[str], normalise: bool, classes: int | None,
) -> _Prepared:  # fmt: skip
    """Check all arguments, and say what is going to be computed."""
    whole("every", every)
    truth("normalise", normalise)
    if isinstance(reff_locs, str) or not all(loc in LOCS for loc in _iterated(reff_locs)):
        raise ValueError(
            f"reff_locs must be a sequence of stations among {', '.join(LOCS)}, not {reff_locs!r}."
        )
    chosen = engine_of(engine, network)
    source = as_images(images, gaussian=chosen.method == GIVEN)
    if isinstance(chosen, Measured):
        # It has all that a Network is asked for here.
        network = cast(Network, chosen.traced(network, source, normalise))
    else:
        checked_network(network)
    classes = network.outputs if classes is None else whole("classes", classes, 2)
    batch = Batch(source.array, normalise, network.fully_connected, source.covariance)
    plan = Plan(frozenset(recorded_depths(network.depth, every)), frozenset(reff_locs))
    run = chosen.prepare(network, batch, plan)
    refuse_what_does_not_fit(chosen, network, batch.shape, plan)
    options = {
        "every": every, "reff_locs": sorted(plan.reff_locs),
        "engine": {name: _named(value) for name, value in vars(chosen).items()},
        "values": sha256(batch.values.tobytes()).hexdigest(), **_given(network, batch, chosen),
    }  # fmt: skip
    described = _described(network, source, chosen, batch, classes)
    return _Prepared(run, network, chosen, batch, plan, described, options)


def _given(network: Network, batch: Batch, engine: Engine) -> dict:
    """Fingerprints of what only a given net depends on: its weights, and the covariance of inputs."""
    if engine.method != GIVEN or network.weights is None:
        return {}
    law = b"" if batch.covariance is None else batch.covariance.tobytes()
    return {"weights": network.weights.digest, "covariance": sha256(law).hexdigest()}


def _described(network: Network, images: Images, engine: Engine, batch: Batch, classes: int | None) -> dict:
    """The fields of a `Scan` that are known before it is run."""
    count = batch.shape[0]
    height, width = output_grid(network.stem, batch.shape[1:3])
    drawn = engine.drawn(count)
    points = drawn.get("batch", count) * height * width
    if batch.covariance is not None:
        points = math.prod(batch.shape) + 1  # of as many directions as a Gaussian law has
    return {
        "architecture": network.architecture(),
        "method": engine.method,
        "width": engine.width,
        "nets": engine.nets,
        "data": {
            "source": images.source,
            "images": count,
            "height": height,
            "width": width,
            "points": points,
            "seed": images.seed,
            **({"classes": classes} if classes is not None else {}),
            **({"notes": list(images.notes)} if images.notes else {}),
            **drawn,
        },
        "provenance": {"fastmoments": __version__, **_versions(), "dtype": engine.dtype},
    }


def _collected(run: Run, progress: Progress | None, journal: Journal | None = None) -> list[Station]:
    """All stations of a run, written down as they come."""
    stations = []
    for event in run:
        if isinstance(event, Station):
            stations.append(event)
            if journal is not None:
                journal.append(event)
        if progress is not None:
            progress(event)
    return stations


def checked_network(network: Network) -> None:
    """Refuse what is no net."""
    if is_module(network):
        raise ValueError(
            f"{type(network).__name__} is a module of PyTorch, which fastmoments.scan measures; "
            "leave engine out, or give fastmoments.Measured()."
        )
    if not isinstance(network, Network):
        raise ValueError(f"network must be a fastmoments Network, not {type(network).__name__}.")


def _named(option: object) -> object:
    """An option of an engine in plain values: a function by its name."""
    plain = option is None or isinstance(option, (bool, int, float, str))
    return option if plain else getattr(option, "__qualname__", type(option).__qualname__)


def _iterated(value: Iterable[object]) -> tuple[object, ...]:
    try:
        return tuple(value)
    except TypeError:
        return (None,)


def checked_threads(threads: int | None) -> int:
    """Of so many threads: all there are, if left out; more are refused."""
    from ..kernels.threads import available

    most = available()
    return most if threads is None else whole("threads", threads, 1, most)


@contextmanager
def limited_threads(threads: int, blas: int | None = None) -> Iterator[None]:
    """Run the kernels on so many threads and BLAS on `blas`, by default the same."""
    from threadpoolctl import threadpool_limits

    from ..kernels.threads import limited

    with limited(threads), threadpool_limits(blas or threads, user_api="blas"):
        yield


def _versions() -> dict:
    import numba
    import scipy

    return {"numba": numba.__version__, "numpy": np.__version__, "scipy": scipy.__version__}
