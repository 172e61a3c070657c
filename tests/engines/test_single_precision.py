"""Single precision beside double: every map, every tail of a loop, whole scans."""

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings
from states import seeds, sizes, state

import fastmoments as fm
from fastmoments.maps import batch_norm
from fastmoments.maps.activation import activate
from fastmoments.maps.convolution import convolve
from fastmoments.maps.merge import merge
from fastmoments.nets.activations import ReLU
from fastmoments.nets.linear import Conv, Gaussian

# A few roundings of an element, whose own is 6e-8.
ROUNDING = 1e-6


def both(seed, size):
    """Two copies of a random state, the second with its signal in single precision."""
    for dtype in (np.float64, np.float32):
        signal, noise, _, _ = state(seed, size)
        signal.blocks = signal.blocks.astype(dtype)
        yield signal, noise


def assert_close(double, single, bound=ROUNDING):
    (signal, noise), (other, other_noise) = double, single
    assert other.blocks.dtype == np.float32
    assert other_noise.blocks.dtype == np.float64
    full = signal.dense()
    np.testing.assert_allclose(other.dense(), full, rtol=0, atol=bound * np.abs(full).max())
    level = np.abs(noise.blocks).max() * np.exp(noise.log_scale - other_noise.log_scale)
    scaled = noise.blocks * np.exp(noise.log_scale - other_noise.log_scale)
    np.testing.assert_allclose(other_noise.blocks, scaled, rtol=0, atol=2 * bound * level)
    np.testing.assert_allclose(
        other.row_sums, signal.row_sums, rtol=0, atol=bound * np.abs(full).max() * len(full)
    )


@given(
    seeds, sizes, st.sampled_from([1, 2, 3, 5]), st.sampled_from(["periodic", "zeros", "symmetric"]),
    st.booleans(), st.sampled_from(["direct", "fft"]),
)  # fmt: skip
@settings(max_examples=30)
def test_convolution_and_relu(seed, size, kernel_size, padding, active, method):
    conv = Conv(kernel_size, padding=padding, weights=Gaussian(bias_variance=0.1))
    double, single = both(seed, size)
    for signal, noise in (double, single):
        convolve(signal, noise, conv, activation=ReLU() if active else None, method=method)
    assert_close(double, single)


@given(seeds, sizes)
@settings(max_examples=20)
def test_relu(seed, size):
    double, single = both(seed, size)
    for signal, noise in (double, single):
        activate(signal, noise, ReLU())
    assert_close(double, single)


@given(seeds, st.sampled_from([None, 4]), st.booleans())
@settings(max_examples=12)
def test_batch_norm(seed, rank, active):
    double, single = both(seed, (3, 4, 3))
    for signal, noise in (double, single):
        batch_norm.normalise(signal, noise, 1e-3, activation=ReLU() if active else None, rank=rank)
    assert_close(double, single, 1e-5)


@given(seeds, sizes)
@settings(max_examples=10)
def test_merge(seed, size):
    double, single = both(seed, size)
    for signal, noise in (double, single):
        skip, skip_noise = signal.copy(), noise.copy()
        skip.log_scale += 0.3
        merge(signal, noise, skip, skip_noise)
    assert_close(double, single)


@pytest.mark.parametrize(("family", "bound"), [(fm.bn_ff, 1e-4), (fm.bn_res, 1e-5)])
def test_scans_agree(family, bound):
    """Rounding is far below the other errors of a scan, also where bn_ff amplifies it."""
    images = fm.load_images("synthetic:16x16x3", 8, seed=0)
    double, single = (
        fm.scan(family(60), images, fm.InfiniteWidth(dtype=dtype), every=20)
        for dtype in ("float64", "float32")
    )
    assert (double.provenance["dtype"], single.provenance["dtype"]) == ("float64", "float32")
    for name in ("log_chi", "mu4_signal", "nu1_abs_signal", "reff_signal", "mu2_noise"):
        for loc in double.moments[name]:
            np.testing.assert_allclose(single[name, loc], double[name, loc], rtol=bound, atol=bound)
    assert np.any(single["chi"] != double["chi"])


def test_activations_behind_merges_agree():
    """The laws of points are of double precision, and single precision stores the covariance only."""
    unit = (fm.Residual((Conv(3), fm.BatchNorm(), ReLU(), Conv(3), fm.BatchNorm())), ReLU())
    net = fm.Network(unit * 10, stem=(Conv(3), fm.BatchNorm(), ReLU()))
    images = fm.load_images("synthetic:4x4x3", 4, seed=0)
    double, single = (fm.scan(net, images, fm.InfiniteWidth(dtype=dtype)) for dtype in ("float64", "float32"))
    for name in ("log_nu2_signal", "log_chi", "reff_signal"):
        np.testing.assert_allclose(single[name], double[name], rtol=1e-5)
        np.testing.assert_allclose(
            single.curve(name).error, double.curve(name).error, rtol=1e-3, equal_nan=True
        )
    assert np.any(single["chi"] != double["chi"])


@pytest.mark.parametrize("net", [fm.vanilla(3), fm.residual(3), fm.Network([Conv(3)] * 2)])
def test_plain_nets_are_refused(net):
    with pytest.raises(ValueError, match="float32 needs a BatchNorm in every unit"):
        fm.scan(net, fm.load_images("synthetic:8x8x3", 3), fm.InfiniteWidth(dtype="float32"))
