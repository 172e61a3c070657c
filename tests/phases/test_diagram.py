"""The phase diagram: against its definition, the literature, and deep nets."""

import json

import naive
import numpy as np
import pytest

import fastmoments as fm
from fastmoments.nets.network import Network
from fastmoments.phases.critical import critical
from fastmoments.phases.diagram import phase_diagram

DIAGRAM = phase_diagram(fm.Tanh(), np.linspace(0.5, 4.0, 15), np.linspace(0.0, 0.5, 11))


def test_the_boundary_is_the_critical_line():
    for i, bias in enumerate(DIAGRAM.bias_variances):
        gain = critical(fm.Tanh(), bias).gain
        expected = np.where(DIAGRAM.gains < gain - 1e-6, "ordered", "chaotic").astype("U8")
        expected[np.abs(DIAGRAM.gains - gain) < 1e-6] = "critical"
        np.testing.assert_array_equal(DIAGRAM.phase[i], expected)


def test_what_the_phases_mean():
    ordered, chaotic = DIAGRAM.phase == "ordered", DIAGRAM.phase == "chaotic"
    assert (DIAGRAM.chi[ordered] < 1).all() and (DIAGRAM.chi[chaotic] > 1).all()
    assert (DIAGRAM.correlation[ordered] == 1).all() and (DIAGRAM.correlation[chaotic] < 1).all()
    assert (DIAGRAM.correlation[0, DIAGRAM.phase[0] == "chaotic"] < 1e-12).all()  # odd, without biases
    np.testing.assert_allclose(DIAGRAM.correlation_scale[ordered], -1 / np.log(DIAGRAM.chi[ordered]))
    relu = phase_diagram(fm.ReLU(), [1.0, 2.0, 3.0], [0.0, 0.5])
    assert relu.phase.tolist() == [
        ["ordered", "critical", "diverging"],
        ["ordered", "diverging", "diverging"],
    ]
    assert np.isinf(relu.correlation_scale[0, 1]) and np.isnan(relu.chi[1, 1])


@pytest.mark.parametrize(("gain", "bias"), [(0.9, 0.05), (2.5, 0.05), (3.0, 0.3), (2.6, 0.0)])
@pytest.mark.parametrize("activation", [fm.Tanh(), fm.Erf(), fm.Sin()], ids=str)
def test_deep_nets_end_there(activation, gain, bias):
    """Variance and correlation of the kernel of a net of 200 layers; growth of the noise in a layer."""
    found = phase_diagram(activation, gain, bias)
    images = np.random.default_rng(1).standard_normal((3, 1, 1, 30))
    dense = fm.Dense(weights=fm.Gaussian(gain, bias_variance=bias))
    kernel = naive.flat(fm.kernel(Network((dense, activation) * 200 + (dense,)), images))
    np.testing.assert_allclose(np.diag(kernel), found.variance[0, 0], rtol=1e-6)
    r = naive.correlation(kernel)[0][np.triu_indices(3, 1)]
    np.testing.assert_allclose(r, found.correlation[0, 0], atol=1e-6)
    scan = fm.scan(Network((dense, activation) * 25), images)
    rate = np.diff(scan["log_mu2_noise", "conv"])[-1]
    assert rate == pytest.approx(np.log(found.chi[0, 0]), abs=2e-3)
    assert (rate > 0) == (found.phase[0, 0] == "chaotic")


@pytest.mark.parametrize(("gain", "bias"), [(1.3, 0.05), (2.5, 0.05)])
def test_the_depth_scale_of_correlations(gain, bias):
    """Two kernels, some layers apart."""
    found = phase_diagram(fm.Tanh(), gain, bias)
    images = np.random.default_rng(1).standard_normal((2, 1, 1, 30))
    dense = fm.Dense(weights=fm.Gaussian(gain, bias_variance=bias))
    away = []
    for depth in (45, 50):
        kernel = naive.flat(fm.kernel(Network((dense, fm.Tanh()) * depth + (dense,)), images))
        away.append(abs(naive.correlation(kernel)[0][0, 1] - found.correlation[0, 0]))
    assert 5.0 / np.log(away[0] / away[1]) == pytest.approx(found.correlation_scale[0, 0], rel=0.05)


def test_chi_of_a_scan_grows_in_the_chaotic_phase_only():
    """By half the logarithm of chi_1 a layer there; on the other side signal and noise shrink alike."""
    images = fm.load_images("synthetic:4x4x1", 4, seed=0)
    for gain in (1.5, 2.1):
        found = phase_diagram(fm.Tanh(), gain, 0.05)
        net = Network((fm.Dense(weights=fm.Gaussian(gain, bias_variance=0.05)), fm.Tanh()) * 60)
        log_chi = fm.scan(net, images, every=5)["log_chi", "conv"]
        rate = (log_chi[-1] - log_chi[-5]) / 20.0
        expected = max(0.0, 0.5 * np.log(found.chi[0, 0]))
        assert rate == pytest.approx(expected, abs=5e-3)


def test_plain_values():
    rows = list(DIAGRAM.rows())
    assert len(rows) == 165 and rows[1]["gain"] == 0.75 and rows[1]["bias_variance"] == 0.0
    found = json.loads(json.dumps(DIAGRAM.to_dict(), allow_nan=False))
    assert found["activation"] == {"type": "Tanh"} and found["schema"] == "fastmoments.phase/1"
    line = found["critical_line"]
    assert len(line["gain"]) == len(line["bias_variance"]) == len(line["stable"])
    relu = next(phase_diagram(fm.ReLU(), [3.0], [0.0]).rows())
    assert relu["phase"] == "diverging" and relu["variance"] is None


CALLS = {
    "no activation": (lambda: phase_diagram("tanh", [1.0], [0.0]), "activation must be one such as"),
    "falling": (lambda: phase_diagram(fm.Tanh(), [2.0, 1.0], [0.0]), "gains must be a rising sequence"),
    "gain 0": (lambda: phase_diagram(fm.Tanh(), [0.0, 1.0], [0.0]), "gains must be a finite positive number"),
    "negative": (lambda: phase_diagram(fm.Tanh(), [1.0], [-1.0]), "bias_variances must be a finite non-neg"),
    "too many": (
        lambda: phase_diagram(fm.Tanh(), np.arange(1.0, 999.0), np.arange(999.0)),
        "The number of points",
    ),
}


@pytest.mark.parametrize("name", CALLS)
def test_a_wrong_call_is_one_sentence(name):
    call, said = CALLS[name]
    with pytest.raises(ValueError, match=said) as caught:
        call()
    assert str(caught.value).endswith(".") and "\n" not in str(caught.value)
