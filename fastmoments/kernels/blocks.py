"""Loops over the stored blocks of a covariance: convolution, activation and batch norm.

A covariance over M points is stored as blocks of image pairs ``(first[p], second[p])``, each of
``size x size`` points; a kernel visits a block once, while it is in the cache. Every kernel works
through the pairs in ``workers`` interleaved lists that write disjoint memory, of which a call does that
of one ``worker`` (`threads.spread`), so the numbers do not depend on how many there are. All of them stand
in one module because numba's cache does not notice an edit in another one.

Sums over the rows of the result are a by-product: ``sums[p, 0]`` are the row sums of block p and
``sums[p, 1]`` its column sums, which are the row sums of the mirrored block that is not stored.

With r the correlation of two pre-activations and u = 1 - |r|, the arc-cosine kernels (Cho and Saul,
2009) are

    2 k1(r) = 2 E[relu relu] = max(r, 0) + u^(3/2) H(u)
    2 pi k0(r) = 2 pi E[1(>0) 1(>0)] = pi [r >= 0] -/+ u^(1/2) A(u)       (minus for r >= 0)

where A(u) = acos(1-u) / u^(1/2) and pi H(u) = (sqrt(u(2-u)) - (1-u) acos(1-u)) / u^(3/2) are analytic
on [0, 1] (the nearest singularity is u = 2), so that polynomials of degree 17 and 15 give them to a
few units in the last place, with neither a branch nor a cancellation at r = 1 or r = -1. In single
precision degree 9 and 7 do.

An activation of two slopes a, b is ``(a - b) relu(x) + b x``, so that its covariance and that of its
derivative are

    bend E[relu relu] + passed K    and    bend k0 + passed,        bend = (a - b)^2, passed = a b

(`nets.layers.PiecewiseLinear`); of the ReLU 1 and 0.

The signal's blocks are of double or single precision, and every array that stands beside them in a
loop over their elements has the same; the noise and all sums are of double precision.
"""

from __future__ import annotations

import math

import numpy as np

from .jit import helper, jit

# Indices that are sums are unsigned: of a signed one numba must ask whether it counts from the end,
# and the loop would not vectorise.
U = np.uint64

#: Parts of a product with vectors that are summed apart: more threads than that have nothing to do there.
PARTS = 8
# Rows of a block whose sums over eigenpairs are one matrix product: a panel stays in the cache.
PANEL = 32

HALF_PI = 0.5 * math.pi
INVERSE_2PI = 0.5 / math.pi


def _polynomials(*degrees: int) -> list[list[float]]:
    """Coefficients in u of A and H, interpolated in Chebyshev nodes of [0, 1] from the power series.

    acos(1-u) = sqrt(2u) sum_n binom(2n, n) / (8^n (2n+1)) u^n  and  sqrt(u(2-u)) = sqrt(2u) sqrt(1-u/2).
    """
    terms = 70  # the series' radius is 2: 2^-70 is far below the rounding at u = 1
    n = np.arange(terms)
    central = np.cumprod(np.r_[1.0, (2.0 * n[1:] - 1.0) / (4.0 * n[1:])])  # binom(2n, n) / 8^n
    arc = math.sqrt(2.0) * central / (2 * n + 1)
    root = -math.sqrt(2.0) * central / (2 * n - 1)
    lens = (root - arc + np.r_[0.0, arc[:-1]])[1:] / math.pi
    fits = []
    for series, degree in zip((arc, lens), degrees, strict=True):
        nodes = 0.5 - 0.5 * np.cos(math.pi * (np.arange(degree + 1) + 0.5) / (degree + 1))
        values = np.polynomial.polynomial.polyval(nodes, series)
        fit = np.polynomial.Chebyshev.fit(nodes, values, degree, domain=[0.0, 1.0])
        fits.append(fit.convert(kind=np.polynomial.Polynomial, domain=[-1, 1], window=[-1, 1]).coef.tolist())
    return fits


