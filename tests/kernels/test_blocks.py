"""The loops over stored blocks, each against a formula over the full matrix; one worker or many."""

import math

import hypothesis.strategies as st
import naive
import numpy as np
import pytest
from hypothesis import given, settings
from states import seeds, sizes, state

from fastmoments.covariances.storage import block_index, gather_row_sums, pairs
from fastmoments.kernels import blocks as kernels
from fastmoments.kernels.threads import limited, spread

workers = st.integers(1, 4)
slopes = st.sampled_from([(1.0, 0.0), (1.0, 0.2), (1.0, -1.0), (0.3, 2.0)])


def run(kernel, count, *args):
    with limited(count):
        spread(kernel, *args)


def coefficients(slopes):
    above, below = slopes
    return (*kernels.POLYNOMIALS[np.dtype(np.float64)], (above - below) ** 2, above * below)


def full_of(blocks, images):
    """The symmetric matrix of stored blocks."""
    size = blocks.shape[1]
    full = np.empty((images * size, images * size), blocks.dtype)
    for block, i, j in zip(blocks, *pairs(images), strict=True):
        full[i * size : (i + 1) * size, j * size : (j + 1) * size] = block
        full[j * size : (j + 1) * size, i * size : (i + 1) * size] = block.T
    return full


@pytest.mark.parametrize(("dtype", "bound"), [(np.float64, 2e-15), (np.float32, 5e-7)])
def test_polynomials_are_the_arc_cosine_and_the_lens(dtype, bound):
    """A = acos(1 - u) / sqrt(u) and H, to nine units in the last place, with acos by its half angle."""
    u = np.linspace(1e-3, 1.0, 500)
    half = np.arcsin(np.sqrt(0.5 * u))
    arc, lens = kernels.POLYNOMIALS[np.dtype(dtype)]
    exact = 2.0 * half / np.sqrt(u)
    np.testing.assert_allclose(np.polynomial.polynomial.polyval(u, np.array(arc, float)), exact, rtol=bound)
    angle = 2.0 * half
    exact = (np.sin(angle) - (1.0 - u) * angle) / (math.pi * u**1.5)
    found = np.polynomial.polynomial.polyval(u, np.array(lens, float))
    # Below u = 0.05 the exact formula loses its digits to a cancellation.
    np.testing.assert_allclose(found[u > 0.05], exact[u > 0.05], rtol=40 * bound)


@given(seeds, sizes, workers, slopes, st.floats(0.1, 3.0), st.sampled_from([0.0, 0.4]))
@settings(max_examples=30)
def test_activate(seed, size, count, slopes, scale, bias):
    signal, _, full, noise = state(seed, size)
    between = scale * naive.flat(full) + bias
    roots, images = np.sqrt(np.diag(between)), size[0]
    first, second = pairs(images)
    before, after = np.zeros((2, first.size, 2, noise.shape[1]))
    masked = noise.copy()
    run(
        kernels.activate, count, *coefficients(slopes), signal.blocks, first, second, scale, bias,
        roots, 1.0 / roots, masked, before, after,
    )  # fmt: skip
    expected = naive.activated(between, slopes)
    np.testing.assert_allclose(full_of(signal.blocks, images), expected, rtol=0, atol=1e-13 * expected.max())
    for sums, matrix in ((before, between), (after, expected)):
        total = gather_row_sums(sums, images)
        np.testing.assert_allclose(total, matrix.sum(1), rtol=0, atol=1e-12 * np.abs(matrix).sum())
    masks, positions = naive.mask_of(between, slopes), noise.shape[1]
    for i in range(images):
        here = slice(i * positions, (i + 1) * positions)
        wanted = noise[i] * masks[here, here]
        np.testing.assert_allclose(masked[i], wanted, rtol=0, atol=1e-7 * np.abs(noise).max())


