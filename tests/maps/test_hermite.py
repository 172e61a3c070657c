import numpy as np
import pytest

import fastmoments as fm
from fastmoments.maps.hermite import LEAST, TERMS, expansion, largest_mean_slope, panels, rule


def test_coefficients_by_hand():
    """sin: a_n is sqrt(q^n / n!) exp(-q / 2) for odd n, of alternating sign, and 0 for even n."""
    q = np.array([1e-3, 0.7, 3.1])
    found = expansion(fm.Sin(), q)
    size = np.sqrt(0.5 * (1.0 - np.exp(-2.0 * q)))
    np.testing.assert_allclose(found.size, size, rtol=1e-12)
    term = np.exp(-0.5 * q)
    for n in range(1, 12):
        term = term * np.sqrt(q / n)
        wanted = {0: 0.0, 1: 1.0, 2: 0.0, 3: -1.0}[n % 4] * term
        np.testing.assert_allclose(found.coefficients[n] * size, wanted, atol=1e-14)
    assert found.coefficients.shape == (TERMS, 3)


@pytest.mark.parametrize("activation", [fm.Tanh(), fm.Mish(), fm.ELU(), fm.HardSwish()])
def test_interpolation_meets_the_integrals(activation):
    """At variances between the nodes, by a rule of its own."""
    q = np.array([0.0123, 0.77, 1.234, 6.54])
    found = expansion(activation, q)
    for k, root in enumerate(np.sqrt(q)):
        z, weights = rule(activation, root)
        value = activation.value(root * z)
        density = weights * np.exp(-0.5 * z * z) / np.sqrt(2.0 * np.pi)
        assert found.mean[k] == pytest.approx(density @ value, rel=1e-12)
        third = density @ (value * (z**3 - 3.0 * z)) / np.sqrt(6.0)
        assert found.coefficients[3, k] * found.size[k] == pytest.approx(third, abs=1e-13)
    energies = (found.coefficients**2).sum(0)
    assert (energies <= 1.0 + 1e-12).all() and (energies > 0.999).all()


def test_a_tangent_at_the_least_variance():
    for activation in (fm.GELU(), fm.Softplus(), fm.Tanh()):
        above, below = (
            expansion(activation, np.array([LEAST * 1.001])),
            expansion(activation, np.array([LEAST * 0.999])),
        )
        assert above.size == pytest.approx(below.size, rel=2e-3)
        np.testing.assert_allclose(above.coefficients, below.coefficients, atol=1e-6)


def test_mean_slopes():
    assert largest_mean_slope(fm.ReLU()) == pytest.approx(0.5)
    assert largest_mean_slope(fm.GELU()) == pytest.approx(0.5, rel=1e-6)
    assert largest_mean_slope(fm.Tanh()) == pytest.approx(1.0, rel=1e-5)
    assert largest_mean_slope(fm.LeakyReLU(0.2)) == pytest.approx(0.6)
    assert largest_mean_slope(fm.Abs()) < 1e-9


def test_panels_are_exact_for_polynomials():
    z, weights = panels(np.array([-1.0, 0.5, 2.0]), 5)
    assert weights @ z**9 == pytest.approx((2.0**10 - 1.0) / 10.0)