#: A and H by the precision of the blocks; of odd degree. They are arguments of the kernels: there are more
#: coefficients than registers, and to build the address of a constant takes longer than to read the stack.
POLYNOMIALS = {
    np.dtype(real): tuple(tuple(map(real, fit)) for fit in _polynomials(*degrees))
    for real, degrees in ((np.float64, (17, 15)), (np.float32, (9, 7)))
}


@helper()
def _clear(out):
    for a in range(out.shape[0]):
        for b in range(out.shape[1]):
            out[a, b] = 0.0


@helper()
def _polynomial(fit, u):
    """sum_k fit_k u^k. Even and odd powers apart: shorter chains of operations that wait for each other."""
    square = u * u
    even, odd = fit[-2], fit[-1]
    for k in range(len(fit) - 4, -1, -2):
        even = fit[k] + square * even
        odd = fit[k + 1] + square * odd
    return even + u * odd


@helper()
def _double_k1(r, zero, one, lens):
    """2 k1(r); `zero` and `one` in the precision of r."""
    u = max(one - abs(r), zero)
    return max(r, zero) + u * math.sqrt(u) * _polynomial(lens, u)


@helper()
def _activate_row(row, factor, inverse, passed, roots, inverses, right, lens, out):
    """out_b = 2 factor roots_b k1(r_b) + passed row_b with r_b = row_b inverse inverses_b.

    For the points b of a block, of which `right` is the first.
    """
    zero, one = row.dtype.type(0.0), row.dtype.type(1.0)
    for b in range(U(row.size)):
        r = row[b] * (inverse * inverses[right + b])
        out[b] = (factor * roots[right + b]) * _double_k1(r, zero, one, lens) + passed * row[b]


@helper()
def _mask_row(row, factor, inverse, passed, inverses, right, arc, out):
    """out_b = 2 pi factor k0(r_b) + passed, likewise."""
    real = row.dtype.type
    half_pi, one, zero = real(HALF_PI), real(1.0), real(0.0)
    for b in range(U(row.size)):
        r = row[b] * (inverse * inverses[right + b])
        u = max(one - abs(r), zero)
        angle = half_pi - math.sqrt(u) * _polynomial(arc, u)  # asin |r|
        out[b] = factor * (half_pi + math.copysign(angle, r)) + passed


@helper(reassociate=True)
def _plus(total, value):
    """One step of a sum over a row; only here may a sum be reordered."""
    return total + value


@helper()
def _tally(rows, line, sums, a):
    """Add ``rows[line]``, row `a` of a block, to the by-products."""
    total = 0.0
    for b in range(rows.shape[1]):
        total = _plus(total, rows[line, b])
        sums[1, b] += rows[line, b]
    sums[0, a] = total


@helper()
def _activate(row, left, right, bend, passed, roots, inverses, arc, lens, noise, mask, out, sums, line):
    """Activation of a row into row `line` of `out`; on a diagonal block its mask into that row of `noise`.

    `left` is the point of the row, `right` the first of its columns. Adds the result to the by-products.
    """
    zero, half, one = row.dtype.type(0.0), row.dtype.type(0.5), row.dtype.type(1.0)
    factor, inverse = half * bend * roots[left], inverses[left]
    total = 0.0
    for b in range(U(row.size)):
        r = row[b] * (inverse * inverses[right + b])
        value = (factor * roots[right + b]) * _double_k1(r, zero, one, lens)
        out[line, b] = value
        total = _plus(total, value)
        sums[1, b] += value
    if passed != zero:  # apart, since the ReLU, which has none, is the rule
        for b in range(U(row.size)):
            value = passed * row[b]
            out[line, b] += value
            total = _plus(total, value)
            sums[1, b] += value
    if left == right + line:
        exact = (factor + passed * roots[left]) * roots[left]  # r = 1 exactly, never through the rounded r
        surplus = exact - out[line, line]
        out[line, line] = exact
        total += surplus
        sums[1, line] += surplus
        if noise.size:
            _mask_row(row, row.dtype.type(INVERSE_2PI) * bend, inverse, passed, inverses, right, arc, mask)
            mask[line] = half * bend + passed
            for b in range(row.size):
                noise[line, b] *= mask[b]
    sums[0, line] = total