@given(seeds, sizes, workers, slopes, st.integers(1, 3), st.integers(1, 4), st.booleans())
@settings(max_examples=30)
def test_normalise(seed, size, count, slopes, nodes, rank, activate):
    """sum_s w_s phi(S_s), S_s the damped leading pairs and the bulk, each damped at both of its points."""
    rng = np.random.default_rng(seed)
    signal, _, full, noise = state(seed, size)
    images, points = size[0], signal.points
    rank = min(rank, points)
    centred = naive.centre(naive.flat(full))
    values, vectors = np.linalg.eigh(centred)
    values, vectors = values[-rank:], np.ascontiguousarray(vectors[:, -rank:])
    damped = values * rng.uniform(0.2, 0.9, (2 * nodes, rank))
    bulk = rng.uniform(0.3, 1.0, (2 * nodes, points))
    rest = centred - (vectors * values) @ vectors.T
    fields = [(vectors * d) @ vectors.T + np.outer(b, b) * rest for d, b in zip(damped, bulk, strict=True)]
    roots = np.sqrt(np.maximum([np.diag(field) for field in fields], 1e-12))
    weights, first = rng.uniform(0.1, 1.0, 2 * nodes), pairs(images)
    after, masked = np.zeros((first[0].size, 2, noise.shape[1])), noise.copy()
    run(
        kernels.normalise, count, *coefficients(slopes), signal.blocks, *first, signal.means, vectors,
        values, damped, bulk, roots, 1.0 / roots, weights, nodes, activate, masked, after,
    )  # fmt: skip
    served = zip(weights[:nodes], fields[:nodes], strict=True)
    expected = sum(w * (naive.activated(field, slopes) if activate else field) for w, field in served)
    scale = np.abs(expected).max()
    np.testing.assert_allclose(full_of(signal.blocks, images), expected, rtol=0, atol=1e-9 * scale)
    total = gather_row_sums(after, images)
    np.testing.assert_allclose(total, expected.sum(1), rtol=0, atol=1e-8 * scale * points)
    served = zip(weights[nodes:], fields[nodes:], strict=True)
    masks = sum(w * naive.mask_of(field, slopes) for w, field in served)
    positions = noise.shape[1]
    for i in range(images):
        here = slice(i * positions, (i + 1) * positions)
        wanted = noise[i] * masks[here, here] if activate else noise[i]
        np.testing.assert_allclose(masked[i], wanted, rtol=0, atol=1e-6 * np.abs(noise).max())


@given(seeds, st.integers(1, 5), st.integers(1, 7), st.integers(1, 4), workers)
@settings(max_examples=30)
def test_multiply(seed, images, size, columns, count):
    rng = np.random.default_rng(seed)
    blocks = rng.standard_normal((images * (images + 1) // 2, size, size))
    blocks[np.diag(block_index(images))] += blocks[np.diag(block_index(images))].swapaxes(1, 2)
    vectors = rng.standard_normal((images, size, columns))
    sums = np.zeros((min(kernels.PARTS, len(blocks)), *vectors.shape))
    run(kernels.multiply, count, blocks, *pairs(images), vectors, sums)
    out = sums.sum(0)
    expected = full_of(blocks, images) @ vectors.reshape(-1, columns)
    np.testing.assert_allclose(out.reshape(-1, columns), expected, rtol=0, atol=1e-12 * images * size)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_combine(dtype):
    one, other = np.random.default_rng(0).standard_normal((2, 3, 4, 4)).astype(dtype)
    expected = 0.25 * one + 3.0 * other
    run(kernels.combine, 2, one, 0.25, other, 3.0)
    assert one.dtype == dtype
    np.testing.assert_allclose(one, expected, rtol=4 * np.finfo(dtype).eps, atol=4 * np.finfo(dtype).eps)


@given(seeds, sizes, workers)
@settings(max_examples=30)
def test_sum_squares(seed, size, count):
    signal, _, full, _ = state(seed, size)
    first, second = pairs(size[0])
    sums = np.zeros((first.size, 2, signal.blocks.shape[1]))
    run(kernels.sum_squares, count, signal.blocks, first, second, signal.means, sums)
    expected = (naive.centre(naive.flat(full)) ** 2).sum(1)
    np.testing.assert_allclose(gather_row_sums(sums, size[0]), expected, rtol=1e-9, atol=1e-12)


@given(seeds, sizes, workers)
@settings(max_examples=30)
def test_rescale(seed, size, count):
    signal, _, full, _ = state(seed, size)
    first, second = pairs(size[0])
    factors = np.random.default_rng(seed).uniform(0.5, 2.0, size[0])
    sums, means = np.zeros((first.size, 2, signal.blocks.shape[1])), signal.means
    before = naive.flat(full)
    mean = means[:, None] + means
    each = np.repeat(factors, signal.blocks.shape[1])
    expected = np.outer(each, each) * (before - mean) + mean
    run(kernels.rescale, count, signal.blocks, first, second, means, factors, sums)
    np.testing.assert_allclose(signal.dense(), expected, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(gather_row_sums(sums, size[0]), expected.sum(1), rtol=1e-9, atol=1e-9)
