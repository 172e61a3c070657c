"""The analytic moments against simulated nets: in the limit of infinite width, or at given widths.

Random nets of width N have moments that differ from those at infinite width by a bias a / N and by
chance. Nets are sampled at several widths, the line m + a / N is fitted to their means by least
squares weighted with the standard errors, and its intercept m is compared with the analytic value.
The theory at finite width is compared with nets of that width, in its mean and in its deviation.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import ArrayLike

from ..engines.finite_width.engine import FiniteWidth
from ..engines.infinite_width.engine import InfiniteWidth
from ..engines.protocol import Engine, Passage, Station
from ..engines.sampled.engine import Sampled
from ..images.sources import Images, as_images
from ..nets.network import Network
from ..nets.widths import narrowest, of_width
from ..validation import one_of, whole
from .comparisons import (
    FURTHER,
    MOMENTS,
    Comparison,
    Verification,
    extrapolate,
    is_rank,
    known_moments,
    mean_logarithm,
    usual_threshold,
)  # fmt: skip
from .curves import main_loc
from .results import Scan
from .scanning import checked_network, scan

METHODS = ("infinite", "finite")

#: Widths that are sampled if nothing else is said.
WIDTHS = {"infinite": (64, 128, 256, 512), "finite": (256,)}


def verify(
    network: Network,
    images: Images | ArrayLike,
    *,
    method: str = METHODS[0],
    widths: Iterable[int] | None = None,
    nets: int = 40,
    seed: int = 0,
    depths: Iterable[int] | None = None,
    moments: Iterable[str] | None = None,
    threshold: float | None = None,
    threads: int | None = None,
    progress: Callable[[str, Station | Passage], None] | None = None,
) -> Verification:
    """Compare the analytic moments of a net with simulations.

    Parameters
    ----------
    network : Network
    images : Images or array_like
        As for `scan`; few and small ones, for the simulations take long.
    method : {"infinite", "finite"}
        At infinite width, to which simulations at growing width are extrapolated; or mean and deviation at
        each width, to the order of the theory in 1 / width (`docs/finite-width.md`): its error shows.
    widths : sequence of int, optional
        `WIDTHS` if left out; for infinite width at least two different ones. Of a net that says numbers of
        channels they are those of its narrowest layer, all others growing alike; by default 1, 2 and 4 times.
    nets : int
        Per width, at least 8, or the standard errors would not be known.
    seed : int
        Each width has a seed of its own, derived from this one.
    depths : sequence of int, optional
        Where to compare; the first, the middle and the last depth if left out.
    moments : sequence of str, optional
        What to compare, of `MOMENTS` and `FURTHER`. If left out all of them, but at infinite width `MOMENTS`
        only: ranks of nets with batch norm are far from a line in 1 / width.
    threshold : float, optional
        Largest ``|z|`` that counts as agreement. If left out, Student's quantile with nets - 1
        degrees of freedom at the level `LEVEL` divided by the number of comparisons (Bonferroni), so
        that a correct net is found to disagree anywhere with a probability of about 1e-3.
    threads : int, optional
    progress : callable, optional
        Called with "analytic" or "width N" and what the `progress` of `scan` is called with.

    Returns
    -------
    Verification

    Raises
    ------
    ValueError
        If an argument is out of range, or the net is not covered.

    Notes
    -----
    Compared are logarithms, averaged over nets: without batch norm the moments are log-normal over
    nets to good approximation, with a variance of order depth / N, so that their means would be
    ruled by rare nets. The bias of the mean logarithm, about minus half that variance, is of order
    1 / N and the fit takes it. Only chi is averaged as chi^2, and mu2 of the noise as it is: they are
    linear in the noise variance, of which each net sees one draw of noise, and the spread from that draw
    would leave a bias in the mean logarithm at every width.

    At finite width the logarithms of all moments are compared, ranks as they are, and of both the deviations
    over nets, by their logarithms: the standard error of log s over n nets is sqrt((k - 1) / 4 n), k the
    sampled kurtosis, or that of a Gaussian if that is larger.
    """
    checked_network(network)
    one_of("method", method, METHODS)
    least = narrowest(network)
    usual = WIDTHS[method] if least is None else (least, 2 * least, 4 * least)
    widths = _increasing("widths", usual if widths is None else widths, 1)
    if method == "infinite" and len(widths) < 2:
        raise ValueError(f"widths must hold at least two different widths to extrapolate from, not {widths}.")
    nets = whole("nets", nets, 8, why=", for standard errors")
    seed = whole("seed", seed, 0)
    if threshold is not None and not (isinstance(threshold, (int, float)) and 0 < threshold < math.inf):
        raise ValueError(f"threshold must be a positive number of standard errors, not {threshold!r}.")
    if network.depth == 0:
        raise ValueError("A net of depth 0 has nothing to verify; give it a layer.")
    if moments is None:
        moments = MOMENTS if method == "infinite" else MOMENTS + FURTHER
    names = known_moments(moments)
    if depths is None:
        depths = {1, (network.depth + 1) // 2, network.depth}
    depths = _increasing("depths", depths, 1)
    if depths[-1] > network.depth:
        raise ValueError(f"depths may go to {network.depth}, the depth of the net, not to {depths[-1]}.")

    images = as_images(images)
    every = math.gcd(*depths)

    def run(engine: Engine) -> tuple[Scan, list[Station]]:
        stations: list[Station] = []

        def take(event: Station | Passage) -> None:
            if isinstance(event, Station):
                stations.append(event)
            if progress is not None:
                progress(_stage(engine), event)

        ranks = ("act",) if any(map(is_rank, names)) else ()
        net = network if engine.width is None else of_width(network, engine.width)
        found = scan(net, images, engine, every=every, reff_locs=ranks, threads=threads, progress=take)
        return found, stations

    seeds = np.random.SeedSequence(seed).generate_state(len(widths)).tolist()
    analytic_engines = [InfiniteWidth()] if method == "infinite" else [FiniteWidth(n) for n in widths]
    analytic = [run(engine) for engine in analytic_engines]
    simulated = [run(Sampled(width, nets, own)) for width, own in zip(widths, seeds, strict=True)]
    if method == "infinite":
        found = [_values(stations) for _, stations in simulated]
        rows = tuple(_compare(names, depths, widths, _values(analytic[0][1]), found))
    else:
        both = zip(widths, analytic, simulated, strict=True)
        rows = tuple(
            row for width, (_, ours), (_, theirs) in both
            for row in _compare_at(names, depths, width, ours, _values(theirs))
        )  # fmt: skip
    if not rows:
        raise ValueError(f"There is no theory of {', '.join(names)} of this net to compare with nets.")
    if threshold is None:
        threshold = usual_threshold(len(rows), nets)
    return Verification(
        rows=rows,
        threshold=float(threshold),
        architecture=network.architecture(),
        data=analytic[0][0].data,
        method=method,
        widths=widths,
        nets=int(nets),
        seconds=sum(result.provenance["seconds"] for result, _ in (*analytic, *simulated)),
    )


def _stage(engine: Engine) -> str:
    """What progress says is being computed."""
    if engine.width is None:
        return "analytic"
    return f"width {engine.width}" if engine.nets else f"analytic at width {engine.width}"


def _increasing(name: str, values: Iterable[int], least: int) -> tuple[int, ...]:
    """Distinct whole numbers in rising order."""
    try:
        values = sorted(set(values))
    except TypeError:
        raise ValueError(f"{name} must be a sequence of whole numbers, not {values!r}.") from None
    if not values:
        raise ValueError(f"{name} must not be empty.")
    return tuple(whole(f"all of {name}", value, least) for value in values)


#: Values over nets by depth and station, then by moment, with "error" among them.
_Found = dict[tuple[int, str], dict[str, list[float]]]


def _values(stations: list[Station]) -> _Found:
    """Logarithms of the moments and numerical errors over nets, by depth and station."""
    values: _Found = {}
    for station in stations:
        if station.loc is None:
            continue
        at = values.setdefault((station.depth, station.loc), {"error": []})
        at["error"].append(station.error)
        for name, value in station.moments.items():
            at.setdefault(name.removeprefix("log_"), []).append(value)
    return values


def _compare(
    names: Sequence[str], depths: Iterable[int], widths: Sequence[int], analytic: _Found,
    simulated: list[_Found],
) -> Iterator[Comparison]:  # fmt: skip
    """Yield the comparisons of all moments that the analytic engine knows."""
    for depth in depths:
        for name in names:
            locs = [loc for at, loc in analytic if at == depth and name in analytic[at, loc]]
            if not locs:
                continue
            place = depth, main_loc(name, locs)
            means, errors = zip(*(mean_logarithm(name, values[place]) for values in simulated), strict=True)
            intercept, error = extrapolate(widths, means, errors)
            (exact,), (own,) = analytic[place][name], analytic[place]["error"]
            exact = math.log(exact) if is_rank(name) else exact
            yield Comparison(name, place[1], depth, exact, intercept, math.hypot(error, own))


def _compare_at(
    names: Sequence[str], depths: Iterable[int], width: int, finite: list[Station], simulated: _Found
) -> Iterator[Comparison]:
    """Yield the comparisons of mean and deviation at one width."""
    ours = {(station.depth, station.loc): station for station in finite if station.loc}
    for depth in depths:
        for name in names:
            rank = is_rank(name)
            key = name if rank else f"log_{name}"
            locs = [loc for at, loc in ours if at == depth and key in ours[at, loc].moments]
            if not locs:
                continue
            place = depth, main_loc(name, locs)
            mean, sigma = ours[place].moments[key], ours[place].sigmas[key]
            values = np.array(simulated[place][name])
            sampled, deviation = float(values.mean()), float(values.std(ddof=1))
            error = deviation / math.sqrt(values.size)
            if rank:
                mean, sampled, error = math.log(mean), math.log(sampled), error / sampled
            error = math.hypot(error, max(simulated[place]["error"]))
            yield Comparison(name, place[1], depth, mean, sampled, error, width)
            if sigma > 0.0 and deviation > 0.0:
                kurtosis = float(np.mean((values - values.mean()) ** 4)) / deviation**4
                error = math.sqrt(max(kurtosis - 1.0, 2.0) / (4.0 * values.size))
                deviations = math.log(sigma), math.log(deviation)
                yield Comparison(name, place[1], depth, *deviations, error, width, "sigma")
