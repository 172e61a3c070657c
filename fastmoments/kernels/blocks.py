"""Loops over the stored blocks of a covariance: convolution, ReLU and batch norm.

A covariance over M points is stored as blocks of image pairs ``(first[p], second[p])``, each of
``size x size`` points; a kernel visits a block once, while it is in the cache. Every kernel works
through the pairs in ``workers`` interleaved lists that write disjoint memory, so the numbers do not
depend on how many threads there are. All of them stand in one module because numba's cache does
not notice an edit in another one.

Sums over the rows of the result are a by-product: ``sums[p, 0]`` are the row sums of block p and
``sums[p, 1]`` its column sums, which are the row sums of the mirrored block that is not stored.

With r the correlation of two pre-activations and u = 1 - |r|, the arc-cosine kernels (Cho and Saul,
2009) are

    2 pi k1(r) = 2 pi E[relu relu] = pi max(r, 0) + u^(3/2) H(u)
    2 pi k0(r) = 2 pi E[1(>0) 1(>0)] = pi [r >= 0] -/+ u^(1/2) A(u)       (minus for r >= 0)

where A(u) = acos(1-u) / u^(1/2) and H(u) = (sqrt(u(2-u)) - (1-u) acos(1-u)) / u^(3/2) are analytic
on [0, 1] (the nearest singularity is u = 2), so that polynomials of degree 17 and 15 give them to a
few units in the last place, with neither a branch nor a cancellation at r = 1 or r = -1. In single
precision degree 8 and 7 do.

The signal's blocks are of double or single precision, and every array that stands beside them in a
loop over their elements has the same; the noise and all sums are of double precision.
"""

from __future__ import annotations

import math

import numpy as np
from numba import prange, types

from .jit import chosen_by_type, helper, jit

# Indices that are sums are unsigned: of a signed one numba must ask whether it counts from the end,
# and the loop would not vectorise.
U = np.uint64

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
    lens = (root - arc + np.r_[0.0, arc[:-1]])[1:]
    fits = []
    for series, degree in zip((arc, lens), degrees, strict=True):
        nodes = 0.5 - 0.5 * np.cos(math.pi * (np.arange(degree + 1) + 0.5) / (degree + 1))
        values = np.polynomial.polynomial.polyval(nodes, series)
        fit = np.polynomial.Chebyshev.fit(nodes, values, degree, domain=[0.0, 1.0])
        fits.append(fit.convert(kind=np.polynomial.Polynomial, domain=[-1, 1], window=[-1, 1]).coef.tolist())
    return fits


_ARC, _LENS = _polynomials(17, 15)
A0, A1, A2, A3, A4, A5, A6, A7, A8, A9, A10, A11, A12, A13, A14, A15, A16, A17 = _ARC
H0, H1, H2, H3, H4, H5, H6, H7, H8, H9, H10, H11, H12, H13, H14, H15 = _LENS
_ARC, _LENS = _polynomials(8, 7)
B0, B1, B2, B3, B4, B5, B6, B7, B8 = map(np.float32, _ARC)
I0, I1, I2, I3, I4, I5, I6, I7 = map(np.float32, _LENS)


@helper()
def _clear(out):
    for a in range(out.shape[0]):
        for b in range(out.shape[1]):
            out[a, b] = 0.0


@helper()
def _copy(source, out):
    for a in range(out.shape[0]):
        for b in range(out.shape[1]):
            out[a, b] = source[a, b]


@helper()
def _double_arc(u):
    u2 = u * u
    u4 = u2 * u2
    u8 = u4 * u4
    low = ((A0 + A1 * u) + (A2 + A3 * u) * u2) + ((A4 + A5 * u) + (A6 + A7 * u) * u2) * u4
    mid = ((A8 + A9 * u) + (A10 + A11 * u) * u2) + ((A12 + A13 * u) + (A14 + A15 * u) * u2) * u4
    return low + (mid + (A16 + A17 * u) * u8) * u8


@helper()
def _single_arc(u):
    u2 = u * u
    u4 = u2 * u2
    low = ((B0 + B1 * u) + (B2 + B3 * u) * u2) + ((B4 + B5 * u) + (B6 + B7 * u) * u2) * u4
    return low + (B8 * u4) * u4


@chosen_by_type({types.float32: _single_arc, types.float64: _double_arc})
def _arc(u):
    """A(u). Estrin's scheme: short chains of dependent operations keep the pipelines full."""
    return _double_arc(u)


@helper()
def _double_lens(u):
    u2 = u * u
    u4 = u2 * u2
    u8 = u4 * u4
    low = ((H0 + H1 * u) + (H2 + H3 * u) * u2) + ((H4 + H5 * u) + (H6 + H7 * u) * u2) * u4
    mid = ((H8 + H9 * u) + (H10 + H11 * u) * u2) + ((H12 + H13 * u) + (H14 + H15 * u) * u2) * u4
    return low + mid * u8


