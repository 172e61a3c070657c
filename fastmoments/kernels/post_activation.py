"""Loops of the activation of a sum that is not Gaussian: densities of points, covariances of pairs."""

from __future__ import annotations

import math

from .jit import jit

#: Standard deviations beyond which a Gaussian is nothing.
REACH = 9.0


@jit()
def smooth(
    worker, workers, sources, zero, positive, negative, slopes, scales, widths, shares, kurtosis, density,
    energy, step, new_zero, new_density, new_energy,
):  # fmt: skip
    """Density and noise energy of phi(y) scale + width g, g nearly a Gaussian, on a grid; row by row.

    The density of g is that of a Gaussian times 1 + kurtosis He_4 / 24, of variance 1.

    Parameters
    ----------
    sources : (n,)
        The y of a row of `density` and `energy`, 0 at index `zero`.
    positive, negative : (n,)
        Quadrature weights of the half lines, which meet at 0.
    slopes : (2,)
        Of phi, above 0 and below.
    scales, widths, shares : (points,)
        Share: of g in the noise energy, the rest of which stands in `energy` with any factor.
    kurtosis : float
        Excess of g.
    step, new_zero, new_density, new_energy
        The grid behind, and what is found on it; zero on entry.
    """
    size, n = sources.size, new_density.shape[1]
    root = 1.0 / math.sqrt(2.0 * math.pi)
    kurtosis /= 24.0
    for p in range(worker, density.shape[0], workers):
        width, scale, share = widths[p], scales[p], shares[p]
        out, out_energy = new_density[p], new_energy[p]
        passed = 0.0
        for i in range(size):
            left = negative[i] * slopes[1] * slopes[1]
            passed += (positive[i] * slopes[0] * slopes[0] + left) * energy[p, i]
        kept = (1.0 - share) / passed if passed > 0.0 else 0.0
        h = step / width
        shrink = math.exp(-h * h)
        atom, atom_energy = 0.0, 0.0
        for half in range(2):
            slope = slopes[half]
            first, last = (zero, size) if half == 0 else (0, zero + 1)
            for i in range(first, last):
                weight = positive[i] if half == 0 else negative[i]
                mass = weight * density[p, i]
                heat = share * mass + kept * slope * slope * weight * energy[p, i]
                if slope == 0.0:
                    atom += mass
                    atom_energy += heat
                    mass, heat = 0.0, 0.0
                place = scale * slope * sources[i]
                if slope == 0.0 and i == last - 1:
                    mass, heat = atom, atom_energy
                if mass == 0.0:
                    continue
                # The Gaussian around `place`, from the node next to it outwards: a factor that shrinks.
                nearest = round(place / step)
                middle = nearest + new_zero
                x = (nearest * step - place) / width
                peak = root / width * math.exp(-0.5 * x * x)
                for side in range(2):
                    turn = 1.0 if side == 0 else -1.0
                    value = peak
                    factor = math.exp(-turn * x * h - 0.5 * h * h)
                    j = middle
                    at = x
                    if side == 1:
                        value *= factor
                        factor *= shrink
                        j -= 1
                        at -= h
                    while value > 1e-18 * peak:
                        if 0 <= j < n:
                            square = at * at
                            bent = value * (1.0 + kurtosis * ((square - 6.0) * square + 3.0))
                            out[j] += mass * bent
                            out_energy[j] += heat * bent
                        value *= factor
                        factor *= shrink
                        j += 1 if side == 0 else -1
                        at += turn * h


@jit()
def look_up(
    worker, workers, blocks, shortcut, weight, first, second, inverses, branch_inverses, roots, kinds, ends,
    tables, noise, shortcut_noise, noise_weight, where, mask_roots, after,
):  # fmt: skip
    """What an activation makes of a sum, in place: its covariance, and that of the noise.

    With t and c the correlations of shortcut and branch, K' = roots roots' (1 - (1 - t) A - (1 - c) B).

    Parameters
    ----------
    blocks, first, second
        Of the sum; as for `blocks.activate`.
    shortcut : (pairs, size, size)
        `weight` times these blocks is the shortcut's part.
    inverses, branch_inverses, roots : float64 (points,)
        Inverse roots of the diagonals of `shortcut` and of the branch's part; roots of that behind.
    kinds : int64 (points,)
        Which law a point has: index of the tables.
    ends : float64 (laws, laws, nodes)
        A at equidistant sqrt(1 - t) from 0 to sqrt(2).
    tables : float64 (3, laws, laws, nodes, nodes)
        B, and the shares of the shortcut's and the branch's noise that pass, by sqrt(1 - t) and sqrt(1 - c).
    noise, shortcut_noise : float64 (blocks, size, size)
        Of the sum and the shortcut, of which `noise_weight` stands in the sum.
    where : int64 (pairs,)
        Which of these blocks is that of a pair; -1 for none.
    mask_roots : float64 (points,)
        Square root of the share of noise that passes at a point.
    after : float64 (pairs, 2, size)
        Row and column sums of the result; zero on entry.
    """
    pairs, size, _ = blocks.shape
    cells = ends.shape[2] - 1
    fine = cells / math.sqrt(2.0)
    for p in range(worker, pairs, workers):
        block, other, sums = blocks[p], shortcut[p], after[p]
        at = where[p]
        for a in range(size):
            left = first[p] * size + a
            one = kinds[left]
            total = 0.0
            for b in range(size):
                right = second[p] * size + b
                two = kinds[right]
                gap = 1.0 - other[a, b] * inverses[left] * inverses[right]
                branch = (block[a, b] - weight * other[a, b]) * branch_inverses[left] * branch_inverses[right]
                gap, branch = min(max(gap, 0.0), 2.0), min(max(1.0 - branch, 0.0), 2.0)
                x, y = math.sqrt(gap) * fine, math.sqrt(branch) * fine
                i, j = min(int(x), cells - 1), min(int(y), cells - 1)
                x -= i
                y -= j
                w00, w01, w10, w11 = (1.0 - x) * (1.0 - y), (1.0 - x) * y, x * (1.0 - y), x * y
                end = (1.0 - x) * ends[one, two, i] + x * ends[one, two, i + 1]
                slope = (
                    w00 * tables[0, one, two, i, j] + w01 * tables[0, one, two, i, j + 1]
                    + w10 * tables[0, one, two, i + 1, j] + w11 * tables[0, one, two, i + 1, j + 1]
                )  # fmt: skip
                value = roots[left] * roots[right]
                if left != right:
                    value *= 1.0 - gap * end - branch * slope
                if at >= 0:
                    if left == right:
                        noise[at, a, b] *= mask_roots[left] * mask_roots[left]
                    else:
                        kept = noise_weight * shortcut_noise[at, a, b]
                        fresh = noise[at, a, b] - kept
                        noise[at, a, b] = kept * (
                            w00 * tables[1, one, two, i, j] + w01 * tables[1, one, two, i, j + 1]
                            + w10 * tables[1, one, two, i + 1, j] + w11 * tables[1, one, two, i + 1, j + 1]
                        ) + fresh * (
                            w00 * tables[2, one, two, i, j] + w01 * tables[2, one, two, i, j + 1]
                            + w10 * tables[2, one, two, i + 1, j] + w11 * tables[2, one, two, i + 1, j + 1]
                        )  # fmt: skip
                block[a, b] = value
                total += value
                sums[1, b] += value
            sums[0, a] = total
