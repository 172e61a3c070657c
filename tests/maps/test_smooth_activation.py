import numpy as np
import pytest

import fastmoments as fm
from fastmoments.maps.dual import dual

ACTIVATIONS = [
    fm.Erf(), fm.Sin(), fm.Tanh(), fm.GELU(), fm.GELU("tanh"), fm.SiLU(), fm.Softplus(), fm.Mish(), fm.ELU(),
    fm.HardSwish(), fm.Activation(np.cos, lambda x: -np.sin(x)),
]  # fmt: skip


def net(activation, size, units=3):
    layers = (fm.Conv(size, fm.Gaussian(1.8, 0.1)), activation) * units
    return fm.Network(layers, stem=(fm.Conv(size),))


@pytest.mark.parametrize("activation", ACTIVATIONS, ids=lambda activation: repr(activation)[:20])
def test_a_fully_connected_layer_by_hand(activation):
    images = fm.load_images("synthetic:4x4x3", 7)
    network = fm.Network((fm.Conv(1, fm.Gaussian(1.5)), activation))
    before = fm.kernel(fm.Network((fm.Conv(1, fm.Gaussian(1.5)),)), images)
    before = before.reshape(7, 7)
    after = fm.kernel(network, images).reshape(7, 7)
    found = dual(activation, np.diag(before).copy())
    wanted = found.covariance(before, slice(0, 7), slice(0, 7))
    np.fill_diagonal(wanted, found.square)
    np.testing.assert_allclose(after, wanted, rtol=1e-8)


@pytest.mark.parametrize("size", [1, 3])
@pytest.mark.parametrize("activation", ACTIVATIONS, ids=lambda activation: repr(activation)[:20])
def test_against_random_nets(activation, size):
    """Nets of two widths, extrapolated."""
    images = fm.load_images("synthetic:4x4x3", 5)
    found = fm.verify(net(activation, size, 2), images, widths=(64, 128, 256), nets=24)
    assert found.agrees, [(row.depth, row.loc, row.moment, row.z) for row in found.rows]


def test_the_scale_of_the_signal_matters():
    images = fm.load_images("synthetic:4x4x3", 5)
    chis = [
        fm.scan(fm.Network((fm.Conv(1, fm.Gaussian(gain)), fm.Tanh()) * 3), images)["chi"][-1]
        for gain in (1e-6, 1.0, 30.0)
    ]
    assert chis[0] == pytest.approx(1.0, rel=1e-5)  # linear
    assert chis[2] > chis[1] > 1.0  # chaotic


def test_images_in_another_order():
    images = fm.load_images("synthetic:4x4x3", 6).array
    one, other = (
        fm.scan(net(fm.GELU(), 3), batch, reff_locs=["act"]) for batch in (images, images[::-1].copy())
    )
    for name in ("log_chi", "reff_signal", "log_nu2_signal"):
        np.testing.assert_allclose(one[name], other[name], rtol=1e-9, atol=1e-9)


def test_behind_batch_norm_whose_noise_moves_its_statistics():
    images = fm.load_images("synthetic:4x4x3", 6)
    for noise in ("frozen", "through"):
        network = fm.Network((fm.Conv(), fm.BatchNorm(noise=noise), fm.ReLU(), fm.Conv(), fm.GELU()))
        chi = fm.scan(network, images)["chi"][-1]
        assert fm.scan(network, images, fm.Sampled(256, 30))["chi"][-1] == pytest.approx(chi, rel=0.02)