@helper()
def _single_lens(u):
    u2 = u * u
    return ((I0 + I1 * u) + (I2 + I3 * u) * u2) + ((I4 + I5 * u) + (I6 + I7 * u) * u2) * (u2 * u2)


@chosen_by_type({types.float32: _single_lens, types.float64: _double_lens})
def _lens(u):
    """H(u), likewise."""
    return _double_lens(u)


@helper()
def _rectify_row(row, factor, inverse, roots, inverses, right, out, line):
    """out[line, b] = 2 pi factor roots_b k1(r_b) with r_b = row_b inverse inverses_b.

    For the points b of a block, of which `right` is the first.
    """
    real = row.dtype.type
    pi, one, zero = real(math.pi), real(1.0), real(0.0)
    for b in range(U(row.size)):
        r = row[b] * (inverse * inverses[right + b])
        u = max(one - abs(r), zero)
        out[line, b] = (factor * roots[right + b]) * (pi * max(r, zero) + u * math.sqrt(u) * _lens(u))


@helper()
def _mask_row(row, factor, inverse, inverses, right, out):
    """out_b = 2 pi factor k0(r_b), likewise."""
    real = row.dtype.type
    half_pi, one, zero = real(HALF_PI), real(1.0), real(0.0)
    for b in range(U(row.size)):
        r = row[b] * (inverse * inverses[right + b])
        u = max(one - abs(r), zero)
        arc = half_pi - math.sqrt(u) * _arc(u)  # asin |r|
        out[b] = factor * (half_pi + math.copysign(arc, r))


@helper(reassociate=True)
def _tally(rows, line, sums, a):
    """Add ``rows[line]``, row `a` of a block, to the by-products; only here may a sum be reordered."""
    total = 0.0
    for b in range(rows.shape[1]):
        total += rows[line, b]
        sums[1, b] += rows[line, b]
    sums[0, a] = total


@helper()
def _activate(row, left, right, roots, inverses, noise, mask, out, line):
    """ReLU of a row into row `line` of `out`; on a diagonal block its mask into that row of `noise`.

    `left` is the point of the row, `right` the first point of its columns.
    """
    unit = row.dtype.type(INVERSE_2PI)
    factor, inverse = unit * roots[left], inverses[left]
    _rectify_row(row, factor, inverse, roots, inverses, right, out, line)
    if left == right + line:
        out[line, line] = 0.5 * roots[left] * roots[left]  # r = 1 exactly, never through the rounded r
        if noise.size:
            _mask_row(row, unit, inverse, inverses, right, mask)
            mask[line] = 0.5
            for b in range(row.size):
                noise[line, b] *= mask[b]


@jit()
def rectify(blocks, first, second, scale, bias, roots, inverses, noise, before, after, workers):
    """ReLU of ``scale * K + bias``, in place; and of the noise, block by block.

    Parameters
    ----------
    blocks : (pairs, size, size)
        K, overwritten by the covariance of the activations.
    first, second : int64 (pairs,)
    roots, inverses : (points,)
        Square root of the diagonal of ``scale * K + bias``, and its inverse (0 for 0).
    noise : float64 (images, size, size)
        Noise covariance of each image, multiplied by k0; empty when it is not wanted.
    before, after : float64 (pairs, 2, size)
        Row and column sums of ``scale * K + bias`` and of the result; zero on entry. `before` may be
        empty when it is not wanted.
    """
    pairs, size, _ = blocks.shape
    real = blocks.dtype.type
    for worker in prange(workers):
        rows, mask = np.empty((1, size), blocks.dtype), np.empty(size, blocks.dtype)
        row = rows[0]
        nothing = np.empty((0, 0))
        for p in range(worker, pairs, workers):
            block = blocks[p]
            masked = noise[first[p]] if first[p] == second[p] and noise.size else nothing
            left, right = U(first[p] * size), U(second[p] * size)
            for a in range(U(size)):
                for b in range(size):
                    row[b] = real(scale) * block[a, b] + real(bias)
                if before.size:
                    _tally(rows, U(0), before[p], a)
                _activate(row, left + a, right, roots, inverses, masked, mask, block, a)
                _tally(block, a, after[p], a)


@helper()
def _sum_taps_along_height(block, row, runs, weights, out):
    """out[a2, (b1, b2)] = sum_t weights_t K[(row_t, a2), (b1 + t, b2)], rows `row` of the padded height.

    `runs[t]` cuts the shift of the second point by tap t into contiguous pieces (to, from, count).
    """
    width = U(out.shape[0])
    _clear(out)
    for t in range(runs.shape[0]):
        if row[t] < 0:
            continue
        line, weight = U(row[t]) * width, block.dtype.type(weights[t])
        for piece in range(runs.shape[1]):
            to, start, count = runs[t, piece, 0], runs[t, piece, 1], runs[t, piece, 2]
            for a2 in range(width):
                for q in range(count):
                    out[a2, to + q] += weight * block[line + a2, start + q]


