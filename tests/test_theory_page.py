"""docs/theory.md: every function it names exists, and its main formulas hold, written out in plain numpy."""

import math
import re
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

from fastmoments.covariances.storage import Covariance, NoiseCovariance
from fastmoments.maps import fft
from fastmoments.maps.activation import activate
from fastmoments.maps.batch_norm import normalise
from fastmoments.maps.quadrature import BatchNormWeight
from fastmoments.nets.activations import ReLU
from fastmoments.nets.linear import Conv

PAGE = Path(__file__).parents[1] / "docs" / "theory.md"
ROOMS = "nets|images|covariances|kernels|maps|engines|scans"
NAMES = sorted(set(re.findall(rf"`((?:{ROOMS})(?:\.\w+)+)`", PAGE.read_text(encoding="utf-8"))))

POINTS, EPSILON = 10, 0.1


def exists(name):
    """Whether the longest module that a dotted name begins with has the rest as attributes."""
    parts = name.split(".")
    home = import_module(f"fastmoments.{parts[0]}.{parts[1]}")
    for part in parts[2:]:
        if not hasattr(home, part):
            return part in getattr(home, "__dataclass_fields__", {})
        home = getattr(home, part)
    return True


def test_the_page_names_functions():
    assert len(NAMES) > 30


@pytest.mark.parametrize("name", NAMES)
def test_every_name_exists(name):
    assert exists(name)


@pytest.fixture
def signal():
    """Covariance of a few points with a mean."""
    rng = np.random.default_rng(0)
    features = rng.standard_normal((POINTS, 1, 1, 14)) + 1.0
    features *= rng.uniform(0.5, 2.0, (POINTS, 1, 1, 1))
    return Covariance.from_features(features, 1 / 14)


def noise():
    return NoiseCovariance.white(POINTS, 1, 1)


def centred(signal):
    h = np.eye(POINTS) - 1 / POINTS
    values, vectors = np.linalg.eigh(h @ signal.dense() @ h)
    return np.maximum(values, 0.0), vectors


def agrees(samples, exact):
    error = samples.std() / math.sqrt(samples.size)
    return abs(samples.mean() - exact) < 4 * error


def test_batch_norm_is_a_weighted_set_of_gaussians(signal):
    """Drawn channels, normalised one by one, against what `normalise` leaves behind."""
    values, vectors = centred(signal)
    y = np.random.default_rng(1).standard_normal((200_000, POINTS)) @ (vectors * np.sqrt(values)).T
    variance = (y**2).mean(1) + EPSILON
    z = y / np.sqrt(variance)[:, None]
    behind = noise()
    done = normalise(signal, behind, EPSILON, activation=ReLU())
    moments = done.station.known
    assert agrees((z**4).mean(1), math.exp(moments["log_mu4_signal"]))
    assert agrees(np.abs(z).mean(1), math.exp(moments["log_nu1_abs_signal"]))
    assert agrees(1 / variance, math.exp(done.station.log_noise))
    active = np.maximum(z, 0.0)
    kernel = signal.dense()
    for p, q in ((0, 1), (2, 5), (3, 3)):
        assert agrees(active[:, p] * active[:, q], kernel[p, q])
    # The noise of a fully connected net has no pairs of points: its mask is 1/2.
    assert math.exp(behind.log_scale) * behind.mean_variance() == pytest.approx(
        0.5 * math.exp(done.station.log_noise), rel=1e-12
    )


def test_noise_moves_the_statistics_as_the_derivative_says(signal):
    """Drawn channels, behind a rectifier, against what `normalise` leaves between and on points."""
    values, vectors = centred(signal)
    rng = np.random.default_rng(2)
    x = rng.standard_normal((200_000, POINTS)) @ (vectors * np.sqrt(values)).T
    dz = rng.standard_normal(x.shape)  # white
    deviation = np.sqrt((x**2).mean(1) + EPSILON)[:, None]
    y = x / deviation
    dy = (dz - dz.mean(1, keepdims=True) - y * (y * dz).mean(1, keepdims=True)) / deviation
    behind = noise()
    normalise(signal, behind, EPSILON, activation=ReLU(), moving=True)
    passed = dy * (y > 0)
    found = behind.blocks[0] * math.exp(behind.log_scale)
    for p, q in ((0, 1), (2, 5), (3, 3)):
        assert agrees(passed[:, p] * passed[:, q], found[p, q])


@pytest.mark.parametrize("epsilon", [0.0, EPSILON])
def test_the_variance_behind_batch_norm_is_known(signal, epsilon):
    """int w tr(S_s) = M at epsilon 0, and M (1 - epsilon int w) above."""
    values = centred(signal)[0]
    weight = BatchNormWeight(values, np.ones(POINTS), POINTS, epsilon)
    rule = weight.rule(0.0, 1.0, 1e-10)
    traces = (values / (1 + 2 / POINTS * np.outer(rule.nodes, values))).sum(1)
    assert rule.weights @ traces == pytest.approx(POINTS * (1 - epsilon * weight.integral()), rel=1e-8)


def test_the_weight_is_the_one_written_down(signal):
    """The integral of w by the trapezoidal rule in log s."""
    values = centred(signal)[0]
    s = np.exp(np.arange(-60, 60, 0.05))
    w = np.exp(-s * EPSILON) * np.prod(1 + 2 / POINTS * np.outer(s, values), axis=1) ** -0.5
    weight = BatchNormWeight(values, np.ones(POINTS), POINTS, EPSILON)
    assert weight.integral() == pytest.approx(0.05 * (s * w).sum(), rel=1e-10)


def test_relu_by_integration_in_the_plane(signal):
    """E[relu relu'] by Gauss-Hermite in both directions, whose error the kink brings."""
    before = signal.dense()
    activate(signal, noise(), ReLU())
    after = signal.dense()
    x, weights = np.polynomial.hermite_e.hermegauss(200)
    weights = weights / weights.sum()
    for p, q in ((0, 1), (2, 5), (4, 4)):
        a = math.sqrt(before[p, p])
        b = before[p, q] / a
        c = math.sqrt(max(before[q, q] - b * b, 0.0))
        product = np.maximum(a * x[:, None], 0.0) * np.maximum(b * x[:, None] + c * x, 0.0)
        assert after[p, q] == pytest.approx(weights @ product @ weights, rel=2e-3)


def test_transfer_function():
    """A displacement is conserved, and its Fourier transform multiplied by v(f)."""
    height, width, shift = 6, 5, (2, 1)
    block = np.random.default_rng(2).standard_normal((1, height * width, height * width))
    summed = np.empty_like(block)
    fft.convolve(block, summed, Conv(3), height, width)

    def displaced(blocks):
        full = blocks.reshape(height, width, height, width)
        i, j = np.indices((height, width))
        return full[i, j, (i + shift[0]) % height, (j + shift[1]) % width]

    f, g = np.meshgrid(np.fft.fftfreq(height), np.fft.fftfreq(width), indexing="ij")
    taps = (-1, 0, 1)
    transfer = sum(np.exp(2j * np.pi * (f * s + g * t)) for s in taps for t in taps)
    expected = np.fft.ifft2(np.fft.fft2(displaced(block)) * transfer).real
    np.testing.assert_allclose(displaced(summed), expected, atol=1e-12)
