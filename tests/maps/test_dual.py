import ast
import csv
from pathlib import Path

import numpy as np
import pytest
from gaussian_pairs import expectations, triples
from hypothesis import given
from hypothesis import strategies as st
from naive import k1
from scipy import integrate

import fastmoments as fm
from fastmoments.maps.dual import RESOLVED_BY_KINKS, dual, integrated

SMOOTH = [
    fm.Erf(), fm.Sin(), fm.GELU(), fm.GELU("tanh"), fm.Tanh(), fm.SiLU(), fm.Softplus(), fm.Mish(),
    fm.Activation(lambda x: x / np.sqrt(1.0 + x * x)),
]  # fmt: skip
KINKED = [fm.ELU(), fm.ELU(0.5), fm.HardSwish()]
with (Path(__file__).parents[1] / "gaussian_points.csv").open(newline="") as table:
    #: Names of activations, q1, q2, r, E phi phi and E phi' phi'.
    POINTS = list(csv.reader(table, quotechar="'"))
FIRST, SECOND, BOTH = slice(0, 1), slice(1, 2), slice(0, 2)


def named(activation):
    return repr(activation)[:20]


def both(activation, variances, r):
    """E phi phi, E phi' phi' and what they are relative to, for one pair."""
    found = dual(activation, np.array(variances))
    c = np.array([[r * np.sqrt(np.prod(variances))]])
    values = (found.covariance(c, FIRST, SECOND)[0, 0], found.derivative(c, FIRST, SECOND)[0, 0])
    return values, (np.sqrt(found.square.prod()), np.sqrt(found.slope2.prod())), found


@pytest.mark.parametrize("count", [20, pytest.param(500, marks=pytest.mark.slow)])
@pytest.mark.parametrize("activation", SMOOTH + KINKED, ids=named)
def test_against_quadrature_in_two_dimensions(activation, count):
    """Variances from 1e-6 to 1e4 (of the sine to 100), correlations of all sizes, 1 and -1 among them."""
    bound = RESOLVED_BY_KINKS if activation.kinks else 1e-10
    for q1, q2, r in triples(count, 5, 2.0 if activation == fm.Sin() else 4.0):
        values, sizes, _ = both(activation, [q1, q2], r)
        wanted = expectations((activation.value, activation.slope), activation.kinks, q1, q2, r)
        off = np.abs(values - wanted) / sizes
        assert off.max() <= bound, (q1, q2, r, off)


def test_the_sine_of_a_large_signal():
    """sin u sin v = (cos(u - v) - cos(u + v)) / 2, and E cos of a Gaussian of variance s is exp(-s / 2)."""
    for q1, q2, r in triples(500, 6):
        c = r * np.sqrt(q1 * q2)
        less, more = (np.exp(-0.5 * max(q1 + q2 + side * c, 0.0)) for side in (-2.0, 2.0))
        values, sizes, _ = both(fm.Sin(), [q1, q2], r)
        wanted = np.array([0.5 * (less - more), 0.5 * (less + more)])
        assert (np.abs(values - wanted) / sizes).max() <= 1e-10, (q1, q2, r)


@pytest.mark.parametrize("activation", SMOOTH + KINKED, ids=named)
def test_pairs_that_are_integrated_one_by_one(activation):
    for q1, q2, r in triples(12, 7, 2.0):
        for function in (activation.value, activation.slope):
            wanted = expectations((function,), activation.kinks, q1, q2, r)[0]
            squares = [expectations((function,), activation.kinks, q, q, 1.0)[0] for q in (q1, q2)]
            found = integrated(activation, function, np.sqrt(q1), np.sqrt(q2), r)
            assert abs(found - wanted) <= 1e-10 * np.sqrt(np.prod(squares))


@pytest.mark.parametrize("activation", [fm.Tanh(), fm.SiLU(), fm.ELU()], ids=named)
def test_the_quadrature_against_another_one(activation):
    """Scipy's adaptive rule in the plane, in another pair of variables."""
    q1, q2, r = 1.7, 0.4, 0.6

    def integrand(y, x):
        v = r * x + np.sqrt(1.0 - r * r) * y
        both = activation.value(np.array([np.sqrt(q1) * x])) * activation.value(np.array([np.sqrt(q2) * v]))
        return float(both[0]) * np.exp(-0.5 * (x * x + y * y)) / (2.0 * np.pi)

    wanted, _ = integrate.dblquad(integrand, -8, 8, -8, 8, epsabs=1e-9)
    found = expectations((activation.value,), activation.kinks, q1, q2, r)[0]
    assert found == pytest.approx(wanted, abs=3e-8)


@pytest.mark.parametrize("name", sorted({name for name, *_ in POINTS}))
def test_pairs_against_integrals_by_mpmath(name):
    """The quadrature over the plane, and what it is the oracle of (`gaussian_points.py`)."""
    function, *options = name.rstrip(")").split("(")
    activation = getattr(fm, function)(*(ast.literal_eval(value) for value in options if value))
    bound, rows = RESOLVED_BY_KINKS if activation.kinks else 1e-10, [row for row in POINTS if row[0] == name]
    assert len(rows) == 10
    for q1, q2, r, *wanted in (tuple(map(float, numbers)) for _, *numbers in rows):
        found, sizes, _ = both(activation, [q1, q2], r)
        quadrature = expectations((activation.value, activation.slope), activation.kinks, q1, q2, r)
        assert (np.abs(quadrature - wanted) / sizes).max() <= 1e-12, (q1, q2, r)
        assert (np.abs(np.array(found) - wanted) / sizes).max() <= bound, (q1, q2, r)


