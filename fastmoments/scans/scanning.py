"""The scan of a net: from images to curves over depth, whichever engine computes them."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import contextmanager
from functools import partial
from hashlib import sha256

import numpy as np

from .. import __version__
from ..covariances.storage import DTYPES
from ..engines.protocol import Station, recorded_depths
from ..images.sources import as_images
from ..images.sources import normalise as normalised
from ..nets.layers import Conv
from ..nets.network import LOCS, Network
from .costs import refuse_what_does_not_fit
from .journal import Journal
from .results import Scan, assembled

METHODS = ("infinite", "finite", "sampled")

#: The options that not every method has, with the methods that do.
OWNERS = {
    "width": ("finite", "sampled"),
    "nets": ("sampled",),
    "batch": ("finite",),
    "batches": ("finite",),
    "rank": ("infinite",),
    "dtype": ("infinite",),
}

_ENGINES = {"infinite": "infinite-width", "finite": "finite-width", "sampled": "sampled"}

#: Values in the sampled signal, points times channels, from which on BLAS gets more than one thread.
BLAS_VALUES = 2**18


def scan(
    network: Network,
    images,
    *,
    method: str = "infinite",
    width: int | None = None,
    nets: int | None = None,
    batch: int | None = None,
    batches: int | None = None,
    seed: int = 0,
    every: int = 1,
    normalise: bool = True,
    reff_locs=("act",),
    convolution: str = "auto",
    rank: int | None = None,
    dtype: str = "float64",
    draw: str = "auto",
    threads: int | None = None,
    journal=None,
    resume: bool = False,
    progress: Callable[[Station], None] | None = None,
) -> Scan:
    """Compute the moments of signal and noise over the depth of a net.

    Parameters
    ----------
    network : Network
    images : Images, or array_like of shape (n, h, w, c) or (n, h, w)
        A fully connected net flattens them.
    method : {"infinite", "finite", "sampled"}
        At infinite width, analytically; mean and standard deviation over random nets of a given width,
        analytically (`finite_width.engine`: fully connected nets); or by simulating random nets.
    width : int, optional
        Finite and sampled: channels (default 256).
    nets, draw
        Sampled only: random nets (default 10), and how they are drawn (`sampling.sampled`).
    batch, batches : int, optional
        Finite only: so many batches (default 8) of so many of the images, drawn anew, each normalised by
        itself. Their means are averaged and the variance between them is added. Left out, all images
        are one batch.
    seed : int
        Of the random nets, or of the batches.
    every : int
        Depths between the recorded ones; the last is always recorded.
    normalise : bool
        Bring the images to mean 0 and variance 1 as the reference does (`data.normalise`); False takes
        them as they are.
    reff_locs : sequence of str
        Stations at which effective ranks are taken.
    convolution, rank
        Infinite width only: "auto", "direct" or "fft"; leading eigenpairs of batch norm.
    dtype : {"float64", "float32"}
        Infinite width only: precision in which the signal's covariance is stored. "float32" takes half the
        memory and about half the time, and is refused for nets that have a unit without batch norm.
    threads : int, optional
        All cores if left out. The numbers do not depend on it at infinite width.
    journal : path, optional
        File in which stations stand as they come, so that a scan that is interrupted loses little:
        `load_scan` reads it (name it .partial). Beside it a checkpoint of the engine, every minute or
        so, until the scan is complete.
    resume : bool
        Continue from the journal, to the same numbers; without one begin it.
    progress : callable, optional
        Called with every `moments.Station` as it comes. Its method `walk(batch, depth)`, if it has one, is
        called on the way to them by the finite engine, whose stations may come late.

    Returns
    -------
    Scan

    Raises
    ------
    ValueError
        In one sentence, if an argument is out of range, the images do not vary, or the net is not
        covered by the method; if it needs more memory than is free; or if the journal is of another
        scan, or there and `resume` is False.
    OSError
        If the journal cannot be written; what it holds stays.
    """
    if not isinstance(network, Network):
        raise ValueError(f"network must be a fastmoments Network, not {type(network).__name__}.")
    if method not in METHODS:
        raise ValueError(f"method must be one of {', '.join(METHODS)}, not {method!r}.")
    for name, value in (
        ("every", every),
        ("width", width),
        ("nets", nets),
        ("rank", rank),
        ("batch", batch),
        ("batches", batches),
    ):
        if value is not None or name == "every":
            _checked_whole(name, value, 1)
    _checked_whole("seed", seed, 0)
    if isinstance(reff_locs, str) or not set(LOCS).issuperset(_iterated(reff_locs)):
        raise ValueError(
            f"reff_locs must be a sequence of stations among {', '.join(LOCS)}, not {reff_locs!r}."
        )
    images = as_images(images)
    values = prepared(network, images.array, normalise)
    threads = _checked_threads(threads)
    given = {"width": width, "nets": nets, "batch": batch, "batches": batches, "rank": rank}
    given["dtype"] = None if dtype == DTYPES[0] else dtype
    for name, value in given.items():
        if value is not None and method not in OWNERS[name]:
            owner = '" or "'.join(OWNERS[name])
            raise ValueError(f'{name} belongs to method="{owner}"; the {_ENGINES[method]} engine has none.')
    if method != "infinite" and width is None:
        width = 256
    if method == "sampled":
        from ..engines.sampled.engine import sampled

        nets = 10 if nets is None else nets
        engine = partial(
            sampled, network, values, width=width, nets=nets, seed=seed, every=every, draw=draw,
            reff_locs=reff_locs,
        )  # fmt: skip
        engine()  # refuses what is wrong with them before anything is written
    elif method == "finite":
        from ..engines.finite_width.engine import FiniteWidth

        drawn = _drawn(network, images.array, normalise, batch, batches, seed)
        taken = drawn or [values]
        engine = FiniteWidth(network, taken, width=width, every=every)
        engine.watch = getattr(progress, "walk", None)
        refuse_what_does_not_fit(network, taken[0].shape, dtype)
    else:
        from ..engines.infinite_width import InfiniteWidth

        engine = InfiniteWidth(
            network, values, every=every, reff_locs=reff_locs, convolution=convolution, rank=rank, dtype=dtype
        )
        refuse_what_does_not_fit(network, values.shape, dtype)
    height, width_after = _size_behind_stem(network, values.shape)
    described = {
        "architecture": network.architecture(),
        "method": method,
        "width": width,
        "nets": nets,
        "data": {
            "source": images.source,
            "images": values.shape[0],
            "height": height,
            "width": width_after,
            "points": (batch or values.shape[0]) * height * width_after,
            "seed": images.seed,
            **({"batch": len(drawn[0]), "batches": len(drawn)} if method == "finite" and drawn else {}),
        },
        "provenance": {
            "fastmoments": __version__,
            **_versions(),
            "dtype": "float32" if method == "sampled" else dtype,
        },
    }
    start = time.perf_counter()
    # Small products gain nothing from a second BLAS thread, whose waiting costs much on a busy machine.
    blas = threads if (width or 0) * values[..., 0].size >= BLAS_VALUES else 1
    with limited_threads(threads, blas):
        if journal is None:
            stations = _collected(engine() if callable(engine) else engine, progress)
        else:
            options = {
                "every": every, "reff_locs": sorted(reff_locs), "convolution": convolution, "rank": rank,
                "seed": seed, "draw": draw, "batch": batch, "batches": batches,
                "values": sha256(np.ascontiguousarray(values)).hexdigest(),
            }  # fmt: skip
            with Journal(journal, described | {"options": options}, resume) as kept:
                stations = _continued(engine, kept, progress)
    described["provenance"] |= {"seconds": round(time.perf_counter() - start, 3), "threads": threads}
    return assembled(described, stations, recorded_depths(network.depth, every))


def _collected(engine, progress, journal: Journal | None = None) -> list[Station]:
    stations = []
    for station in engine:
        stations.append(station)
        if journal is not None:
            journal.append(station)
        if progress is not None:
            progress(station)
    return stations


def _continued(engine, journal: Journal, progress) -> list[Station]:
    """All stations of a scan, of which a journal may hold the first ones already."""
    if callable(engine):  # random nets: those that are complete need not be simulated again
        net = max((station.net for station in journal.stations), default=0)
        done = journal.keep(lambda station: station.net < net)
        return done + _collected(engine(first=net), progress, journal)
    found = journal.restored()
    if not hasattr(engine, "checkpoint"):  # the finite-width engine takes too short for one
        journal.keep(lambda station: False)
        return _collected(engine, progress, journal)
    if found is None:
        journal.keep(lambda station: False)
    else:
        engine.resume(*found)
    done = journal.keep(lambda station: 0 < station.depth <= found[0]) if found else []
    engine.checkpoint = journal.checkpoint
    stations = done + _collected(engine, progress, journal)
    journal.remove_state()
    return stations


def kernel(network: Network, images, *, normalise: bool = True, threads: int | None = None) -> np.ndarray:
    """Covariance of the signal behind the last layer, at infinite width.

    Parameters
    ----------
    network, images, normalise, threads
        As for `scan`.

    Returns
    -------
    ndarray of float64, shape (n, h, w, n, h, w)
        Second moments over channels between all pairs of points; h = w = 1 for a fully connected net.

    Raises
    ------
    ValueError
        As `scan`.
    """
    from ..engines.infinite_width import InfiniteWidth

    if not isinstance(network, Network):
        raise ValueError(f"network must be a fastmoments Network, not {type(network).__name__}.")
    values = prepared(network, as_images(images).array, normalise)
    with limited_threads(_checked_threads(threads)):
        engine = InfiniteWidth(network, values)
        full, (height, width) = engine.final_covariance()
    shape = (values.shape[0], height, width)
    return full.reshape(*shape, *shape)


def prepared(network: Network, array: np.ndarray, normalise: bool) -> np.ndarray:
    """Images as the engines take them: normalised if asked, flattened for a fully connected net."""
    if normalise:
        return normalised(array, fully_connected=network.fully_connected)
    return array.reshape(array.shape[0], 1, 1, -1) if network.fully_connected else array


def _drawn(network, array, normalise, batch, batches, seed) -> list[np.ndarray]:
    """Batches of images drawn anew, prepared one by one; none where all images are one batch."""
    if batch is None:
        if batches is not None:
            raise ValueError("batches says how many batches to draw; say of how many images with batch.")
        return []
    if not 2 <= batch <= len(array):
        raise ValueError(f"batch must be a whole number from 2 to the {len(array)} images, not {batch}.")
    streams = np.random.SeedSequence(seed).spawn(8 if batches is None else batches)
    chosen = [np.random.default_rng(stream).choice(len(array), batch, replace=False) for stream in streams]
    return [prepared(network, array[each], normalise) for each in chosen]


def _size_behind_stem(network: Network, shape) -> tuple[int, int]:
    height, width = shape[1:3]
    for layer in network.stem:
        if isinstance(layer, Conv):
            height, width = layer.output_size(height), layer.output_size(width)
    return height, width


def _checked_whole(name: str, value, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
        kind = "a positive whole number" if least == 1 else "a whole number of at least 0"
        raise ValueError(f"{name} must be {kind}, not {value!r}.")


def _iterated(value) -> tuple:
    try:
        return tuple(value)
    except TypeError:
        return (None,)


def _checked_threads(threads: int | None) -> int:
    import numba

    most = numba.config.NUMBA_NUM_THREADS
    if threads is None:
        return most
    if isinstance(threads, bool) or not isinstance(threads, (int, np.integer)) or not 1 <= threads <= most:
        raise ValueError(f"threads must be a whole number from 1 to {most}, not {threads!r}.")
    return int(threads)


@contextmanager
def limited_threads(threads: int, blas: int | None = None):
    """Run the kernels on so many threads and BLAS on `blas`, by default the same; then put them back."""
    import numba
    from threadpoolctl import threadpool_limits

    before = numba.get_num_threads()
    numba.set_num_threads(threads)
    try:
        with threadpool_limits(blas or threads, user_api="blas"):
            yield
    finally:
        numba.set_num_threads(before)


def _versions() -> dict:
    import numba
    import scipy

    return {"numba": numba.__version__, "numpy": np.__version__, "scipy": scipy.__version__}
