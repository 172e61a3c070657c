import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastmoments.nets import families
from fastmoments.nets.geometry import PADDINGS
from fastmoments.nets.layers import BatchNorm, Conv, ReLU
from fastmoments.nets.network import Network, Residual


@given(st.integers(1, 7), st.integers(1, 3), st.integers(1, 3), st.integers(1, 9), st.sampled_from(PADDINGS))
def test_padding_is_numpy_s_by_tensorflow_s_amounts(kernel_size, stride, dilation, size, padding):
    conv = Conv(kernel_size, stride=stride, dilation=dilation, padding=padding)
    out = -(-size // stride)
    reach = (kernel_size - 1) * dilation + 1
    total = max((out - 1) * stride + reach - size, 0)
    padded = np.pad(
        np.arange(size),
        (total // 2, total - total // 2),
        mode={"periodic": "wrap", "zeros": "constant", "symmetric": "symmetric"}[padding],
        **({"constant_values": -1} if padding == "zeros" else {}),
    )
    index = conv.padded_index(size)
    assert conv.output_size(size) == out
    assert index.size == (out - 1) * stride + reach
    np.testing.assert_array_equal(index, padded[: index.size])


def test_presets():
    for name, family in families.FAMILIES.items():
        network = family(7, 5, "zeros", 3, 0.1)
        assert (network.name, network.depth, network.kernel_size) == (name, 7, 5)
        assert network.stem == (Conv(5, gain=1.0, stride=2, padding="zeros"),)
        assert family(7, 1).stem == (Conv(1, gain=1.0),)
        assert family(7, input_conv=False).stem == ()
        assert family(np.int64(3)).architecture()["depth"] == 3
        assert family(3, 1).fully_connected
        assert not network.fully_connected
        assert network.has(BatchNorm) == name.startswith("bn")
    assert len(families.bn_res(1, res_depth=3).layers[0].branch) == 9


def test_architecture_folds_a_periodic_stack():
    described = Network([Conv(5), ReLU()] * 40, stem=[Conv(stride=2)]).architecture()
    assert described["layers"] == [
        {"repeat": 40, "layers": [{"type": "Conv", "kernel_size": 5}, {"type": "ReLU"}]}
    ]
    assert described["stem"] == [{"type": "Conv", "stride": 2}]


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Conv(0), "kernel_size"),
        (lambda: Conv(2.5), "kernel_size"),
        (lambda: Conv(stride=True), "stride"),
        (lambda: Conv(gain=0), "gain"),
        (lambda: Conv(gain=float("nan")), "gain"),
        (lambda: Conv(bias_variance=-1), "bias_variance"),
        (lambda: Conv(padding="reflect"), "periodic, zeros, symmetric"),
        (lambda: BatchNorm(float("inf")), "epsilon"),
        (lambda: Residual([ReLU()]), "needs a Conv"),
        (lambda: Residual(3), "sequence of layers"),
        (lambda: Residual([Residual([ReLU()])]), "needs a Conv"),
        (lambda: Network([3]), "may hold"),
        (lambda: Network([], stem=[3]), "stem"),
        (lambda: families.vanilla(-1), "depth"),
        (lambda: families.vanilla(1.5), "depth"),
        (lambda: families.bn_res(1, res_depth=0), "res_depth"),
    ],
)
def test_wrong_parameters_are_refused_in_one_sentence(make, words):
    with pytest.raises(ValueError, match=words) as caught:
        make()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "wrong",
    [
        {"tap_variances": [[1.0, 2.0]]},
        {"tap_variances": np.zeros((3, 3))},
        {"tap_variances": -np.ones((3, 3))},
        {"tap_variances": np.full((3, 3), np.inf)},
        {"tap_variances": "gauss"},
        {"tap_variances": [[1, 2], [3]]},
        {"tap_variances": np.ones((5, 5))},
    ],
)
def test_profiles_that_are_none(wrong):
    with pytest.raises(ValueError, match="tap_variances must be 3 rows of 3 non-negative numbers"):
        Conv(**wrong)


@pytest.mark.parametrize("scale", [-0.5, np.nan, np.inf, "1", None])
def test_scales_that_are_none(scale):
    with pytest.raises(ValueError, match="scale must be a finite non-negative number"):
        Residual([Conv()], scale=scale)


@given(st.integers(0, 2**32 - 1), st.integers(1, 5), st.integers(1, 5))
def test_a_profile_is_the_sum_of_its_products(seed, size, rank):
    rng = np.random.default_rng(seed)
    profile = rng.random((size, rank)) @ rng.random((rank, size))
    conv = Conv(size, tap_variances=profile)
    down, across = conv.tap_factors
    assert len(down) <= min(rank, size) or np.linalg.matrix_rank(profile) < len(down)
    np.testing.assert_allclose(np.einsum("rs,rt->st", down, across), conv.tap_weights, atol=1e-13)
    assert conv.tap_weights.mean() == pytest.approx(1.0)
    np.testing.assert_allclose(conv.tap_weights * profile.mean(), profile)
    assert hash(conv) == hash(Conv(size, tap_variances=profile.tolist()))
    np.testing.assert_allclose(Conv(size, tap_variances=np.full((size, size), 7.0)).tap_weights, 1.0)
