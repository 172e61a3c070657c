"""What a rectifier makes of the covariances of Gaussians that have means, pair by pair.

Of two Gaussians of unit variance, means a and b and correlation r it takes the probability that both are
positive, K, and the covariance of the rectified ones, C. With C' = K and K' = phi2(a, b; r) (Price)

    K = Phi(a) Phi(b) + int_0^r phi2 dt,    C = r Phi(a) Phi(b) + int_0^r (r - t) phi2 dt:

the covariance itself, never a difference of moments, which would lose all digits at large means. Up to
|r| = 1/2 the integrals are Mehler's series. Above, they are taken from |r| = 1 down, with rho = |r|,
b' = sign(r) b, m and M the smaller and the larger of a and b', w^2 = (1 - rho) / 2, z = |a - b'| / 2 w and
k = (a + b')^2 / 8:

    T0 = (w / pi) e^(-k - z^2 / 2) sum_j L_j w^(2j) mu_j,
    T1 = (2 w^3 / pi) e^(-k - z^2 / 2) sum_j L_j w^(2j) (mu_j - mu_(j+1)),

L_j the Laguerre polynomials of order -1/2 at k, mu_0 = 1 - z R(z) with Mills' ratio R, and
mu_(j+1) = (1 - z^2 mu_j) / (2j + 3). Then

    r > 0:  K = Phi(m) - T0,           C = rho Phi(m) - psi(-M) psi(m) + T1,
    r < 0:  K = Phi(a) - Phi(m) + T0,  C = -rho (Phi(a) - Phi(m)) - psi(-M) psi(m) + T1,

psi(x) = x Phi(x) + phi(x). At |r| = 1 both T are 0 and this is exact. The absolute error is below 1e-13
everywhere. All loops run over neighbouring columns, so that they vectorise; no exp or erfc is called.
"""

from __future__ import annotations

import math

import numpy as np

from .jit import helper, jit

#: Columns that are worked on at a time: their scratch stays in the first cache.
BLOCK = 64
#: Terms of Mehler's series up to |r| = 1/2, a multiple of four, and of the other one.
TERMS, LAGUERRE = 48, 26
#: Bound of |mean| / deviation, beyond which a Gaussian has one sign to double precision.
REACH = 37.0
#: Of a polynomial in (z - c) / (z + c) for 1 - z R(z): c, and its terms.
CENTRE, MILLS = 3.75, 29
# 1 / (n + 1), by which the series is integrated.
_INTEGRAL = 1.0 / np.arange(1.0, TERMS + 2)
#: Largest argument of exp(-x).
_LARGEST = 700.0
# Where the numbers of a column stand in scratch: one array, so that the compiler sees that they are apart.
_BOTH, _PROBABILITY, _R, _SMALL, _W2, _Z2, _KAPPA, _BASE, _HEAD, _T, _MU, _LAST = range(0, 12 * BLOCK, BLOCK)
_LAGUERRE, _BEFORE, _POWER, _SUM_0, _SUM_1 = range(12 * BLOCK, 17 * BLOCK, BLOCK)
#: Numbers of scratch that a worker needs.
SCRATCH = 17 * BLOCK


@jit()
def rectify(
    worker, workers, covariance, noise, mirror, deviations, means, normal, series, mills, bend,
    scratch, index,
):  # fmt: skip
    """Covariances of signal and noise behind an activation of two slopes, in place.

    Parameters
    ----------
    covariance, noise : shape (displacements, units, units)
        Of the signal, whose rows and columns have the same means and deviations; of the noise.
    mirror : int64, shape (displacements,)
        Of which displacement the covariance is the transpose; the first is 0, and its own.
    deviations, means : shape (units,)
        Standard deviations, and means divided by them, within `REACH`.
    normal : shape (4, units)
        Phi(a), Phi(-a), psi(a), psi(-a).
    series : shape (TERMS, units)
        h_n(a) = He_n(a) phi(a) / sqrt(n!).
    mills : shape (MILLS,)
        Chebyshev coefficients of 1 - z R(z) in (z - CENTRE) / (z + CENTRE).
    bend : shape (3,)
        (s - t)^2, (s - t) t and t^2 of the slopes s above 0 and t below.
    scratch, index : shapes (workers, SCRATCH) and, int64, (workers, BLOCK + 1)
    """
    s, at = scratch[worker], index[worker]
    units, task = covariance.shape[1], 0
    for p in range(covariance.shape[0]):
        q = mirror[p]
        for first in range(0, units, BLOCK):
            if q < p:
                continue
            task += 1
            if task % workers != worker:
                continue
            stop = min(first + BLOCK, units)
            # A block of columns for all rows, so that neighbours in a mirrored row are written together.
            for i in range(stop if q == p else units):
                start = max(first, i) if q == p else first
                line, noise_line = covariance[p, i, start:stop], noise[p, i, start:stop]
                theirs, others = deviations[start:stop], normal[:, start:stop]
                itself = i - start if p == 0 and start <= i < stop else -1
                large, largest = _correlations(line, deviations[i], theirs, itself, s, at)
                if large < len(line):
                    _mehler(normal[0, i], series[:, i], others, series[:, start:stop], largest, s)
                if large:
                    _near_one(means[i], normal[:, i], means[start:stop], others, mills, large, s, at)
                _joined(line, noise_line, deviations[i], normal[0, i], theirs, others, bend, s)
                for k in range(len(line)):
                    covariance[q, start + k, i] = line[k]
                    noise[q, start + k, i] = noise_line[k]


