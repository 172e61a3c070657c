"""Critical gains: those of the literature, their definition, and what has none."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fastmoments as fm
from fastmoments.nets.network import Network
from fastmoments.phases.critical import critical, critical_line
from fastmoments.phases.variance import response

KNOWN = {
    "ReLU": (fm.ReLU(), 0.0, 2.0, None),
    "leaky": (fm.LeakyReLU(0.2), 0.0, 2.0 / 1.04, None),
    "Abs": (fm.Abs(), 0.0, 1.0, None),
    "tanh without bias": (fm.Tanh(), 0.0, 1.0, 0.0),
    "erf without bias": (fm.Erf(), 0.0, math.pi / 4, 0.0),
    "sine without bias": (fm.Sin(), 0.0, 1.0, 0.0),
    "tanh, Schoenholz et al. 2017": (fm.Tanh(), 0.05, 1.76, 0.57),
    "GELU, Roberts et al. 2022": (fm.GELU(), 0.17292239, 1.98305826, (3 + math.sqrt(17)) / 2),
    "SiLU, Roberts et al. 2022": (fm.SiLU(), 0.55514317, 1.98800468, 14.32017362),
    "GELU without bias": (fm.GELU(), 0.0, 4.0, 0.0),
}


@pytest.mark.parametrize("name", KNOWN)
def test_known_ones(name):
    activation, bias, gain, variance = KNOWN[name]
    found = critical(activation, bias)
    digits = 0.005 if "Schoenholz" in name else 1e-7
    assert found.gain == pytest.approx(gain, rel=digits) and found.bias_variance == bias
    assert found.variance == (variance if not variance else pytest.approx(variance, rel=max(digits, 1e-6)))


def test_stable_or_not():
    assert critical(fm.Tanh()).stable and critical(fm.ELU()).stable and critical(fm.ReLU()).stable
    assert not critical(fm.GELU()).stable and not critical(fm.GELU(), 0.1).stable
    assert critical(fm.GELU(), 0.3).stable and critical(fm.Tanh(), 0.2).stable
    assert critical(fm.GELU(), 0.1).variance_scale == math.inf == critical(fm.ReLU()).variance_scale


bounded = st.sampled_from(
    [fm.Tanh(), fm.Erf(), fm.Sin(), fm.GELU(), fm.SiLU(), fm.ELU(), fm.HardSwish(), fm.Mish()]
)


@given(bounded, st.floats(1e-3, 10.0))
def test_chi_is_1_at_a_fixed_point(activation, bias):
    found = critical(activation, bias)
    at = response(activation, found.variance)
    assert found.gain * at.slope2 == pytest.approx(1.0, rel=1e-12)
    assert found.gain * at.square + bias == pytest.approx(found.variance, rel=1e-9)
    slope = found.gain * float(at.growth)
    assert found.stable == (slope < 1.0)
    if 0.0 < slope < 1.0:
        assert found.variance_scale == pytest.approx(-1.0 / math.log(slope))


def test_erf_in_closed_form():
    """Q = 1 + 2 q: chi_1 = 4 g / (pi sqrt(1 + 4 q)), E erf^2 = (2 / pi) asin(2 q / Q)."""
    q = 0.8
    gain = math.pi / 4 * math.sqrt(1 + 4 * q)
    bias = q - gain * 2 / math.pi * math.asin(2 * q / (1 + 2 * q))
    found = critical(fm.Erf(), bias)
    assert found.gain == pytest.approx(gain, rel=1e-10) and found.variance == pytest.approx(q, rel=1e-9)


def test_one_of_the_users_own():
    assert critical(fm.Activation(np.tanh), 0.05).gain == pytest.approx(
        critical(fm.Tanh(), 0.05).gain, rel=1e-8
    )
    assert critical(fm.Activation(np.tanh)).gain == pytest.approx(1.0, rel=1e-8)


REFUSED = {
    "biases of a rectifier": (lambda: critical(fm.ReLU(), 0.1), "no critical gain with biases"),
    "softplus": (lambda: critical(fm.Softplus()), "Softplus has no critical gain .* nor with another"),
    "nothing passes": (lambda: critical(fm.Activation(np.zeros_like)), "its derivative is 0"),
    "a square": (
        lambda: critical(fm.Activation(np.square, lambda x: 2 * x)),
        "no critical gain with the bias",
    ),
    "no activation": (lambda: critical(fm.Conv()), "activation must be one such as Tanh"),
    "negative bias": (
        lambda: critical(fm.Tanh(), -0.1),
        "bias_variance must be a finite non-negative number",
    ),
    "large bias": (lambda: critical(fm.Tanh(), 1e6), "bias_variance must be at most 1000"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused_in_one_sentence(name):
    call, said = REFUSED[name]
    with pytest.raises(ValueError, match=said) as caught:
        call()
    assert str(caught.value).endswith(".") and "\n" not in str(caught.value)


def test_the_line_holds_the_critical_points():
    line = critical_line(fm.Tanh())
    middle = int(np.searchsorted(line.bias_variance, 0.05))
    found = critical(fm.Tanh(), float(line.bias_variance[middle]))
    assert found.gain == pytest.approx(line.gain[middle], rel=1e-9)
    assert found.variance == pytest.approx(line.variance[middle], rel=1e-9) and line.stable[middle]
    assert not critical_line(fm.ReLU()).gain.size


@pytest.mark.parametrize(
    ("activation", "bias"), [(fm.Tanh(), 0.05), (fm.Erf(), 0.1), (fm.ELU(), 0.1), (fm.ReLU(), 0.0)], ids=str
)
def test_the_scan_of_a_deep_net_is_critical_there(activation, bias):
    """Gradients, and so the variance of infinitely small noise, neither grow nor shrink in a layer."""
    found = critical(activation, bias)
    images = np.random.default_rng(0).standard_normal((4, 1, 1, 20))
    grown = []
    for factor in (0.95, 1.0, 1.05):
        dense = fm.Dense(weights=fm.Gaussian(factor * found.gain, bias_variance=bias))
        scan = fm.scan(Network((dense, activation) * 60), images, every=10)
        log_noise = scan["log_mu2_noise", "conv"]
        grown.append((log_noise[-1] - log_noise[-3]) / 20.0)
    assert grown[0] < -0.01 and grown[2] > 0.01 and abs(grown[1]) < 0.003
