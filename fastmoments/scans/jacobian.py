"""How gradients grow on their way back: the Jacobian of the output, from the noise that is there already.

The mean squared singular value of the Jacobian of the output x^L, seen from x^l, is

    J(l) = |dx^L / dx^l|^2 / n_l = n_L / n_l * mu2_noise(L) / mu2_noise(l),

the squared Frobenius norm per entry of x^l, n being entries (positions times channels) of an image's signal.
Read backwards it is the mean square of the gradient in an entry of x^l, of a loss whose gradient has variance
1 in every entry of the output, uncorrelated.

The noise at x^l has come through the net and is not white. That does not matter to layers with fresh weights,
which take the mean of variances over taps and channels, nor to those that treat each entry by itself. It does
to means over positions; what these leave more of than of white noise (`engines.averages`) is divided out, but
for those inside residual units. Stations inside of these have no J: what is there is but a part of what goes
on. What remains: between two layers with overlapping means J is too large, up to twice; at borders variances
differ between positions; noise that an activation let pass stands where the signal is large, which a max
pooling selects and a merge with an activation behind it keeps (J is up to a third too large before the one, a
tenth before the other); and before a first batch norm signal and noise share the few weights that brought
them in (a twentieth).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace

from ..engines.protocol import Station
from ..nets.layers import passed_by_all

#: The moment that stations get; as that of the logarithm of its base name the curve follows from it.
NAME = "log_jacobian"
_NOISE = "log_mu2_noise"


def with_jacobian(stations: Iterable[Station]) -> list[Station]:
    """Stations with log J(l) to the last of them, of every net where several are sampled.

    Channels count where all stations have a number of them; else all layers count as equally wide.

    Where an engine knows means and deviations over random nets it is the logarithm of J's mean, growths over
    different layers being taken as independent; J's deviation is not known.
    """
    stations = list(stations)
    ends = {station.net: station for station in stations if _NOISE in station.moments}
    sized = all(station.grid for station in stations)
    numbered = all(station.channels for station in stations)

    def log_size(station: Station) -> float:
        grid = math.log(math.prod(station.grid)) if sized and station.grid else 0.0
        return grid + (math.log(station.channels) if numbered and station.channels else 0.0)

    def reach(station: Station) -> float:
        log_mean = station.moments[_NOISE] + 0.5 * station.sigmas.get(_NOISE, 0.0) ** 2
        return log_size(station) + log_mean

    def extended(station: Station) -> Station:
        end = ends.get(station.net)
        if end is None or _NOISE not in station.moments or not passed_by_all(station.path):
            return station
        stretch = len(station.averaged) - 1
        more = end.averaged[stretch] - station.averaged[stretch]
        return replace(station, moments={**station.moments, NAME: reach(end) - reach(station) - more})

    return [extended(station) for station in stations]