@helper()
def _pad_width(sums, pad_w, out):
    """Spread each row of the last axis onto the padded width."""
    width, padded = U(sums.shape[0]), U(pad_w.size)
    left = (padded - width) // U(2) if padded > width else U(0)
    inside = min(width, padded - left)
    for a2 in range(width):
        for b1 in range(U(out.shape[1]) // padded):
            start, to = b1 * width, b1 * padded
            for b2 in range(inside):
                out[a2, to + left + b2] = sums[a2, start + b2]
            for j in range(left):
                out[a2, to + j] = sums[a2, start + U(pad_w[j])] if pad_w[j] >= 0 else 0.0
            for j in range(left + inside, padded):
                out[a2, to + j] = sums[a2, start + U(pad_w[j])] if pad_w[j] >= 0 else 0.0


@helper()
def _sum_taps_along_width(sums, columns, dilation, weights, total):
    """total[(b1, j)] += sum_t weights_t sums[columns_t, (b1, j + t)] over padded rows of the last axis."""
    for t in range(U(columns.size)):
        if columns[t] >= 0:
            column, shift, weight = U(columns[t]), t * U(dilation), sums.dtype.type(weights[t])
            for q in range(U(total.size) - shift):
                total[q] += weight * sums[column, q + shift]


@jit()
def convolve(
    source, target, first, second, pad_h, pad_w, width, runs, down, across, stride, dilation, scale, bias,
    activate, roots, inverses, noise, before, after, workers,
):  # fmt: skip
    """``scale`` times the sum over taps of K, plus ``bias``; then, if asked, the ReLU: one visit.

    The k x k sum of K[(a + t), (b + t)], the same tap on both sides, separates into one along the
    height and one along the width; a weighted one into several such pairs.

    Parameters
    ----------
    source : (pairs, size, size)
    target : (pairs, new size, new size)
        May be `source` when the sizes agree.
    pad_h, pad_w : int64
        Position behind each padded one along height and width, or -1 (`Conv.padded_index`).
    width : int
        Positions along the width before the convolution.
    runs : uint64 (taps, pieces, 3)
        Contiguous pieces (to, from, count) of the shift by each tap along the height.
    down, across : float64 (terms, taps)
        Weights of the taps along height and width, whose products, summed over the terms, are theirs.
    stride, dilation : int
    activate : bool
        Whether the ReLU follows; if not, `roots`, `inverses`, `noise` and `after` are not used.
    roots, inverses, noise, before, after
        As for `rectify`, in the sizes of the result.
    """
    pairs, size, _ = source.shape
    taps, terms, new_size = runs.shape[0], down.shape[0], target.shape[1]
    reach = (taps - 1) * dilation
    new_height = (pad_h.size - 1 - reach) // stride + 1
    new_width = (pad_w.size - 1 - reach) // stride + 1
    padded = pad_w.size
    real = source.dtype.type
    for worker in prange(workers):
        block = np.empty((size, size), source.dtype)
        compact = np.empty((width, new_height * width), source.dtype)
        sums = np.empty((terms, width, new_height * padded), source.dtype)
        total = np.empty(new_height * padded, source.dtype)
        rows, mask = np.empty((1, new_size), source.dtype), np.empty(new_size, source.dtype)
        row = rows[0]
        nothing = np.empty((0, 0))
        for p in range(worker, pairs, workers):
            _copy(source[p], block)
            result = target[p]
            masked = noise[first[p]] if first[p] == second[p] and noise.size else nothing
            left, right = U(first[p] * new_size), U(second[p] * new_size)
            for a1 in range(new_height):
                for term in range(terms):
                    _sum_taps_along_height(block, pad_h[a1 * stride :: dilation], runs, down[term], compact)
                    _pad_width(compact, pad_w, sums[term])
                for a2 in range(new_width):
                    columns = pad_w[a2 * stride : a2 * stride + reach + 1 : dilation]
                    for q in range(total.size):
                        total[q] = 0.0
                    for term in range(terms):
                        _sum_taps_along_width(sums[term], columns, dilation, across[term], total)
                    for b1 in range(U(new_height)):
                        to, start = b1 * U(new_width), b1 * U(padded)
                        for b2 in range(U(new_width)):
                            row[to + b2] = total[start + b2 * U(stride)] * real(scale) + real(bias)
                    a = U(a1 * new_width + a2)
                    if before.size:
                        _tally(rows, U(0), before[p], a)
                    if activate:
                        _activate(row, left + a, right, roots, inverses, masked, mask, result, a)
                        _tally(result, a, after[p], a)
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
    blocks, first, second, means, vectors, values, damped, bulk, roots, inverses, weights, mask_nodes,
    activate, noise, after, workers,
):  # fmt: skip
    """Batch norm as a weighted set of Gaussians S_s, then, if asked, the ReLU of each; in place.

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
    activate : bool
        False adds up S_s itself and leaves the noise alone.
    noise, after
        As for `rectify`.
    """
    pairs, size, _ = blocks.shape
    nodes, rank = damped.shape
    signal_nodes = nodes - mask_nodes
    height = min(PANEL, size)
    real = blocks.dtype.type
    for worker in prange(workers):
        scaled = np.empty((height, rank), blocks.dtype)
        partner = np.empty((rank, size), blocks.dtype)
        panels = np.empty((4, height, size), blocks.dtype)
        bulk_part, damped_part, out, mask = panels[0], panels[1], panels[2], panels[3]
        row, line = np.empty(size, blocks.dtype), np.empty((1, size), blocks.dtype)
        part = line[0]
        for p in range(worker, pairs, workers):
            block = blocks[p]
            same = first[p] == second[p]
            masked = same and activate and noise.size > 0
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
                        bulk_part[a, b] = (
                            block[top + a, b] - means[left + a] - means[right + b] - bulk_part[a, b]
                        )
                _clear(out)
                _clear(mask)
                for s in range(nodes if masked else signal_nodes):
                    weight = weights[s]
                    _scale_columns(vectors, left, damped[s], scaled)
                    np.dot(scaled, partner, damped_part)
                    for a in range(skip, U(height)):
                        factor, inverse = bulk[s, left + a], inverses[s, left + a]
                        for b in range(U(size)):
                            row[b] = damped_part[a, b] + factor * bulk[s, right + b] * bulk_part[a, b]
                        if not activate:
                            for b in range(size):
                                out[a, b] += weight * row[b]
                        elif s < signal_nodes:
                            root = roots[s, left + a]
                            amplitude = weight * real(INVERSE_2PI) * root
                            _rectify_row(row, amplitude, inverse, roots[s], inverses[s], right, line, U(0))
                            if same:
                                part[top + a] = real(0.5) * weight * root * root
                            for b in range(size):
                                out[a, b] += part[b]
                        else:
                            _mask_row(row, weight * real(INVERSE_2PI), inverse, inverses[s], right, part)
                            part[top + a] = real(0.5) * weight
                            for b in range(size):
                                mask[a, b] += part[b]
                for a in range(skip, U(height)):
                    for b in range(size):
                        block[top + a, b] = out[a, b]
                    _tally(out, a, after[p], top + a)
                    if masked:
                        for b in range(size):
                            noise[first[p], top + a, b] *= mask[a, b]


