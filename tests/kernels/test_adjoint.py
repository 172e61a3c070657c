"""The transpose of a convolution, by the inner product that defines it."""

from dataclasses import replace

import hypothesis.strategies as st
import naive
import numpy as np
import pytest
from hypothesis import given, settings
from states import seeds

from fastmoments.kernels.adjoint import convolve_transposed
from fastmoments.nets.geometry import PADDINGS
from fastmoments.nets.linear import Conv, Gaussian

convs = st.builds(
    Conv,
    kernel_size=st.integers(1, 4),
    weights=st.builds(Gaussian, gain=st.floats(0.2, 4.0)),
    padding=st.sampled_from(PADDINGS),
    dilation=st.integers(1, 2),
)


def transposed(form, conv):
    height, width = form.shape[1:3]
    return convolve_transposed(
        form, conv.padded_index(height), conv.padded_index(width), conv.dilation,
        *map(np.ascontiguousarray, conv.tap_factors), conv.weights.gain / conv.kernel_size**2,
    )  # fmt: skip


@given(seeds, st.tuples(st.integers(1, 2), st.integers(2, 5), st.integers(2, 5)), convs, st.booleans())
@settings(max_examples=40)
def test_it_is_the_transpose_of_the_naive_convolution(seed, grid, conv, weighted):
    """<G, A K> = <A' G, K> for every G and K, symmetric or not."""
    rng = np.random.default_rng(seed)
    if weighted:
        conv = replace(conv, weights=Gaussian(tap_variances=rng.random((conv.kernel_size,) * 2)))
    form, kernel = rng.standard_normal((2, *grid, *grid))
    expected = np.sum(form * naive.convolve(kernel, conv))
    found = np.sum(transposed(form, conv) * kernel)
    assert found == pytest.approx(expected, rel=1e-10, abs=1e-10 * np.abs(form).sum())


@given(seeds, convs)
@settings(max_examples=20)
def test_it_keeps_symmetry_positivity_and_the_order_of_images(seed, conv):
    rng, grid = np.random.default_rng(seed), (3, 3, 2)
    factor = rng.standard_normal((18, 20))
    form = (factor @ factor.T).reshape(*grid, *grid)
    found = transposed(form, conv)
    matrix, order = naive.flat(found), rng.permutation(3)
    np.testing.assert_allclose(matrix, matrix.T, rtol=0, atol=1e-12 * matrix.max())
    assert np.linalg.eigvalsh(matrix)[0] > -1e-11 * matrix.max()
    moved = transposed(np.ascontiguousarray(form[order][:, :, :, order]), conv)
    np.testing.assert_array_equal(moved, found[order][:, :, :, order])
