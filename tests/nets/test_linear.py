import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastmoments.nets.linear import Conv, Gaussian


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Conv(0), "kernel_size"),
        (lambda: Conv(2.5), "kernel_size"),
        (lambda: Conv(stride=True), "stride"),
        (lambda: Conv(weights=Gaussian(gain=0)), "gain"),
        (lambda: Conv(weights=Gaussian(gain=float("nan"))), "gain"),
        (lambda: Conv(weights=Gaussian(bias_variance=-1)), "bias_variance"),
        (lambda: Conv(padding="reflect"), "periodic, zeros, symmetric"),
        (lambda: Conv(channels=10**400), "channels must be a whole number from 1 to 1000000"),
        (lambda: Conv(pad=-1), "pad must be a whole number from 0 to 1000, not -1"),
        (lambda: Conv(pad=0.5), "pad must be a whole number from 0"),
        (lambda: Conv(pad=True), "pad must be a whole number from 0"),
        (lambda: Conv(pad=(1, 1)), "pad must be a whole number from 0"),
        (lambda: Conv(pad=1001), "pad must be a whole number from 0"),
    ],
)
def test_wrong_parameters_are_refused_in_one_sentence(make, words):
    with pytest.raises(ValueError, match=words) as caught:
        make()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "wrong",
    [
        [[1.0, 2.0]],
        [],
        np.zeros((3, 3)),
        -np.ones((3, 3)),
        np.full((3, 3), np.inf),
        "gauss",
        [[1, 2], [3]],
    ],
)
def test_profiles_that_are_none(wrong):
    with pytest.raises(ValueError, match="tap_variances must be k rows of k non-negative numbers"):
        Gaussian(tap_variances=wrong)


def test_a_profile_has_the_size_of_the_kernel():
    with pytest.raises(ValueError, match="tap_variances must be 3 rows, as the kernel has, not 5"):
        Conv(3, Gaussian(tap_variances=np.ones((5, 5))))
    with pytest.raises(ValueError, match="weights must be Gaussian"):
        Conv(3, 2.0)


@given(st.integers(0, 2**32 - 1), st.integers(1, 5), st.integers(1, 5))
def test_a_profile_is_the_sum_of_its_products(seed, size, rank):
    rng = np.random.default_rng(seed)
    profile = rng.random((size, rank)) @ rng.random((rank, size))
    conv = Conv(size, weights=Gaussian(tap_variances=profile))
    down, across = conv.tap_factors
    assert len(down) <= min(rank, size) or np.linalg.matrix_rank(profile) < len(down)
    np.testing.assert_allclose(np.einsum("rs,rt->st", down, across), conv.tap_weights, atol=1e-13)
    assert conv.tap_weights.mean() == pytest.approx(1.0)
    np.testing.assert_allclose(conv.tap_weights * profile.mean(), profile)
    assert hash(conv) == hash(Conv(size, weights=Gaussian(tap_variances=profile.tolist())))
    np.testing.assert_allclose(
        Conv(size, weights=Gaussian(tap_variances=np.full((size, size), 7.0))).tap_weights, 1.0
    )
