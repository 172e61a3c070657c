"""Samples through the same weights: the law they have, and the net they go through."""

import numpy as np
import pytest
from given import covariance, forward, stationary

import fastmoments as fm
from fastmoments.engines.given.check import CHECKED, passed, samples_of
from fastmoments.engines.given.propagation import field_of
from fastmoments.engines.given.route import all_layers
from fastmoments.engines.sampled.layers import Flow

LAYERS = (
    fm.Conv(3, fm.Gaussian(bias_variance=0.5)),
    fm.Residual((fm.BatchNorm(), fm.LeakyReLU(0.1), fm.Conv(3, padding="zeros")), (fm.Conv(1),), scale=0.5),
    fm.Conv(3, groups="depthwise"),
    fm.BatchNorm(),
    fm.AvgPool(2),
    fm.Tanh(),
    fm.Flatten(),
    fm.Dense(5, fm.Gaussian(bias_variance=0.5)),
)


def test_samples_go_through_the_net():
    """As the naive pass in double precision does; batch norm by running statistics and by the batch's."""
    drawn = fm.sample_weights(fm.Network(LAYERS), (4, 4, 2), width=6)
    rng = np.random.default_rng(0)
    statistics = {
        "running_mean": rng.standard_normal(6), "running_var": rng.uniform(0.5, 2.0, 6),
        "weight": rng.uniform(0.5, 2.0, 6), "bias": rng.standard_normal(6),
    }  # fmt: skip
    net = fm.Network(LAYERS, weights={**drawn.weights, "layers.3": statistics})
    x = 100.0 * rng.standard_normal((20, 4, 4, 2))
    flow = Flow.start(x, rng)
    assert list(passed(all_layers(net), flow, net))[-1] == "layers.7"
    found = flow.pair[0] * np.exp(flow.log_scale[0])
    np.testing.assert_allclose(found, forward(net, x), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", ["dense", "stationary"])
def test_samples_have_the_law_of_the_field(kind):
    rng = np.random.default_rng(1)
    by_displacement, full = stationary(rng, 2, 3, 2)
    if kind == "dense":
        full = covariance(rng, 2, 3, 2)
        mean = rng.standard_normal((2, 3, 2))
        field = field_of(mean, full)
    else:
        mean = rng.standard_normal(2)
        field = field_of(mean, by_displacement)
    x = samples_of(field, 200_000, rng)
    assert x.shape == (200_000, 2, 3, 2)
    flat, size = x.reshape(len(x), 12), full.reshape(12, 12)
    away = flat.mean(0) - np.broadcast_to(mean, (2, 3, 2)).ravel()
    assert np.abs(away / np.sqrt(np.diagonal(size) / len(x))).max() < 4.5
    error = np.sqrt((size**2 + np.outer(np.diagonal(size), np.diagonal(size))) / len(x))
    assert np.abs((np.cov(flat.T) - size) / error).max() < 4.5


def test_the_check_stands_beside_and_finds_no_fault_where_there_is_none():
    """One activation of a Gaussian: z-scores of all moments of all stations."""
    by_displacement, _ = stationary(np.random.default_rng(2), 4, 4, 2)
    law = fm.gaussian_images(np.array([0.5, -0.2]), by_displacement)
    net = fm.sample_weights(fm.Network((fm.Conv(3), fm.ReLU(), fm.Conv(3))), (4, 4, 2), width=6)
    scan = fm.scan(net, law, fm.GivenNetwork(check=20_000), reff_locs=("conv", "act"))
    rows = scan.provenance["check"]
    assert {row["moment"] for row in rows} == {name.removeprefix("log_") for name in CHECKED}
    assert max(abs(row["z"]) for row in rows) < 4.5
    assert max(abs(row["relative"]) for row in rows) < 0.05
    assert 0.0 < scan.provenance["closure_error"] < 0.05
    again = fm.scan(net, law, fm.GivenNetwork(check=20_000), reff_locs=("conv", "act"))
    assert again.provenance["check"] == rows


def test_the_check_finds_what_the_closure_leaves_out():
    """Narrow and deep: sums of few rectified numbers are not Gaussian, and z-scores say so."""
    law = fm.gaussian_images(np.zeros(3), np.eye(3))
    net = fm.sample_weights(fm.Network((fm.Dense(), fm.ReLU()) * 6), (1, 1, 3), width=3, seed=2)
    scan = fm.scan(net, law, fm.GivenNetwork(check=20_000))
    assert max(abs(row["z"]) for row in scan.provenance["check"]) > 10.0
    assert scan.provenance["closure_error"] > 0.02
    assert scan.stations[-1].error > scan.stations[1].error
