"""Leading eigenpairs by iteration against all of them at once."""

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings
from states import seeds

from fastmoments.covariances.eigenpairs import (
    DENSE_EIGENVALUES,
    LANCZOS_STEPS,
    leading_eigenvalue,
    leading_pairs,
)


@pytest.mark.parametrize("points", [50, DENSE_EIGENVALUES + 50])
def test_leading_eigenvalue(points):
    rng = np.random.default_rng(0)
    factor = rng.standard_normal((points, points)) * np.geomspace(1, 0.01, points)
    matrix = factor @ factor.T
    exact = np.linalg.eigvalsh(matrix)[-1]
    value, vector = leading_eigenvalue(lambda x: matrix @ x, points, None)
    assert value == pytest.approx(exact, rel=1e-8)
    again, _ = leading_eigenvalue(lambda x: matrix @ x, points, vector)
    assert again == pytest.approx(exact, rel=1e-8)


def test_leading_eigenvalue_of_a_cluster():
    points = DENSE_EIGENVALUES + 44
    values = 1.0 + 1e-9 * np.arange(points)
    assert leading_eigenvalue(lambda x: values[:, None] * x, points, None)[0] == pytest.approx(1.0, rel=1e-6)


@pytest.mark.parametrize("rank", [3, 20])
def test_leading_pairs(rank):
    """Exact for an operator of low rank; else of the size of what is left out."""
    rng = np.random.default_rng(0)
    basis = np.linalg.qr(rng.standard_normal((80, rank)))[0]
    exact = np.geomspace(1.0, 1e-2, rank)
    matrix = (basis * exact) @ basis.T
    values, vectors, turned = leading_pairs(lambda x: matrix @ x, None, 24, 2, points=80)
    assert turned.max() < 1e-7  # a block that has seen the operator once is invariant
    assert values.size == rank
    np.testing.assert_allclose(values, exact, rtol=1e-9)
    np.testing.assert_allclose(vectors.T @ vectors, np.eye(rank), atol=1e-10)
    np.testing.assert_allclose((vectors * values) @ vectors.T, matrix, atol=1e-10)


def test_a_block_says_how_far_a_product_turned_its_vectors():
    values = np.array([1.0, 0.5, 0.1, 0.05])
    start = np.array([[1.0, 0.0], [0.0, 1.0], [0.0, 0.3], [0.0, 0.0]])
    _, vectors, turned = leading_pairs(lambda x: values[:, None] * x, start, 2, 1)
    block = np.linalg.qr(start)[0]
    off = [np.linalg.norm(each - block @ (block.T @ each)) for each in vectors.T]
    np.testing.assert_allclose(turned, off, atol=1e-12)
    assert turned[0] == 0.0 < turned[1]


def test_leading_pairs_stop_when_the_block_is_invariant():
    products = []

    def product(block):
        products.append(block.shape)
        return np.linspace(1.0, 2.0, 40)[:, None] * block

    start = np.eye(40)[:, -4:]
    leading_pairs(product, start, 4, 5, residual=1e-3)
    assert len(products) == 1
    leading_pairs(product, start + 0.1, 4, 5, residual=1e-3)
    assert len(products) == 6


@given(seeds, st.integers(1, 40))
@settings(max_examples=20)
def test_the_order_of_points_does_not_matter(seed, points):
    rng = np.random.default_rng(seed)
    factor = rng.standard_normal((points, points + 1))
    matrix, order = factor @ factor.T, rng.permutation(points)
    moved = matrix[np.ix_(order, order)]
    value, none = leading_eigenvalue(lambda x: matrix @ x, points, None)
    assert none is None
    assert leading_eigenvalue(lambda x: moved @ x, points, None)[0] == pytest.approx(value, rel=1e-12)


@given(seeds, st.floats(1.1, 30.0))
@settings(max_examples=15)
def test_the_iteration_says_no_more_than_there_is(seed, spike):
    """A lower bound to the residual it ends at, by an eigenvector; and products are counted."""
    points, products = DENSE_EIGENVALUES + 60, []
    rng = np.random.default_rng(seed)
    basis = np.linalg.qr(rng.standard_normal((points, points)))[0]
    values = np.append(np.sort(rng.random(points - 1)), spike)
    matrix = (basis * values) @ basis.T

    def product(vectors):
        products.append(vectors.shape)
        return matrix @ vectors

    value, vector = leading_eigenvalue(product, points, None)
    assert (1.0 - 1e-9) * spike < value < (1.0 + 1e-12) * spike
    assert abs(vector @ basis[:, -1]) > 1.0 - 1e-8
    assert len(products) <= LANCZOS_STEPS
    cold = len(products)
    leading_eigenvalue(product, points, vector)
    assert len(products) - cold <= cold


@pytest.mark.xfail(
    strict=True, reason="what the start has of it is 1e-3 / sqrt(points), which the residual takes for an end"
)
def test_a_start_without_the_leading_vector_finds_it():
    points = DENSE_EIGENVALUES + 10
    values = np.ones(points)
    values[0] = 2.0
    start = np.eye(points)[3]
    assert leading_eigenvalue(lambda x: values[:, None] * x, points, start)[0] == pytest.approx(2.0, rel=1e-9)