@helper()
def _add(values, out):
    for a in range(out.shape[0]):
        for k in range(out.shape[1]):
            out[a, k] += values[a, k]


@jit()
def multiply(blocks, index, vectors, out, workers):
    """Product of a covariance with a set of vectors, in as many turns as there are images.

    In turn t an image i meets the image (t - i) mod images: each meets one in a turn, so that a stored block
    serves both of its images in one visit, and what is written in a turn is disjoint.

    Parameters
    ----------
    blocks : (pairs, size, size)
    index : int64 (images, images)
        Which block holds a pair of images; the transpose of the one below the diagonal.
    vectors, out : (images, size, count)
        `out` is zero on entry.
    """
    images, size, count = vectors.shape
    for turn in range(images):
        for worker in prange(workers):
            product = np.empty((size, count), out.dtype)
            for i in range(worker, images, workers):
                j = (turn - i) % images
                if i <= j:
                    block = blocks[index[i, j]]
                    np.dot(block, vectors[j], product)
                    _add(product, out[i])
                    if i < j:
                        np.dot(block.T, vectors[i], product)
                        _add(product, out[j])


@jit()
def combine(blocks, factor, others, share):
    """``factor * blocks + share * others``, in place."""
    real = blocks.dtype.type
    for p in prange(blocks.shape[0]):
        for a in range(blocks.shape[1]):
            for b in range(blocks.shape[2]):
                blocks[p, a, b] = real(factor) * blocks[p, a, b] + real(share) * others[p, a, b]


@jit()
def sum_squares(blocks, first, second, means, sums, workers):
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
    for worker in prange(workers):
        rows = np.empty((1, size), blocks.dtype)
        for p in range(worker, pairs, workers):
            block = blocks[p]
            left, right = U(first[p] * size), U(second[p] * size)
            for a in range(U(size)):
                for b in range(U(size)):
                    centred = block[a, b] - means[left + a] - means[right + b]
                    rows[0, b] = centred * centred
                _tally(rows, U(0), sums[p], a)
