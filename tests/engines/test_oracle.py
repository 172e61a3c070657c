"""Agreement with neural-tangents (see data/oracle/README.md), to relative 1e-12 of the largest entry."""

from pathlib import Path

import numpy as np
import pytest

import fastmoments as fm
from fastmoments.engines.infinite_width.walk import InfiniteWidthWalk
from fastmoments.nets.activations import ReLU
from fastmoments.nets.linear import Conv, Gaussian
from fastmoments.nets.network import Network, Residual

DATA = Path(__file__).parents[1] / "data" / "oracle"
PADDING = {"circular": "periodic", "same": "zeros"}


def read(name):
    with np.load(DATA / f"{name}.npz", allow_pickle=False) as file:
        return dict(file)


def assert_agrees(layers, images, expected, method="auto"):
    full = InfiniteWidthWalk(Network(layers), images, convolution=method).final_state().covariance.dense()
    assert np.abs(full - expected).max() <= 1e-12 * np.abs(expected).max()


@pytest.mark.parametrize("method", ["direct", "fft"])
@pytest.mark.parametrize("nt", PADDING)
def test_convolutional(nt, method):
    data = read(f"conv3x3_{nt}")
    he = Conv(padding=PADDING[nt])
    wb = Conv(weights=Gaussian(gain=1.69, bias_variance=0.16), padding=PADDING[nt])
    wide = Conv(5, padding=PADDING[nt])
    assert_agrees([he], data["x"], data["he_conv_only"], method)
    for depth in (1, 2, 5):
        assert_agrees([he, ReLU()] * depth, data["x"], data[f"he_post_L{depth}"], method)
    assert_agrees([wb, ReLU()] * 2, data["x"], data["wb_post_L2"], method)
    assert_agrees([wide, ReLU()] * 2, data["x"], data["he_post_L2_k5"], method)


@pytest.mark.parametrize("method", ["direct", "fft"])
@pytest.mark.parametrize("parity", ["even", "odd"])
@pytest.mark.parametrize("nt", PADDING)
def test_strided(nt, parity, method):
    data = read("stride2")
    strided, conv = Conv(stride=2, padding=PADDING[nt]), Conv(padding=PADDING[nt])
    name = f"{nt}_{parity}_conv_s2"
    images = data[f"x_{parity}"]
    assert_agrees([strided], images, data[name], method)
    assert_agrees([strided, ReLU(), conv, ReLU()], images, data[f"{name}_relu_conv_s1_relu"], method)


@pytest.mark.parametrize("method", ["direct", "fft"])
@pytest.mark.parametrize("nt", PADDING)
def test_residual(nt, method):
    data = read(f"residual_{nt}")
    padding, beta = PADDING[nt], float(data["beta"])
    conv = Conv(padding=padding)
    unit = Residual([ReLU(), conv, ReLU(), Conv(weights=Gaussian(gain=2 * beta**2), padding=padding)])
    for units in (1, 2, 5):
        assert_agrees([conv] + [unit] * units, data["x"], data[f"units{units}"], method)
    projected = Residual(
        [conv, ReLU(), Conv(weights=Gaussian(gain=1), padding=padding)],
        shortcut=[Conv(1, weights=Gaussian(gain=1))],
    )
    layers = [conv, ReLU(), *[projected, ReLU()] * 2]
    assert_agrees(layers, data["x"], data["postact_proj_units2"], method)


@pytest.mark.parametrize("nt", PADDING)
def test_strided_residual(nt):
    data = read("stride2")
    padding = PADDING[nt]
    branch = [
        Conv(stride=2, weights=Gaussian(gain=1), padding=padding),
        ReLU(),
        Conv(weights=Gaussian(gain=1), padding=padding),
    ]
    unit = Residual(branch, shortcut=[Conv(1, stride=2, weights=Gaussian(gain=1))])
    layers = [Conv(padding=padding), ReLU(), unit]
    assert_agrees(layers, data["x_even"], data[f"{nt}_even_strided_residual"])


def test_fully_connected():
    data = read("fc_relu")
    images = data["x"][:, None, None, :]
    for name, dense in (("he", Conv(1)), ("wb", Conv(1, weights=Gaussian(gain=1.69, bias_variance=0.16)))):
        for depth in (1, 2, 5, 20):
            assert_agrees([dense, ReLU()] * depth, images, data[f"{name}_post_L{depth}"])
        for depth in (2, 3, 6, 21):
            layers = [dense, ReLU()] * (depth - 1) + [dense]
            assert_agrees(layers, images, data[f"{name}_pre_L{depth}"])


def test_public_kernel_is_the_covariance():
    data = read("conv3x3_circular")
    full = fm.kernel(Network([Conv(), ReLU()]), data["x"], normalise=False)
    assert full.shape == (3, 6, 5, 3, 6, 5)
    assert np.abs(full.reshape(90, 90) - data["he_post_L1"]).max() <= 1e-12 * np.abs(full).max()
