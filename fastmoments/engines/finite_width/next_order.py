"""What a theory of finite width leaves out, estimated from what it yields: what the next order would add.

A theory gives, for a moment X, the mean and the variance V of log X over nets (of a rank: the relative
variance). Both come from an expansion in 1/N along the path of infinite width, in which log X is a sum over
layers, log X = sum_l log(1 + x_l), E x_l = 0, E x_l^2 = v_l = O(1/N). Three things are not in it.

* The shape of the increments. E log(1 + x) = -v / 2 + E x^3 / 3 - 3 v^2 / 4 + ..., of which the theory keeps
  -v / 2. E x^3 is s v^2 for a mean over channels of skewness s, which batch norm's 1 / q makes large, as q
  has about as many degrees of freedom as the signal has directions. What is lost sums to a share of V.
* The curvature of the path. E F(K) = F(E K) + tr F'' Cov K / 2 + ...: pairs, norms and angles that fluctuate
  shift each other. The theory closes this (`closures`), and what a closure assumes is of the order of what
  it replaces, which is V again.
* What a layer samples and forgets. With a restoring force (batch norm; a spectrum that every layer samples
  anew) V does not grow with depth, and of a mean over many points it is smaller than what one layer does to
  a pair, a relative variance of about 2/N. Shifts of that size remain.

So the error of the mean is taken as `of_variance` V + `of_layer` / N, O(1/N), and that of the deviation,
relative to it, as `of_deviation` + V / 4: a constant, because leading orders are themselves approximated
(Hermite orders above 3, the elasticity of an eigenvector), and the next order. How large these are for a
moment was read off simulations, such that nine of ten means lie within: `python -m bench.finite_error`. They
are round, and the same for all nets that have a theory, but for three moments of plain ones.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import NamedTuple

from .shared.lognormal import Laws, Lognormal

#: Growth of the relative error of a deviation with the variance.
OF_DEVIATION_BY_VARIANCE = 0.25
#: Relative error from which on a number says only which size something has.
LARGEST = 1.0


class Share(NamedTuple):
    """How large the error of a moment is.

    Attributes
    ----------
    of_variance : float
        Error of the mean of the logarithm, in variances of it.
    of_layer : float
        The same, in 1/N.
    of_deviation : float
        Relative error of the deviation at small variances.
    """

    of_variance: float
    of_layer: float
    of_deviation: float

    def error(self, law: Lognormal, width: int, *, rank: bool, exact: float = 0.0) -> tuple[float, float]:
        """Errors of the mean and of the deviation, in the units of the law.

        Parameters
        ----------
        law : Lognormal
        width : int
        rank : bool
            Whether the law is of a moment itself, an effective rank, not of a logarithm.
        exact : float
            Part of the variance that is no part of the expansion: that of the draw of the noise.
        """
        size = law.mean if rank else 1.0
        expanded = max(law.variance - exact, 0.0)
        variance = expanded / size**2
        if not variance > 0.0:
            return 0.0, 0.0  # fixed by batch norm, or the images themselves
        mean = self.of_variance * variance + self.of_layer / width
        deviation = min(self.of_deviation + OF_DEVIATION_BY_VARIANCE * variance, LARGEST)
        if rank:
            mean = min(mean, LARGEST)  # which is not below 1, whatever the lognormal tail says
        return size * mean, deviation * math.sqrt(expanded)


#: By moment, of nets with batch norm.
SHARES = {
    "log_nu1_abs_signal": Share(5.0, 0.25, 0.2),
    "log_nu2_signal": Share(0.25, 0.25, 0.1),
    "log_mu2_signal": Share(0.25, 0.5, 0.2),
    "log_mu4_signal": Share(3.0, 2.0, 0.3),
    "log_mu2_noise": Share(0.75, 0.5, 0.3),
    "log_chi": Share(1.0, 0.5, 0.25),
    "reff_signal": Share(1.5, 4.0, 0.8),
    "reff_noise": Share(4.0, 8.0, 0.7),
}
#: Of nets without. There V of nu1 and mu4 grows with depth, from layers whose increments are followed; behind
#: batch norm it is the chance of the last sampling, and small beside what norms do to the shape of the law.
PLAIN_SHARES = SHARES | {
    "log_nu1_abs_signal": Share(0.5, 0.25, 0.2),
    "log_mu4_signal": Share(0.25, 8.0, 0.3),
    "reff_noise": Share(2.0, 0.0, 0.7),
}


class Errors(NamedTuple):
    """Estimated errors of a station, by moment; and the largest relative one of a mean."""

    means: dict[str, float]
    deviations: dict[str, float]
    largest: float


#: Share of the variance of a draw of the noise (of the logarithm of its mean square) that a moment has.
OF_DRAW = {"log_mu2_noise": 1.0, "log_chi": 0.25}


def errors(batches: Iterable[Laws], width: int, *, normalised: bool, draw: float = 0.0) -> Errors:
    """Estimate the errors of a station from its laws over nets, of each batch.

    A batch does not undo the error of another, so that their mean is taken.

    Parameters
    ----------
    batches : iterable of dict
    width : int
    normalised : bool
        Whether the net has batch norm.
    draw : float
        Variance of the draw of the noise, which is exact (`shared.noise_draw`).
    """
    shares = SHARES if normalised else PLAIN_SHARES
    found: dict[str, list[tuple[float, float, float]]] = {}
    for laws in batches:
        for name, law in laws.items():
            rank = name.startswith("reff")
            exact = OF_DRAW.get(name, 0.0) * draw
            mean, deviation = shares[name].error(law, width, rank=rank, exact=exact)
            found.setdefault(name, []).append((mean, deviation, mean / law.mean if rank else mean))
    means, deviations, relative = (
        {name: math.fsum(each[part] for each in values) / len(values) for name, values in found.items()}
        for part in range(3)
    )
    return Errors(means, deviations, max(relative.values(), default=0.0))