@pytest.mark.parametrize("activation", SMOOTH + KINKED, ids=named)
def test_moments_of_one_point(activation):
    variances = np.array([1e-5, 0.3, 1.0, 47.0])
    found = dual(activation, variances)
    for q, mean, absolute, square, slope2 in zip(
        variances, found.mean, found.absolute, found.square, found.slope2, strict=True
    ):
        z = np.linspace(-9.0, 9.0, 400_001)
        density = np.exp(-0.5 * z * z) * (z[1] - z[0]) / np.sqrt(2.0 * np.pi)
        value, slope = activation.value(np.sqrt(q) * z), activation.slope(np.sqrt(q) * z)
        wanted = [density @ value, density @ np.abs(value), density @ value**2, density @ slope**2]
        size = np.sqrt(wanted[2])
        assert mean == pytest.approx(wanted[0], abs=1e-7 * size)
        assert absolute == pytest.approx(wanted[1], rel=1e-6)
        assert square == pytest.approx(wanted[2], rel=1e-7)
        assert slope2 == pytest.approx(wanted[3], rel=2e-5)


@pytest.mark.parametrize("activation", [*SMOOTH, fm.ELU(), fm.HardSwish()], ids=named)
@given(st.floats(1e-4, 10.0), st.floats(1e-4, 10.0), st.floats(-0.99, 0.99))
def test_the_derivative_is_that_of_the_covariance(activation, q1, q2, r):
    """Price: d E phi(u) phi(v) / d c = E phi'(u) phi'(v)."""
    found = dual(activation, np.array([q1, q2]))
    step = 1e-4 * np.sqrt(q1 * q2)
    c = r * np.sqrt(q1 * q2)
    above, below = (found.covariance(np.array([[c + side]]), FIRST, SECOND)[0, 0] for side in (step, -step))
    slope = found.derivative(np.array([[c]]), FIRST, SECOND)[0, 0]
    scale = np.sqrt(found.slope2.prod())
    assert (above - below) / (2.0 * step) == pytest.approx(slope, abs=2e-4 * scale)


@pytest.mark.parametrize("activation", SMOOTH + KINKED, ids=named)
@given(st.integers(0, 2**32 - 1))
def test_symmetric_and_positive_semidefinite(activation, seed):
    rng = np.random.default_rng(seed)
    factor = rng.standard_normal((6, rng.integers(1, 7)))
    covariance = factor @ factor.T
    found = dual(activation, np.diag(covariance).copy())
    everywhere = slice(0, 6)
    for result in (found.covariance(covariance, everywhere, everywhere),
                   found.derivative(covariance, everywhere, everywhere)):  # fmt: skip
        np.testing.assert_allclose(result, result.T, rtol=2.0 * RESOLVED_BY_KINKS, atol=1e-12)
        assert np.linalg.eigvalsh(result).min() >= -1e-6 * np.trace(result)


@pytest.mark.parametrize("activation", [fm.GELU(), fm.Tanh(), fm.SiLU(), fm.Mish(), fm.ELU()], ids=named)
def test_a_tiny_signal_sees_the_tangent(activation):
    for q in (1e-12, 1e-25, 1e-200):
        values, _, found = both(activation, [q, 4.0 * q], 0.3)
        slope = float(activation.slope(np.array([1e-300]))[0])
        assert values[0] == pytest.approx(slope**2 * 0.6 * q, rel=1e-5)
        assert found.square == pytest.approx(slope**2 * np.array([q, 4.0 * q]), rel=1e-5)


def test_a_large_signal_sees_the_asymptote():
    """tanh of it is a sign, GELU and SiLU are rectifiers, to the inverse of its size."""
    r, q = 0.4, 1e6
    assert both(fm.Tanh(), [q, q], r)[0][0] == pytest.approx(2.0 / np.pi * np.arcsin(r), rel=1e-5)
    wanted = q * k1(r)
    for activation in (fm.GELU(), fm.SiLU(), fm.Softplus()):
        assert both(activation, [q, q], r)[0][0] == pytest.approx(wanted, rel=1e-3)


def test_what_is_left_out_is_told():
    """A signal a hundred times as large as the bend of tanh, many points that are nearly alike."""
    rng = np.random.default_rng(0)
    points = rng.standard_normal(3) + 0.05 * rng.standard_normal((40, 3))
    covariance = 3e3 * points @ points.T
    found = dual(fm.Tanh(), np.diag(covariance).copy())
    everywhere = slice(0, 40)
    result = found.covariance(covariance, everywhere, everywhere)
    roots = np.sqrt(np.diag(covariance))
    r = covariance / np.outer(roots, roots)
    wanted = [integrated(fm.Tanh(), np.tanh, roots[0], roots[b], r[0, b]) for b in range(1, 8)]
    off = np.abs(result[0, 1:8] - wanted)
    assert 1e-8 < off.max() <= found.error < 1.0


def test_a_signal_that_is_too_large_or_dies():
    with pytest.raises(ValueError, match=r"Tanh of a signal of variance 1e\+13 is not covered"):
        dual(fm.Tanh(), np.array([1.0, 1e13]))
    with pytest.raises(ValueError, match="leaves no signal"):
        dual(fm.Activation(np.zeros_like), np.ones(2))