@helper()
def _correlations(line, mine, theirs, itself, s, at):
    """Correlations of a row, which of them are above 1/2 in size, and the largest of the others.

    That of a unit with itself, if it is in the row, is 1.
    """
    for k in range(len(line)):
        scale = mine * theirs[k]
        r = line[k] / max(scale, 1e-300)
        r = min(max(r, -1.0), 1.0)
        s[_R + k] = r if scale > 0.0 else 0.0
    if itself >= 0 and mine > 0.0:
        s[_R + itself] = 1.0
    largest, large = 0.0, 0
    for k in range(len(line)):
        r = s[_R + k]
        small = r if abs(r) <= 0.5 else 0.0
        s[_SMALL + k] = small
        largest = max(largest, abs(small))
    for k in range(len(line)):
        at[large] = k
        large += abs(s[_R + k]) > 0.5
    return large, largest


@helper()
def _joined(line, noise_line, mine, phi, theirs, normal, bend, s):
    """Covariances of signal and noise from C and K."""
    for k in range(len(line)):
        either = bend[1] * (phi + normal[0, k]) + bend[2]
        line[k] = bend[0] * mine * theirs[k] * s[_BOTH + k] + either * line[k]
        noise_line[k] *= bend[0] * s[_PROBABILITY + k] + either


@helper()
def _mehler(phi, own, normal, series, largest, s):
    """Mehler's series of a row, by Horner's rule, four terms at a time."""
    count = series.shape[1]
    terms = 4
    size = largest**4
    while size > 1e-17 and terms < TERMS:
        size *= largest**4
        terms += 4
    for k in range(count):
        s[_BOTH + k] = 0.0
        s[_PROBABILITY + k] = 0.0
    for n in range(terms - 4, -1, -4):
        u0, u1 = own[n] * _INTEGRAL[n], own[n + 1] * _INTEGRAL[n + 1]
        u2, u3 = own[n + 2] * _INTEGRAL[n + 2], own[n + 3] * _INTEGRAL[n + 3]
        v0, v1 = u0 * _INTEGRAL[n + 1], u1 * _INTEGRAL[n + 2]
        v2, v3 = u2 * _INTEGRAL[n + 3], u3 * _INTEGRAL[n + 4]
        for k in range(count):
            x, c, d = s[_SMALL + k], s[_BOTH + k], s[_PROBABILITY + k]
            h0, h1, h2, h3 = series[n, k], series[n + 1, k], series[n + 2, k], series[n + 3, k]
            s[_BOTH + k] = (((c * x + v3 * h3) * x + v2 * h2) * x + v1 * h1) * x + v0 * h0
            s[_PROBABILITY + k] = (((d * x + u3 * h3) * x + u2 * h2) * x + u1 * h1) * x + u0 * h0
    for k in range(count):
        x, product = s[_SMALL + k], phi * normal[0, k]
        s[_BOTH + k] = x * (product + x * s[_BOTH + k])
        s[_PROBABILITY + k] = product + x * s[_PROBABILITY + k]


