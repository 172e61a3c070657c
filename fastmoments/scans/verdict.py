"""Which pathology a net has, read off its curves over depth.

Two questions, in the order in which they decide the label:

* How does the sensitivity grow? With g(l) = d log chi / d l, the ratio g(L) / g(L/2) tends to 1 when
  chi is exponential in depth, to 1/2 when it is a power law, and lower when it saturates.
* Does the signal keep more than one direction of variance? In plain nets its effective rank falls
  towards 1. At a finite depth "towards" means one of three: the rank is low and no longer rises; its
  excess over 1 falls like a power of depth; or it has fallen and settled together with chi. The third
  is what zero padding does: there the signal of every image tends to the same profile of the border,
  whose rank is about 2 for images of 14 x 14 positions and up to 6 for smaller ones, and which says as
  little about the image as a single direction would.

A net may have both: plain nets of finite width have, for there log chi also grows by about 1 / width in every
layer. Then it is the collapse that decides, unless chi doubles over the second half of the depth.

A depth below `MIN_DEPTH`, or too few recorded depths, show no law; and nets whose units differ, as those of
most published nets do, have none. Their label comes from the budget (`budget`), which speaks of this net and
not of deeper ones: sensitivity explodes if the signal-to-noise ratio that is left is less than `LEAST_SNR`,
and the signal is one-dimensional if its rank is as low as a collapsed one and below what classes want.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np

from .budget import Budget

WELL_BEHAVED = "well-behaved"
ONE_DIMENSIONAL = "one-dimensional signal"
EXPLODING = "exploding sensitivity"
LABELS = (ONE_DIMENSIONAL, EXPLODING, WELL_BEHAVED)

#: Units of depth below which the curves show no law.
MIN_DEPTH = 16
#: Between these values of g(L) / g(L/2), whose limits are 1/2 and 1, growth is a power law.
POWER_RATIO, EXPONENTIAL_RATIO = 0.45, 0.75
#: A log chi that grew by less than this over the last quarter of the depth has settled.
SETTLED = 0.02
#: An exponential that grew by less than this over the second half of the depth yields to a collapse.
SLOW = 0.7
#: What it takes to get a label.
WANTED = "it takes chi at the output, and an effective rank near it of more than two points"
#: What a label rests on.
LAW, BUDGET = "law", "budget"
#: In dB, the least signal-to-noise ratio that a net may leave. Images of 8 bits, whose values deviate by some
#: 60 levels, have rounding noise (a deviation of 1 / sqrt 12) 46 dB below their signal, and those of a camera
#: some 40: a net that loses more shows the noise of its own images as strongly as what is on them.
LEAST_SNR = -40.0
#: At or below this effective rank, and no longer rising, a signal is one-dimensional;
COLLAPSED_RANK = 2.5
#: in a tiny batch at or below this share of the excess over 1 that it allows, with a trend and without one;
LOW_SHARE, LOW_AT_THE_END = 0.5, 0.25
#: so it is when the excess of its rank over 1 falls like this power of depth or faster,
COLLAPSE_EXPONENT = -0.4
#: or when chi is bounded and the rank has fallen to this share of its maximum and does not rise.
FALLEN_SHARE = 0.9


@dataclass(frozen=True)
class Verdict:
    """The label of a net and what it rests on.

    Attributes
    ----------
    label : str or None
        None where neither law nor budget are known.
    law : str or None
        "exponential", "power" or "bounded": how chi grows.
    rate : float or None
        d log chi / d l of an exponential, d log chi / d log l of the others.
    reff_last : float or None
        Effective rank of the signal at the last depth.
    one_dimensional : bool or None
    source : str or None
        What the label rests on: `LAW` or `BUDGET`.
    budget : Budget or None
        Of any net whose chi is known at the output.
    """

    label: str | None
    law: str | None
    rate: float | None
    reff_last: float | None
    one_dimensional: bool | None
    source: str | None = None
    budget: Budget | None = None

    def to_dict(self) -> dict:
        """The verdict as in the JSON of a scan."""
        values = asdict(self)
        return {
            "label": values["label"],
            "source": values["source"],
            "sensitivity": {"law": values["law"], "rate": values["rate"]},
            "signal": {"reff_last": values["reff_last"], "one_dimensional": values["one_dimensional"]},
            "budget": None if self.budget is None else self.budget.to_dict(),
        }


def judge(depth: np.ndarray, log_chi: np.ndarray, reff: np.ndarray, rank_bound: int) -> Verdict:
    """Read the verdict off the curves, by their law.

    Parameters
    ----------
    depth : ndarray, shape (k,)
    log_chi : ndarray, shape (k,)
        At the last station of each unit.
    reff : ndarray, shape (k,)
        Effective rank of the signal.
    rank_bound : int
        Largest effective rank that the batch allows (points - 1).
    """
    usable = np.isfinite(log_chi) & np.isfinite(reff)
    depth, log_chi, reff = depth[usable], log_chi[usable], reff[usable]
    if depth.size == 0:
        return Verdict(None, None, None, None, None)
    last = float(reff[-1])
    if depth[-1] < MIN_DEPTH or np.count_nonzero(depth <= 0.5 * depth[-1]) < 2:
        return Verdict(None, None, None, last, None)
    law, rate = _sensitivity(depth, log_chi)
    collapsed = _collapsed(depth, reff, rank_bound, law)
    explodes = law == "exponential" and not (collapsed and 0.5 * depth[-1] * rate < SLOW)
    label = EXPLODING if explodes else ONE_DIMENSIONAL if collapsed else WELL_BEHAVED
    return Verdict(label, law, rate, last, collapsed, LAW)


def judge_budget(found: Budget | None, reff_last: float | None) -> Verdict:
    """The verdict of a net that shows no law."""
    if found is None or found.directions is None:
        return Verdict(None, None, None, reff_last, None, None, found)
    low = COLLAPSED_RANK if found.most_directions is None else _low(found.most_directions, LOW_AT_THE_END)
    enough = found.classes is not None and found.directions >= found.classes - 1
    collapsed = found.directions <= low and not enough
    explodes = found.snr_db < LEAST_SNR
    label = EXPLODING if explodes else ONE_DIMENSIONAL if collapsed else WELL_BEHAVED
    return Verdict(label, None, None, reff_last, collapsed, BUDGET, found)


def _low(rank_bound: int, share: float) -> float:
    """Effective rank of a collapsed signal: a tiny batch allows no high rank, a share of which is low."""
    return min(COLLAPSED_RANK, 1.0 + share * (rank_bound - 1))


def _rate(depth: np.ndarray, log_chi: np.ndarray, end: float) -> float:
    """Mean of d log chi / d l over the quarter of the depth before `end`."""
    start = 0.75 * end
    first, last = np.interp([start, end], depth, log_chi)
    return float((last - first) / (end - start))


def _sensitivity(depth: np.ndarray, log_chi: np.ndarray) -> tuple[str, float]:
    end = float(depth[-1])
    now, before = _rate(depth, log_chi, end), _rate(depth, log_chi, 0.5 * end)
    exponent = now * 0.25 * end / np.log(4.0 / 3.0)  # of l, from the mean slope over [3L/4, L]
    if now * 0.25 * end < SETTLED or before <= 0.0 or now < POWER_RATIO * before:
        return "bounded", float(exponent)
    if now < EXPONENTIAL_RATIO * before:
        return "power", float(exponent)
    return "exponential", now


def _collapsed(depth: np.ndarray, reff: np.ndarray, rank_bound: int, law: str) -> bool:
    if rank_bound <= 1:
        return True
    half, last = float(np.interp(0.5 * depth[-1], depth, reff)), float(reff[-1])
    low = _low(rank_bound, LOW_SHARE)
    rises = last > 1.001 * half
    falls = last - 1.0 <= (half - 1.0) * 2.0**COLLAPSE_EXPONENT
    settled = law == "bounded" and last <= FALLEN_SHARE * float(reff.max())
    return falls or (not rises and (last <= low or settled))