@jit()
def activate(
    worker, workers, arc, lens, bend, passed, blocks, first, second, scale, bias, roots, inverses, noise,
    before, after,
):  # fmt: skip
    """Activation of ``scale * K + bias``, in place; and of the noise, block by block.

    Parameters
    ----------
    blocks : (pairs, size, size)
        K, overwritten by the covariance of the activations.
    first, second : int64 (pairs,)
    roots, inverses : (points,)
        Square root of the diagonal of ``scale * K + bias``, and its inverse (0 for 0).
    arc, lens : tuples
        A and H (`POLYNOMIALS`).
    bend, passed : of the precision of the blocks
    noise : float64 (images, size, size)
        Noise covariance of each image, multiplied by bend k0 + passed; empty when it is not wanted.
    before, after : float64 (pairs, 2, size)
        Row and column sums of ``scale * K + bias`` and of the result; zero on entry. `before` may be
        empty when it is not wanted.
    """
    pairs, size, _ = blocks.shape
    real = blocks.dtype.type
    rows, mask = np.empty((1, size), blocks.dtype), np.empty(size, blocks.dtype)
    row = rows[0]
    nothing = np.empty((0, 0))
    for p in range(worker, pairs, workers):
        block = blocks[p]
        masked = noise[first[p]] if first[p] == second[p] and noise.size else nothing
        tally, sums = before[p] if before.size else nothing, after[p]
        left, right = U(first[p] * size), U(second[p] * size)
        for a in range(U(size)):
            for b in range(size):
                row[b] = real(scale) * block[a, b] + real(bias)
            if tally.size:
                _tally(rows, U(0), tally, a)
            _activate(
                row, left + a, right, bend, passed, roots, inverses, arc, lens, masked, mask, block, sums, a
            )


@helper()
def _sum_taps(
    source, base, lines, i_line, starts, i_start, weights, i_weight, factors, i_factor,
    step, offset, out, line, to, to_step, count,
):  # fmt: skip
    """Sum of taps, three in one pass, for q < count.

    out[line, to + q to_step] = offset + sum_t weights_t factors_t source[base + lines_t, starts_t + q step],
    where what belongs to the taps t are rows of tables: a view of a row would count references, which takes
    as long as the sum.
    """
    real = source.dtype.type
    for t in range(0, lines.shape[1], 3):
        i, j, k = U(base + lines[i_line, t]), U(base + lines[i_line, t + 1]), U(base + lines[i_line, t + 2])
        a, b, c = U(starts[i_start, t]), U(starts[i_start, t + 1]), U(starts[i_start, t + 2])
        u = real(weights[i_weight, t] * factors[i_factor, t])
        v = real(weights[i_weight, t + 1] * factors[i_factor, t + 1])
        w = real(weights[i_weight, t + 2] * factors[i_factor, t + 2])
        for q in range(U(count)):
            s, d = q * U(step), U(to) + q * U(to_step)
            total = u * source[i, a + s] + v * source[j, b + s] + w * source[k, c + s]
            out[U(line), d] = total + (out[U(line), d] if t else offset)


@helper()
def _sum_taps_along_width(
    block, base, width, columns, across, term, inside, low, high, stride, out, line, to
):
    """out[line + a2, to + (b1, b2)] = sum_t across_t K[base + (a2 + t), (b1, b2 + t)], for stride 1.

    The weights of the first column are row `term` of `across`.

    In columns b2 that see no border, which are those from `low` to `high`, the shift by a tap is one of the
    whole flattened image; it spoils the others, which are put right one by one.
    """
    zero = block.dtype.type(0.0)
    new_width, height = columns.shape[0], block.shape[1] // width
    if low < high:
        count = (height - 1) * new_width + high - low
        for a2 in range(new_width):
            if stride == 1:  # said apart, or the loop would not vectorise
                _sum_taps(
                    block, base, columns, a2, columns, low, across, term + a2, inside, low, 1, zero,
                    out, line + a2, to + low, 1, count,
                )  # fmt: skip
            else:
                _sum_taps(
                    block, base, columns, a2, columns, low, across, term + a2, inside, low, stride, zero,
                    out, line + a2, to + low, np.int64(1), count,
                )  # fmt: skip
    for edge in range(new_width - (high - low)):
        b2 = edge if edge < low else edge + (high - low)
        for a2 in range(new_width):
            _sum_taps(
                block, base, columns, a2, columns, b2, across, term + a2, inside, b2, width, zero,
                out, line + a2, to + b2, new_width, height,
            )  # fmt: skip