@helper()
def _near_one(a, own, means, normal, mills, count, s, at):
    """The series around |r| = 1, of the `count` columns that `at` names."""
    for n in range(count):
        k = at[n]
        r = s[_R + k]
        positive = r > 0.0
        b = means[k] if positive else -means[k]
        s[_W2 + n] = 0.5 * (1.0 - abs(r))
        s[_KAPPA + n] = 0.125 * (a + b) * (a + b)
        s[_T + n] = abs(a - b)
        # What is left at |r| = 1: the smaller of both decides, and psi(-M) psi(m).
        first = a <= b
        phi = normal[0, k] if positive else normal[1, k]
        psi, psi_minus = (normal[2, k], normal[3, k]) if positive else (normal[3, k], normal[2, k])
        low = own[0] if first else phi
        s[_BASE + n] = low if positive else own[0] - low
        s[_HEAD + n] = own[2] * psi_minus if first else psi * own[3]
    for n in range(count):
        w = math.sqrt(s[_W2 + n])
        z = min(s[_T + n] / max(2.0 * w, 1e-300), REACH)
        s[_Z2 + n] = z * z
        s[_POWER + n] = w / math.pi * _exp(s[_KAPPA + n] + 0.5 * z * z)
        s[_T + n] = 2.0 * (z - CENTRE) / (z + CENTRE)
        s[_MU + n] = 0.0
        s[_LAST + n] = 0.0
    # Clenshaw's rule for 1 - z R(z), two steps at a time.
    for c in range(MILLS - 1, 0, -2):
        for n in range(count):
            high = s[_T + n] * s[_MU + n] - s[_LAST + n] + mills[c]
            s[_LAST + n] = high
            s[_MU + n] = s[_T + n] * high - s[_MU + n] + mills[c - 1]
    for n in range(count):
        s[_MU + n] = 0.5 * s[_T + n] * s[_MU + n] - s[_LAST + n] + mills[0]
        s[_LAGUERRE + n] = 1.0
        s[_BEFORE + n] = 0.0
        s[_SUM_0 + n] = 0.0
        s[_SUM_1 + n] = 0.0
    for step in range(LAGUERRE):
        inverse, grown = 1.0 / (2 * step + 3), 1.0 / (step + 1)
        up, down = (2 * step + 0.5) * grown, (step - 0.5) * grown
        for n in range(count):
            mu, here = s[_MU + n], s[_LAGUERRE + n]
            after = (1.0 - s[_Z2 + n] * mu) * inverse
            size = here * s[_POWER + n]
            s[_SUM_0 + n] += size * mu
            s[_SUM_1 + n] += size * (mu - after)
            s[_MU + n] = after
            s[_POWER + n] *= s[_W2 + n]
            s[_LAGUERRE + n] = (up - s[_KAPPA + n] * grown) * here - down * s[_BEFORE + n]
            s[_BEFORE + n] = here
    for n in range(count):
        k = at[n]
        r = s[_R + k]
        s[_BOTH + k] = r * s[_BASE + n] - s[_HEAD + n] + 2.0 * s[_W2 + n] * s[_SUM_1 + n]
        s[_PROBABILITY + k] = s[_BASE + n] - (s[_SUM_0 + n] if r > 0.0 else -s[_SUM_0 + n])


@helper()
def _exp(x):
    """exp(-x), x from 0 on, to 4e-15 relative; below exp(-700) that. By squaring, with no whole numbers.

    exp(-x / 1024) - 1 is squared while it is small, so that it stays exact, and what it makes of 1 at last.
    """
    y = min(x, _LARGEST) * (1.0 / 1024.0)
    s = 1.0 - y * (1.0 / 13.0)
    s = 1.0 - y * (1.0 / 12.0) * s
    s = 1.0 - y * (1.0 / 11.0) * s
    s = 1.0 - y * (1.0 / 10.0) * s
    s = 1.0 - y * (1.0 / 9.0) * s
    s = 1.0 - y * (1.0 / 8.0) * s
    s = 1.0 - y * (1.0 / 7.0) * s
    s = 1.0 - y * (1.0 / 6.0) * s
    s = 1.0 - y * (1.0 / 5.0) * s
    s = 1.0 - y * (1.0 / 4.0) * s
    s = 1.0 - y * (1.0 / 3.0) * s
    s = 1.0 - y * 0.5 * s
    less = -y * s
    less *= 2.0 + less
    less *= 2.0 + less
    less *= 2.0 + less
    less *= 2.0 + less
    less *= 2.0 + less
    left = 1.0 + less
    left *= left
    left *= left
    left *= left
    left *= left
    left *= left
    return left
