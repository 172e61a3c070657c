"""The kernel behind a net: shapes, scale apart, refusals."""

import numpy as np
import pytest

import fastmoments as fm
from fastmoments.images import sources as data
from fastmoments.nets import families
from fastmoments.scans.kernel import kernel
from fastmoments.scans.scanning import scan

NET = families.bn_ff(depth=2, kernel_size=1)
IMAGES = np.random.default_rng(0).standard_normal((4, 2, 2, 3))

CALLS = {
    "of no net": (lambda: kernel(None, IMAGES), "network must be a fastmoments Network"),
    "scale": (lambda: kernel(NET, IMAGES, log_scale=1), "log_scale must be true or false"),
    "kind": (lambda: kernel(NET, IMAGES, kind="cntk"), "kind must be one of nngp, ntk, not 'cntk'"),
    "tangent": (lambda: kernel(NET, IMAGES, kind="ntk"), "tangent kernel behind a BatchNorm"),
}


@pytest.mark.parametrize("name", CALLS)
def test_a_wrong_call_is_one_sentence(name):
    call, said = CALLS[name]
    with pytest.raises(ValueError, match=said) as caught:
        call()
    assert str(caught.value).endswith(".") and "\n" not in str(caught.value)


def test_the_kernel_is_symmetric_and_has_the_variance_of_the_scan():
    found = kernel(families.vanilla(2), IMAGES)
    assert found.shape == (4, 1, 1, 4, 1, 1)
    matrix = found.reshape(4, 4)
    np.testing.assert_allclose(matrix, matrix.T, rtol=0, atol=1e-15)
    last = scan(families.vanilla(2), IMAGES)["log_nu2_signal", "act"][-1]
    assert np.log(np.mean(np.diag(matrix))) == pytest.approx(last, abs=1e-12)


@pytest.mark.parametrize("gain", [8.0, 2.0, 1e-3])
def test_the_kernel_of_a_deep_net_has_its_scale_apart(gain):
    """Every layer of a plain fully connected net multiplies the diagonal by gain / 2."""
    found = kernel(families.vanilla(600, 1, gain=gain), IMAGES, log_scale=True)
    flat = data.normalise(IMAGES.reshape(4, 1, 1, 12)).reshape(4, 12)
    assert found.covariance.shape == (4, 1, 1, 4, 1, 1) and isinstance(found.log_scale, float)
    diagonal = np.diag(found.covariance.reshape(4, 4))
    assert diagonal.mean() == pytest.approx(1.0, rel=1e-14)
    expected = np.log(np.mean(flat**2, axis=1)) + 600 * np.log(gain / 2)
    np.testing.assert_allclose(np.log(diagonal) + found.log_scale, expected, rtol=1e-12, atol=1e-12)


def test_the_scale_of_a_kernel_is_what_it_lacks():
    net = families.bn_res(3)
    covariance, log_scale = kernel(net, IMAGES, log_scale=True)
    np.testing.assert_allclose(covariance * np.exp(log_scale), kernel(net, IMAGES), rtol=1e-14)


@pytest.mark.parametrize(("gain", "said"), [(8.0, "larger"), (1e-3, "smaller")])
def test_a_kernel_beyond_float64_is_refused(gain, said):
    with pytest.raises(OverflowError, match=f"is {said} than float64 holds.*log_scale=True.*\\.$") as caught:
        kernel(families.vanilla(600, 1, gain=gain), IMAGES)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("gain", [8.0, 1e-3])
def test_the_last_kernel_that_fits_is_given(gain):
    """Of all depths up to the first that is refused, none holds anything infinite or lost."""
    step, limit = abs(np.log(gain / 2)), {8.0: 709.7, 1e-3: 708.3}[gain]
    last = int(limit / step)
    for depth in (last - 1, last, last + 1):
        net = families.vanilla(depth, 1, gain=gain)
        covariance, log_scale = kernel(net, IMAGES, log_scale=True)
        try:
            found = kernel(net, IMAGES)
        except OverflowError:
            assert depth > last - 1
            continue
        assert depth <= last
        np.testing.assert_allclose(found * np.exp(-log_scale), covariance, rtol=1e-12)


def test_the_tangent_kernel_has_its_scale_apart():
    """Of L layers of gain g all L terms are g^L / 2^(L-1) on the diagonal, L being 601 with the stem."""
    found = kernel(families.vanilla(600, 1, gain=8.0), IMAGES, kind="ntk", log_scale=True)
    covariance = kernel(families.vanilla(600, 1, gain=8.0), IMAGES, log_scale=True)
    assert np.mean(np.diag(found.covariance.reshape(4, 4))) == pytest.approx(1.0, rel=1e-14)
    assert found.log_scale - covariance.log_scale == pytest.approx(np.log(601), rel=1e-12)


def test_where_nothing_learns_the_tangent_kernel_is_zero():
    net = fm.Network((fm.AvgPool(2),))
    found = kernel(net, IMAGES, kind="ntk")
    assert found.shape == (4, 1, 1, 4, 1, 1) and not found.any()
    assert kernel(net, IMAGES, kind="ntk", log_scale=True).log_scale == -np.inf


@pytest.mark.parametrize("images", [1, 4])
def test_the_tangent_kernel_has_the_shape_of_the_covariance(images):
    net = fm.Network((fm.Conv(), fm.GELU(), fm.Conv(stride=2)))
    head = fm.Network((*net.layers, fm.GlobalAvgPool(), fm.Dense()))
    for each, grid in ((net, (1, 1)), (head, (1, 1)), (fm.Network(net.layers[:2]), (2, 2))):
        found = kernel(each, IMAGES[:images], kind="ntk")
        assert found.shape == (images, *grid) * 2
        np.testing.assert_array_equal(found.shape, kernel(each, IMAGES[:images]).shape)