@helper()
def _pad_height(out, line, pad_h, top, height, width):
    """Around the image in each of `width` rows of `out` from `line` on, put what stands in its padding."""
    for b1 in range(pad_h.size):
        if b1 < top or b1 >= top + height:
            to, start = U(b1 * width), U((top + pad_h[b1]) * width)
            for a2 in range(line, line + width):
                for b2 in range(U(width)):
                    out[U(a2), to + b2] = out[U(a2), start + b2] if pad_h[b1] >= 0 else 0.0


@jit(allocates=False)
def convolve(
    worker, workers, arc, lens, bend, passed, source, target, first, second, width, pad_h, slots, kept, lines,
    down, drops, columns, across, inside, low, high, top, stride, scales, bias, activate, roots, inverses,
    noise, before, after, all_sums, all_starts, all_rows, nothing,
):  # fmt: skip
    """Scale times the sum over taps of K, plus ``bias``; then, if asked, an activation: one visit.

    The k x k sum of K[(a + t), (b + t)], the same tap on both sides, separates into one along the
    width and one along the height; a weighted one into several such pairs. The first is taken of all rows
    (a1, a2) of a row a1 of the image at a time, and kept for as long as the second needs it.

    Parameters
    ----------
    source : (pairs, size, size)
    target : (pairs, new size, new size)
        May be `source` when the sizes agree.
    width : int
        Positions along the width before the convolution.
    pad_h : int64
        Position behind each padded one along the height, or -1 (`Conv.padded_index`).
    slots, kept, lines, down, drops, columns, across, inside, low, high, top
        Where the taps are and what they weigh (`taps.TapTables`).
    stride : int
    activate : bool
        Whether the activation follows; if not, `roots`, `inverses`, `noise` and `after` are not used.
    scales : (1, terms taps)
        The scale.
    roots, inverses, arc, lens, bend, passed, noise, before, after
        As for `activate`, in the sizes of the result.
    all_sums, all_starts, all_rows, nothing
        Memory of the workers (`taps.memory_of_workers`).
    """
    pairs, size, _ = source.shape
    new_height, new_width, new_size = lines.shape[0], columns.shape[0], target.shape[1]
    height, terms = size // width, across.shape[0] // new_width
    piece = new_size if stride == 1 else new_width  # of the flattened image, in which a tap is a shift
    real = source.dtype.type
    first_row = np.int64(0)  # a literal would be compiled apart
    sums, starts, rows = all_sums[worker], all_starts[worker], all_rows[worker]
    row, mask = rows[0], rows[1]
    for p in range(worker, pairs, workers):
        block, result = source[p], target[p]
        masked = noise[first[p]] if first[p] == second[p] and noise.size else nothing
        tally, total = before[p] if before.size else nothing, after[p] if activate else nothing
        left, right = U(first[p] * new_size), U(second[p] * new_size)
        for a1 in range(new_height):
            for h in range(height):
                if slots[h, 0] == a1:
                    for term in range(terms):
                        line = (term * kept + slots[h, 1]) * new_width
                        _sum_taps_along_width(
                            block, h * width, width, columns, across, term * new_width, inside, low, high,
                            stride, sums, line, top * new_width,
                        )  # fmt: skip
                        _pad_height(sums, line, pad_h, top, height, new_width)
            for a2 in range(new_width):
                for to in range(0, new_size, piece):
                    for t in range(drops.size):
                        starts[0, t] = drops[t] + to * stride
                    _sum_taps(
                        sums, a2, lines, a1, starts, first_row, down, a1, scales, first_row,
                        1, real(bias), rows, first_row, to, 1, piece,
                    )  # fmt: skip
                a = U(a1 * new_width + a2)
                if tally.size:
                    _tally(rows, U(0), tally, a)
                if activate:
                    _activate(
                        row, left + a, right, bend, passed, roots, inverses, arc, lens, masked, mask,
                        result, total, a,
                    )  # fmt: skip
                else:
                    for b in range(new_size):
                        result[a, b] = row[b]


