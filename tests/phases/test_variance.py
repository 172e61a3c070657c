"""The response of an activation, and fixed points of the variance."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad

import fastmoments as fm
from fastmoments.phases.variance import fixed_points, homogeneous, response, responses

SMOOTH = [
    fm.Tanh(),
    fm.Erf(),
    fm.Sin(),
    fm.GELU(),
    fm.SiLU(),
    fm.ELU(),
    fm.Softplus(),
    fm.HardSwish(),
    fm.Mish(),
]
activations = st.sampled_from([*SMOOTH, fm.ReLU(), fm.LeakyReLU(0.3), fm.Abs()])


@pytest.mark.parametrize("activation", SMOOTH, ids=str)
@pytest.mark.parametrize("q", [1e-3, 0.7, 30.0])
def test_the_response_by_another_quadrature(activation, q):
    def mean(f):
        density = lambda z: f(np.array([np.sqrt(q) * z]))[0] * np.exp(-0.5 * z * z) / np.sqrt(2 * np.pi)  # noqa: E731
        marks = sorted(
            {0.0, *(kink / np.sqrt(q) for kink in activation.kinks if abs(kink) < 12 * np.sqrt(q))}
        )
        edges = [-12.0, *marks, 12.0]
        return sum(quad(density, *ends, epsabs=1e-13, limit=300)[0] for ends in itertools.pairwise(edges))

    found = response(activation, q)
    assert found.square == pytest.approx(mean(lambda x: activation.value(x) ** 2), rel=1e-10)
    assert found.slope2 == pytest.approx(mean(lambda x: activation.slope(x) ** 2), rel=1e-10)
    step = 1e-5 * q
    ahead, behind = (float(response(activation, q + sign * step).square) for sign in (1, -1))
    assert found.growth == pytest.approx((ahead - behind) / (2 * step), rel=1e-6)


def test_of_a_sine_in_closed_form():
    for q in (1e-6, 1.0, 50.0, 1000.0):
        found = response(fm.Sin(), q)
        assert found.square == pytest.approx(-0.5 * np.expm1(-2 * q), rel=1e-9)
        assert found.slope2 == pytest.approx(0.5 * (1 + np.exp(-2 * q)), rel=1e-9)


@given(activations, st.floats(-25, 5))
def test_interpolated_between_exact_ones(activation, log_q):
    q = np.exp(log_q)
    for between, exact in zip(responses(activation, np.array([q])), response(activation, q), strict=True):
        assert between[0] == pytest.approx(float(exact), rel=1e-7, abs=1e-8)


@given(activations, st.floats(0.1, 5.0), st.floats(0.0, 2.0))
def test_a_fixed_point_is_where_iteration_ends(activation, gain, bias):
    end = fixed_points(activation, np.array([gain]), np.array([bias]))[0]
    if not np.isfinite(end) or end < 1e-9 or end == 1.0:
        return
    found = response(activation, end)
    assert gain * found.square + bias == pytest.approx(end, rel=1e-6)
    q = 1.0
    for _ in range(300):
        q = gain * float(response(activation, q).square) + bias
        assert (q - end) * (1.0 - end) > -1e-6 * end  # it comes from the side of 1
    if gain * found.growth < 0.95:
        assert q == pytest.approx(end, rel=1e-5)


@pytest.mark.parametrize(
    ("activation", "gain", "bias", "end"),
    [
        (fm.ReLU(), 1.0, 0.5, 1.0), (fm.ReLU(), 2.0, 0.0, 1.0), (fm.ReLU(), 2.1, 0.0, np.inf),
        (fm.ReLU(), 1.9, 0.0, 0.0), (fm.ReLU(), 2.0, 0.3, np.inf), (fm.ReLU(), 1.999, 5.0, 10_000.0),
        (fm.Tanh(), 0.9, 0.0, 0.0), (fm.Tanh(), 1.0, 0.0, 0.0), (fm.GELU(), 4.0, 0.0, np.inf),
        (fm.GELU(), 2.0, 0.0, 0.0), (fm.Abs(), 0.5, 1.0, 2.0),
    ],
)  # fmt: skip
def test_known_ends(activation, gain, bias, end):
    found = fixed_points(activation, np.array([gain]), np.array([bias]))[0]
    assert found == pytest.approx(end, rel=1e-6)


def test_homogeneous():
    assert homogeneous(fm.ReLU()) and homogeneous(fm.LeakyReLU(0.3)) and not homogeneous(fm.ELU())
    assert homogeneous(fm.Activation(lambda x: 2.0 * x)) and not homogeneous(fm.Tanh())
