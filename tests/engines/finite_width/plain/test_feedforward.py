"""The walk through a plain net: its mean kernel is that of infinite width, whatever the width."""

import numpy as np
from numpy.testing import assert_allclose

import fastmoments as fm
from fastmoments.engines.finite_width.closures import CLOSURES
from fastmoments.engines.finite_width.plain.feedforward import _walk, stations
from fastmoments.engines.finite_width.shared.units import Task

IMAGES = np.random.default_rng(0).standard_normal((6, 40)) * np.linspace(0.6, 1.5, 6)[:, None] + 0.5


def test_mean_kernels_are_iterated_relu_moments():
    images = np.random.default_rng(0).standard_normal((4, 9)) + 0.3
    kernel = images @ images.T / 9
    for state in _walk(images, 3, 64, False, CLOSURES):
        assert_allclose(state.kernel, kernel, rtol=1e-12)
        roots = np.sqrt(np.diag(kernel))
        c = np.clip(kernel / np.outer(roots, roots), -1.0, 1.0)
        kernel = np.outer(roots, roots) * (np.sqrt(1.0 - c * c) + (np.pi - np.arccos(c)) * c) / np.pi


def test_gains_scale_what_is_no_ratio():
    """A gain of 3 in place of 2: 1.5 on mu2 and nu2 a layer, nothing on chi, r_eff and deviations."""
    images = np.random.default_rng(1).standard_normal((6, 12))

    def act(gain):
        net = fm.Network([fm.Conv(1, weights=fm.Gaussian(gain=gain)), fm.ReLU()] * 2)
        walk = stations(Task(net, images, 64, frozenset({2}), 0.0))
        return {loc: laws for _, loc, laws in walk if loc is not None}["act"]

    usual, more = act(2.0), act(3.0)
    for name, factor in (("log_mu2_signal", 1.5), ("log_nu2_signal", 1.5), ("log_chi", 1.0)):
        assert_allclose(more[name].mean - usual[name].mean, 2.0 * np.log(factor), atol=1e-12)
        assert_allclose(more[name].variance, usual[name].variance)
    assert_allclose(more["reff_signal"], usual["reff_signal"])


def test_the_diagonal_of_a_layer_state_diffuses_like_that_of_sampled_nets():
    """Covariance over nets of log K_ii, through a linear and two ReLU layers."""
    rng, width, nets, logs = np.random.default_rng(2), 200, 3000, []
    for _ in range(nets):
        x = IMAGES @ rng.standard_normal((IMAGES.shape[1], width)) / IMAGES.shape[1] ** 0.5
        for _ in range(2):
            weights = rng.standard_normal((width, width)) * (2.0 / width) ** 0.5
            x = np.maximum(x @ weights, 0.0)
        logs.append(np.log((x * x).mean(1)))
    *_, last = _walk(IMAGES, 2, width, True, CLOSURES)
    found = np.cov(np.array(logs).T)
    assert_allclose(np.diag(found), np.diag(last.diagonal), rtol=0.12)
    assert np.abs(found - last.diagonal).max() < 0.12 * np.diag(found).max()