@helper()
def _scale_columns(source, start, factors, out):
    """out[a, k] = source[start + a, k] factors[k]."""
    for a in range(U(out.shape[0])):
        for k in range(out.shape[1]):
            out[a, k] = source[start + a, k] * factors[k]


@jit()
def normalise(
    worker, workers, arc, lens, bend, passed, blocks, first, second, means, vectors, values, damped, bulk,
    roots, inverses, weights, mask_nodes, activated, noise, after,
):  # fmt: skip
    """Batch norm as a weighted set of Gaussians S_s, then, if asked, the activation of each; in place.

    At node s the centred covariance S = sum_k values_k u_k u_k' + B becomes
    ``S_s = sum_k damped[s, k] u_k u_k' + bulk[s] B bulk[s]``. A block is worked through in panels of
    `PANEL` rows, whose sums over k are products of small matrices.

    Parameters
    ----------
    blocks : (pairs, size, size)
        Covariance before batch norm, not centred; overwritten.
    means : (points,)
        Row mean of the covariance minus half its grand mean, so that S = K - means_p - means_q.
    vectors : (points, rank)
        Eigenvectors u_k of S in columns.
    values : (rank,)
    damped : (nodes, rank)
    bulk, roots, inverses : (nodes, points)
        Damping of the bulk B; square root of the diagonal of S_s and its inverse.
    weights : (nodes,)
    mask_nodes : int
        The last `mask_nodes` nodes serve the noise, those before them the signal.
    activated : bool
        False adds up S_s itself and leaves the noise alone.
    arc, lens, bend, passed, noise, after
        As for `activate`.
    """
    pairs, size, _ = blocks.shape
    nodes, rank = damped.shape
    signal_nodes = nodes - mask_nodes
    height = min(PANEL, size)
    real = blocks.dtype.type
    scaled = np.empty((height, rank), blocks.dtype)
    partner = np.empty((rank, size), blocks.dtype)
    panels = np.empty((4, height, size), blocks.dtype)
    bulk_part, damped_part, out, mask = panels[0], panels[1], panels[2], panels[3]
    row, part = np.empty(size, blocks.dtype), np.empty(size, blocks.dtype)
    for p in range(worker, pairs, workers):
        block, sums = blocks[p], after[p]
        same = first[p] == second[p]
        masked = same and activated and noise.size > 0
        right = U(second[p] * size)
        for k in range(rank):
            for b in range(U(size)):
                partner[k, b] = vectors[right + b, k]
        for start in range(0, size, height):
            # The last panel is moved up to a full height; what it repeats is skipped below.
            top = U(min(start, size - height))
            skip = U(start) - top
            left = U(first[p] * size) + top
            _scale_columns(vectors, left, values, scaled)
            np.dot(scaled, partner, bulk_part)
            for a in range(skip, U(height)):
                for b in range(U(size)):
                    bulk_part[a, b] = block[top + a, b] - means[left + a] - means[right + b] - bulk_part[a, b]
            _clear(out)
            _clear(mask)
            for s in range(nodes if masked else signal_nodes):
                weight, its_roots, its_inverses = weights[s], roots[s], inverses[s]
                _scale_columns(vectors, left, damped[s], scaled)
                np.dot(scaled, partner, damped_part)
                for a in range(skip, U(height)):
                    factor, inverse = bulk[s, left + a], its_inverses[left + a]
                    for b in range(U(size)):
                        row[b] = damped_part[a, b] + factor * bulk[s, right + b] * bulk_part[a, b]
                    if not activated:
                        for b in range(size):
                            out[a, b] += weight * row[b]
                    elif s < signal_nodes:
                        root = its_roots[left + a]
                        amplitude, share = real(0.5) * bend * weight * root, passed * weight
                        _activate_row(
                            row, amplitude, inverse, share, its_roots, its_inverses, right, lens, part
                        )
                        if same:
                            part[top + a] = (amplitude + share * root) * root
                        for b in range(size):
                            out[a, b] += part[b]
                    else:
                        share = weight * bend * real(INVERSE_2PI)
                        _mask_row(row, share, inverse, passed * weight, its_inverses, right, arc, part)
                        part[top + a] = real(0.5) * bend * weight + passed * weight
                        for b in range(size):
                            mask[a, b] += part[b]
            for a in range(skip, U(height)):
                for b in range(size):
                    block[top + a, b] = out[a, b]
                _tally(out, a, sums, top + a)
                if masked:
                    for b in range(size):
                        noise[first[p], top + a, b] *= mask[a, b]


