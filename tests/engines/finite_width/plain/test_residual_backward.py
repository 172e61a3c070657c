"""The backward pass of plain nets with skips against sampled channels."""

import math

import numpy as np
from numpy.testing import assert_allclose

from fastmoments.engines.finite_width.plain.residual_backward import Place, deviations
from fastmoments.engines.finite_width.shared.hermite_forms import GaussianField


def test_deviations_behind_the_first_relu_are_those_of_sampled_channels():
    """Of log mu2 and of log (r_eff - 1), over nets, given the covariance of the channels."""
    rng, points, width, nets = np.random.default_rng(2), 8, 400, 4000
    factor = rng.standard_normal((points, 12)) * np.linspace(0.7, 1.5, points)[:, None]
    kernel = factor @ factor.T / 12
    _, acts = _run([kernel, kernel], [1], width)
    root, found = np.linalg.cholesky(kernel), []
    for _ in range(nets):
        phi = np.maximum(root @ rng.standard_normal((points, width)), 0.0)
        phi -= phi.mean(0)
        values = np.linalg.eigvalsh(phi @ phi.T)
        found.append([math.log(values.sum()), math.log(values.sum() / values[-1] - 1.0)])
    variances = np.var(found, 0)
    assert_allclose(acts[0]["log_mu2_signal"], variances[0], rtol=0.12)
    assert_allclose(acts[0]["reff_signal"], variances[1], rtol=0.2)


def test_deviations_behind_a_unit_of_two_layers_are_those_of_sampled_channels():
    """x' = (x + phi2 W2) / sqrt(2), whose second ReLU has channels of its own."""
    rng, points, width, nets = np.random.default_rng(3), 8, 400, 6000
    factor = rng.standard_normal((points, 12)) * np.linspace(0.7, 1.5, points)[:, None]
    kernel = factor @ factor.T / 12
    once = GaussianField.of(kernel).rectified()
    after = 0.5 * (kernel + GaussianField.of(once).rectified())
    merges, _ = _run([kernel, after], [2], width)

    def behind(x):  # a He layer: given the Gram matrix, Gaussian channels
        root = np.linalg.cholesky(2.0 * x @ x.T / width + 1e-12 * np.eye(points))
        return root @ rng.standard_normal((points, width))

    root, found = np.linalg.cholesky(kernel), []
    for _ in range(nets):
        x = root @ rng.standard_normal((points, width))
        x = math.sqrt(0.5) * (x + behind(np.maximum(behind(np.maximum(x, 0.0)), 0.0)))
        x -= x.mean(0)
        found.append(math.log((x * x).mean()))
    assert_allclose(merges[1]["log_mu2_signal"], np.var(found), rtol=0.08)


def _run(kernels, layers, width):
    """The value that the generator of the backward pass returns."""
    places = [(1, Place.fully_connected(kernels[1])), (0, Place.fully_connected(kernels[0], 1.0, layers[0]))]
    walk = deviations(iter(places), [0, 1], [1], width)
    while True:
        try:
            next(walk)
        except StopIteration as end:
            return end.value
