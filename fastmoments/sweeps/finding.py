"""The inverse question: which value of a parameter makes the end of a curve what it should be.

Every value costs a scan. A bracket is closed by Brent's method, or by bisection where values are whole; both
need the curve to be on different sides of the target at the two ends.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ..engines.protocol import Engine
from ..images.sources import Images, as_images
from ..nets.network import Network
from ..nets.settings import setting, with_setting
from ..scans.curves import MOMENTS
from ..scans.results import Scan
from ..scans.scanning import scan
from ..validation import finite, one_of, whole

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from numpy.typing import ArrayLike

SCHEMA = "fastmoments.find/1"

#: What a curve may be asked to reach.
CURVES = tuple(name for name in MOMENTS if not name.startswith("log_"))
#: Between positive ends this many times apart, the search is in the logarithm of the parameter.
LOGARITHMIC = 8.0
#: Of the parameter, relative, unless told otherwise.
TOLERANCE = 1e-6
#: Scans beyond which something else is wrong.
MOST_SCANS = 200


@dataclass(frozen=True, eq=False)
class Found:
    """The value of a parameter that was searched for, and the scans on the way there.

    Attributes
    ----------
    parameter : str
        Its name: a path, or "value" if a function made the nets and none was given.
    value : float or int
        Of whole values that on whose side of the crossing the curve is nearer to its target.
    curve : str
    target, reached : float
        What the end of the curve should be, and what it is there.
    trace : tuple of (value, end of the curve)
        One for every scan, in the order in which they ran.
    scan : Scan
        At the value.
    """

    parameter: str
    value: float
    curve: str
    target: float
    reached: float
    trace: tuple[tuple[float, float], ...]
    scan: Scan = field(repr=False)

    def rows(self) -> list[dict]:
        """One row per scan."""
        return [{self.parameter: value, self.curve: end} for value, end in self.trace]

    def to_dict(self) -> dict:
        """All of it in plain values, schema fastmoments.find/1; None where a value is not finite."""
        return {
            "schema": SCHEMA, "parameter": self.parameter, "value": self.value, "curve": self.curve,
            "target": self.target, "reached": self.reached,
            "trace": [[value, end if math.isfinite(end) else None] for value, end in self.trace],
            "scan": self.scan.to_dict(),
        }  # fmt: skip

    def plot(self) -> Figure:
        """Draw the end of the curve over the parameter (`search_plot.plot_search`)."""
        from .search_plot import plot_search

        return plot_search(self)


def find(
    net: Network | Callable[[Any], Network],
    images: Images | ArrayLike,
    so_that: tuple[str, float],
    between: tuple[float, float],
    *,
    path: str | None = None,
    engine: Engine | str | None = None,
    name: str | None = None,
    tolerance: float = TOLERANCE,
    progress: Callable[[float, float], None] | None = None,
    **options: Any,
) -> Found:
    """Find the value of a parameter for which a curve ends where it should.

    Parameters
    ----------
    net : Network, or function of one number
        A net some of whose layers have a parameter, at `path`; or what makes a net of a value, such as
        ``lambda scale: fm.bn_res(100, scale=scale)``.
    images : Images or array_like
        As for `scan`.
    so_that : (str, float)
        A curve of `CURVES` and its value at the last depth, at its main station: ``("chi", 10.0)``.
    between : (a, b)
        The curve must be below the target at one end and above at the other. Two whole numbers mean
        whole numbers between, if the parameter of the layers is whole as well; else all numbers.
    path : str, optional
        Such as ``layers.*.scale`` (`nets.settings`).
    engine : optional
        As for `scan`. Random nets are the same for every value, by their seed.
    name : str, optional
        What the parameter is called in results; its path, or "value".
    tolerance : float
        Of the value, relative.
    progress : callable, optional
        Called after each scan with value and end of the curve.
    **options
        Of `scan`: every, normalise, threads.

    Returns
    -------
    Found

    Raises
    ------
    ValueError
        In one sentence, if an argument is wrong, a value is out of the range of the parameter, or the curve
        is on the same side of the target at both ends.
    ArithmeticError
        If the curve has no finite value somewhere between.
    """
    images = as_images(images)
    curve, target = _target(so_that)
    finite("tolerance", tolerance, positive=True)
    low, high = _bracket(between)
    made, integral = _maker(net, path)
    name = name or path or "value"
    integral = type(low) is type(high) is int and integral is not False
    if not integral:
        low, high = float(low), float(high)
    logarithm = f"log_{curve}" if f"log_{curve}" in MOMENTS else None
    goal = math.log(target) if logarithm else target
    scans: dict[float, tuple[float, float, Scan]] = {}

    def off(value: float) -> float:
        """Curve minus target at a value, both as logarithms where the curve has one."""
        if value not in scans:
            last = scan(made(value), images, engine, reff_locs=_ranks(curve), **options)
            if curve not in last.moments:
                raise ValueError(f"this scan has no {curve}; it has {', '.join(last.moments)}.")
            shown = float(last.curve(curve).mean[-1])
            end = shown
            if logarithm:
                logged = math.isfinite(shown) and shown > 0.0
                end = math.log(shown) if logged else float(last.curve(logarithm).mean[-1])
            if not math.isfinite(end):
                raise ArithmeticError(f"{curve} has no finite value at {name} = {value:g}.")
            scans[value] = end - goal, shown, last
            if progress is not None:
                progress(value, shown)
        return scans[value][0]

    ends = off(low), off(high)
    if ends[0] * ends[1] > 0:
        side = "above" if ends[0] > 0 else "below"
        raise ValueError(
            f"{curve} is {side} {target:g} at both ends: {scans[low][1]:.6g} at {name} = {low:g}, "
            f"{scans[high][1]:.6g} at {high:g}; choose ends between which it crosses."
        )
    root = _halved(off, low, high) if integral else _closed(off, low, high, tolerance)
    trace = tuple((value, shown) for value, (_, shown, _) in scans.items())
    return Found(name, root, curve, target, scans[root][1], trace, scans[root][2])


def _target(so_that: object) -> tuple[str, float]:
    """The curve and its value at the end."""
    if not isinstance(so_that, (tuple, list)) or len(so_that) != 2:
        raise ValueError(f"so_that must be a curve and its value, such as ('chi', 10.0), not {so_that!r}.")
    curve = one_of("the curve of so_that", so_that[0], CURVES)
    return curve, finite(f"the value of {curve}", so_that[1], positive=True)


def _bracket(between: object) -> tuple[float, float]:
    """The two ends, in rising order."""
    if not isinstance(between, (tuple, list)) or len(between) != 2:
        raise ValueError(f"between must be two numbers, not {between!r}.")
    for end in between:
        finite("both ends of between", end, positive=None)
    if between[0] == between[1]:
        raise ValueError(f"between must be two different numbers, not {between[0]!r} twice.")
    return min(between), max(between)


def _maker(
    net: Network | Callable[[Any], Network], path: str | None
) -> tuple[Callable[[float], Network], bool | None]:
    """What makes a net of a value, and whether the value is whole, if that is known."""
    if isinstance(net, Network):
        if path is None:
            raise ValueError("find needs a path, such as layers.*.scale, of what it changes in the net.")
        present = setting(net, path)
        if isinstance(present, (bool, str)):
            raise ValueError(f"{path} is {present!r}, and find takes numbers.")
        return lambda value: with_setting(net, path, value), not isinstance(present, float)
    if not callable(net):
        raise ValueError(f"net must be a Network or a function that makes one, not {type(net).__name__}.")
    if path is not None:
        raise ValueError("path is for a Network; a function makes the net of the value alone.")
    return net, None


def _ranks(curve: str) -> tuple[str, ...]:
    return ("act",) if curve.startswith("reff") else ()


def _halved(off: Callable[[float], float], low: float, high: float) -> float:
    """The whole number nearest to the target of the two between which the sign changes."""
    low, high = whole("an end", low, -(10**9)), whole("an end", high, -(10**9))
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if off(low) * off(middle) <= 0 else (middle, high)
    return min((low, high), key=lambda value: abs(off(value)))


def _closed(off: Callable[[float], float], low: float, high: float, tolerance: float) -> float:
    """The value at which the sign changes, of those that were tried."""
    from scipy.optimize import brentq

    if low > 0 and high / low >= LOGARITHMIC:
        values: dict[float, float] = {math.log(low): low, math.log(high): high}  # the ends as they were given

        def at(log: float) -> float:
            return off(values.setdefault(log, math.exp(log)))

        log = brentq(at, math.log(low), math.log(high), xtol=tolerance, maxiter=MOST_SCANS)
        root = values.get(log, math.exp(log))
    else:
        room = tolerance * max(abs(low), abs(high))
        root = brentq(off, low, high, xtol=room, rtol=max(tolerance, 1e-15), maxiter=MOST_SCANS)
    off(root)
    return root