@helper()
def _add(values, out):
    for a in range(out.shape[0]):
        for k in range(out.shape[1]):
            out[a, k] += values[a, k]


@jit()
def multiply(worker, workers, blocks, first, second, vectors, sums):
    """Product of a covariance with a set of vectors, as `PARTS` sums.

    A stored block serves both of its images in one visit. Each part of the blocks has a sum of its own, so
    that workers need not wait for each other, and the order of the sums does not depend on them.

    Parameters
    ----------
    blocks : (pairs, size, size)
    first, second : int64 (pairs,)
    vectors : (images, size, count)
    sums : (parts, images, size, count)
        Zero on entry.
    """
    product = np.empty(vectors.shape[1:], sums.dtype)
    for part in range(worker, sums.shape[0], workers):
        for p in range(part, blocks.shape[0], sums.shape[0]):
            i, j = first[p], second[p]
            np.dot(blocks[p], vectors[j], product)
            _add(product, sums[part, i])
            if i < j:
                np.dot(blocks[p].T, vectors[i], product)
                _add(product, sums[part, j])


@jit()
def combine(worker, workers, blocks, factor, others, share):
    """``factor * blocks + share * others``, in place."""
    real = blocks.dtype.type
    for p in range(worker, blocks.shape[0], workers):
        for a in range(blocks.shape[1]):
            for b in range(blocks.shape[2]):
                blocks[p, a, b] = real(factor) * blocks[p, a, b] + real(share) * others[p, a, b]


@jit()
def rescale(worker, workers, blocks, first, second, means, factors, sums):
    """Multiply the centred covariance, ``K_pq - means_p - means_q``, by a factor of each image, in place.

    Parameters
    ----------
    blocks : (pairs, size, size)
    first, second : int64 (pairs,)
    means : (points,)
    factors : (images,)
    sums : float64 (pairs, 2, size)
        Row and column sums of what the blocks become. Zero on entry.
    """
    pairs, size, _ = blocks.shape
    rows = np.empty((1, size), blocks.dtype)
    for p in range(worker, pairs, workers):
        block, tally, factor = blocks[p], sums[p], factors[first[p]] * factors[second[p]]
        left, right = U(first[p] * size), U(second[p] * size)
        for a in range(U(size)):
            for b in range(U(size)):
                mean = means[left + a] + means[right + b]
                rows[0, b] = factor * (block[a, b] - mean) + mean
                block[a, b] = rows[0, b]
            _tally(rows, U(0), tally, a)


@jit()
def sum_squares(worker, workers, blocks, first, second, means, sums):
    """Row and column sums of the squares of each centred block, ``K_pq - means_p - means_q``.

    Parameters
    ----------
    blocks : (pairs, size, size)
    first, second : int64 (pairs,)
    means : (points,)
    sums : float64 (pairs, 2, size)
        Zero on entry.
    """
    pairs, size, _ = blocks.shape
    rows = np.empty((1, size), blocks.dtype)
    for p in range(worker, pairs, workers):
        block, tally = blocks[p], sums[p]
        left, right = U(first[p] * size), U(second[p] * size)
        for a in range(U(size)):
            for b in range(U(size)):
                centred = block[a, b] - means[left + a] - means[right + b]
                rows[0, b] = centred * centred
            _tally(rows, U(0), tally, a)
