"""Layers of a random net against explicit loops and covariances."""

import math

import naive
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from simulated import SQUARE, naive_convolve

from fastmoments.engines.sampled import layers as sampling
from fastmoments.engines.sampled.layers import Draw, Flow, convolve, forward
from fastmoments.nets.linear import Conv, Gaussian
from fastmoments.nets.norms import BatchNorm

CONVS = st.builds(
    Conv,
    kernel_size=st.integers(1, 4),
    stride=st.integers(1, 3),
    dilation=st.integers(1, 3),
    padding=st.sampled_from(["periodic", "zeros", "symmetric"]),
    pad=st.none() | st.integers(0, 3),
)


@settings(max_examples=80)
@given(conv=CONVS, height=st.integers(1, 7), width=st.integers(1, 7), chunk=st.sampled_from([1, 2**20]))
def test_convolution_is_that_of_explicit_loops(conv, height, width, chunk):
    assume(naive.fits(conv, height, width))
    rng = np.random.default_rng(0)
    images = rng.standard_normal((3, height, width, 2), dtype=np.float32)
    weights = rng.standard_normal((conv.kernel_size**2 * 2, 4), dtype=np.float32)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sampling, "_CHUNK", chunk)
        ours = convolve(conv, images, weights)
    assert_allclose(ours, naive_convolve(conv, images, weights), atol=64 * 2.0**-24 * conv.kernel_size)


#: Our paddings by PyTorch's names, and how large they may be; one position of an edge repeated is its mirror.
TORCH = {"zeros": ("constant", 3), "periodic": ("circular", 3), "symmetric": ("replicate", 1)}


@pytest.mark.parametrize(
    ("padding", "mode", "pad"),
    [(name, mode, pad) for name, (mode, most) in TORCH.items() for pad in range(most + 1)],
)
@pytest.mark.parametrize(("kernel_size", "stride", "dilation"), [(3, 1, 1), (3, 2, 1), (2, 3, 2), (1, 2, 1)])
def test_a_pad_is_pytorch_s(padding, mode, pad, kernel_size, stride, dilation):
    torch = pytest.importorskip("torch")
    conv = Conv(kernel_size, stride=stride, dilation=dilation, padding=padding, pad=pad)
    rng = np.random.default_rng(kernel_size)
    images = rng.standard_normal((2, 6, 5, 3), dtype=np.float32)
    weights = rng.standard_normal((kernel_size, kernel_size, 3, 4), dtype=np.float32)
    theirs = torch.nn.functional.conv2d(
        torch.nn.functional.pad(torch.tensor(images).permute(0, 3, 1, 2), [pad] * 4, mode=mode),
        torch.tensor(weights).permute(3, 2, 0, 1),
        stride=stride,
        dilation=dilation,
    )
    ours = convolve(conv, images, weights.reshape(-1, 4))
    assert_allclose(ours, theirs.permute(0, 2, 3, 1).numpy(), atol=1e-5)


@pytest.mark.parametrize("draw", ["weights", "gram"])
@pytest.mark.parametrize(
    "conv",
    [
        Conv(1),
        Conv(1, weights=Gaussian(gain=1.0, bias_variance=0.4)),
        Conv(3),
        Conv(3, padding="zeros", weights=Gaussian(bias_variance=0.7)),
        Conv(3, padding="symmetric", stride=2),
        Conv(2, dilation=2, padding="zeros", weights=Gaussian(gain=0.5)),
        Conv(3, stride=2, padding="zeros", pad=1),
        Conv(2, padding="periodic", pad=2),
        Conv(2, pad=0),
    ],
)
def test_covariance_behind_a_convolution(conv, draw):
    """All covariances of signal and noise, crossed ones included, are gain * mean over patches + bias."""
    rng, width = np.random.default_rng(11), 20_000
    flow = Flow.start(SQUARE[:2, :3, :3], rng)
    flow.pair[1] += flow.pair[0]  # so that the crossed covariance is not small
    start = (flow.pair * np.exp(flow.log_scale).reshape(2, 1, 1, 1, 1)).reshape(4, 3, 3, 2)
    fan_in = 2 * conv.kernel_size**2
    patches = naive_convolve(conv, start, np.eye(fan_in)).reshape(-1, fan_in)
    expected = conv.weights.gain * patches @ patches.T / fan_in
    expected[: len(expected) // 2, : len(expected) // 2] += conv.weights.bias_variance

    forward(conv, flow, Draw(rng, width, draw), None)
    channels = (flow.points() * np.exp(flow.log_scale).reshape(2, 1, 1)).reshape(-1, width)
    variance = expected.diagonal()
    error = np.sqrt((np.outer(variance, variance) + expected**2) / width)
    z = (channels @ channels.T / width - expected)[np.triu_indices(len(expected))] / error[
        np.triu_indices(len(expected))
    ]
    assert np.abs(z).max() < 4
    assert np.abs(channels.mean(axis=1) / np.sqrt(variance / width)).max() < 4


def test_auto_takes_the_gram_matrix_of_few_points_and_wide_layers():
    assert sampling._cheaper(Conv(1), (2, 64, 1, 1, 512), 512) == "gram"
    assert sampling._cheaper(Conv(1), (2, 512, 1, 1, 512), 512) == "weights"
    assert sampling._cheaper(Conv(3), (2, 4, 8, 8, 512), 512) == "gram"
    assert sampling._cheaper(Conv(3), (2, 64, 16, 16, 512), 512) == "weights"
    assert (
        sampling._cheaper(Conv(3, weights=Gaussian(gain=1.0), stride=2), (2, 4, 16, 16, 3), 512) == "weights"
    )


def test_constant_channels_become_nothing_without_epsilon():
    images = SQUARE.copy()
    images[..., 1] = 3.0
    flow = Flow.start(images, np.random.default_rng(0))
    forward(BatchNorm(0.0), flow, None, None)
    assert_array_equal(flow.pair[..., 1], 0.0)
    assert_allclose(flow.pair[0, ..., 0].var() * np.exp(2 * flow.log_scale[0]), 1.0, rtol=1e-5)
    flow = Flow.start(np.ones((3, 1, 1, 2)), np.random.default_rng(0))
    forward(BatchNorm(0.0), flow, None, None)
    assert_array_equal(flow.pair, 0.0)


@pytest.mark.parametrize("beta", [0.0, -0.5, 1e-30, 1e30])
def test_batch_norm_scales_and_shifts(beta):
    rng = np.random.default_rng(2)
    pair = rng.standard_normal((2, 3, 2, 2, 5)).astype(np.float32)
    plain, other = (Flow(pair.copy(), np.array([300.0, -200.0])) for _ in range(2))
    forward(BatchNorm(0.1), plain, None, None)
    forward(BatchNorm(0.1, 3.0, beta), other, None, None)
    (signal, noise), (shifted, scaled) = (
        flow.pair.astype(float) * np.exp(flow.log_scale).reshape(2, 1, 1, 1, 1) for flow in (plain, other)
    )
    assert_allclose(scaled, 3.0 * noise, rtol=1e-5)
    assert_allclose(shifted, 3.0 * signal + beta, rtol=1e-5, atol=1e-5 * (1.0 + abs(beta)))


def linear(flow):
    """Signal and noise of a flow, in units of one."""
    return flow.pair.astype(float) * np.exp(flow.log_scale).reshape(2, 1, 1, 1, 1)


def along_the_noise(layers, signal, noise, step):
    """Central difference of the signal behind layers along the noise, weights held; and the noise there."""

    def behind(signal):
        flow = Flow(np.stack([signal, noise]).astype(np.float32), np.zeros(2))
        draw = Draw(np.random.default_rng(5), 6, "weights")
        for layer in layers:
            forward(layer, flow, draw, None)
        return linear(flow)

    ahead, back = (behind(signal + way * step * noise)[0] for way in (1.0, -1.0))
    return (ahead - back) / (2.0 * step), behind(signal)[1]


@pytest.mark.parametrize("epsilon", [0.0, 1e-3, 10.0])
@pytest.mark.parametrize(
    "behind", [(), (Conv(3, padding="zeros"), BatchNorm(0.2, 0.5, 1.0, "through"), Conv(1))]
)
def test_noise_through_the_statistics_is_the_derivative_of_the_signal(epsilon, behind):
    rng = np.random.default_rng(8)
    signal, noise = 3.0 * rng.standard_normal((2, 3, 2, 2, 5)) + 1.0
    norm = BatchNorm(epsilon, gamma=2.0, beta=-0.7, noise="through")
    wanted, found = along_the_noise((norm, *behind), signal, noise, 3e-3)
    assert_allclose(found, wanted, atol=3e-4 * np.abs(wanted).max())
    _, as_constants = along_the_noise((BatchNorm(epsilon, 2.0, -0.7), *behind), signal, noise, 3e-3)
    assert np.abs(as_constants - wanted).max() > 0.1 * np.abs(wanted).max()


@pytest.mark.parametrize("epsilon", [0.0, 1e-3, 10.0])
def test_noise_through_the_statistics_is_that_of_pytorch(epsilon):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(9)
    signal, noise = rng.standard_normal((2, 4, 3, 2, 5))
    flow = Flow(np.stack([signal, noise]).astype(np.float32), np.zeros(2))
    forward(BatchNorm(epsilon, 2.0, 0.3, "through"), flow, None, None)

    def norm(values):  # torch's own asks for an epsilon above 0
        variance, mean = torch.var_mean(values, (0, 2, 3), unbiased=False, keepdim=True)
        return 2.0 * (values - mean) / torch.sqrt(variance + epsilon) + 0.3

    first = [torch.tensor(part).permute(0, 3, 1, 2) for part in (signal, noise)]
    both = torch.autograd.functional.jvp(norm, *first)
    for ours, theirs in zip(linear(flow), both, strict=True):
        assert_allclose(ours, theirs.permute(0, 2, 3, 1).numpy(), atol=1e-5)


@pytest.mark.parametrize("log_scale", [(0.0, 0.0), (300.0, -200.0), (-300.0, 200.0)])
def test_noise_through_the_statistics_counts_in_the_units_of_the_signal(log_scale):
    pair = np.random.default_rng(2).standard_normal((2, 3, 2, 2, 5)).astype(np.float32)
    flow = Flow(pair.copy(), np.array(log_scale))
    forward(BatchNorm(0.0, noise="through"), flow, None, None)
    y, dy = flow.points().astype(float)
    assert_allclose(dy.mean(axis=0), 0.0, atol=1e-6)
    assert_allclose((y * dy).mean(axis=0), 0.0, atol=1e-6)
    forward(BatchNorm(1e30 * math.exp(-600.0), noise="through"), flow, None, None)
    assert np.isfinite(flow.pair).all()


def test_two_points_have_no_noise_left_that_could_go_through():
    """Their signal is 1 and -1 whatever it was before; with an epsilon e a share of e / (1 + e) is left."""

    def behind(epsilon):
        flow = Flow(np.array([1.0, -1.0], np.float32).reshape(1, 2, 1, 1, 1).repeat(2, 0), np.zeros(2))
        forward(BatchNorm(epsilon, noise="through"), flow, None, None)
        return linear(flow)[1].ravel()

    with pytest.raises(ValueError, match="any two points to 1 and -1"):
        behind(0.0)
    assert_array_equal(behind(1e-30), 0.0)
    for epsilon in (1e-3, 1.0, 1e30):
        left = epsilon * (1.0 + epsilon) ** -1.5
        assert_allclose(behind(epsilon), [left, -left], rtol=1e-6 / min(epsilon, 1.0))


@pytest.mark.parametrize("draw", ["weights", "gram"])
def test_a_layer_has_its_own_channels(draw):
    rng = np.random.default_rng(3)
    flow = Flow.start(rng.standard_normal((2, 4, 4, 3)), rng)
    forward(Conv(channels=7), flow, Draw(rng, 5, draw), None)
    assert flow.pair.shape == (2, 2, 4, 4, 7)
    forward(Conv(), flow, Draw(rng, 5, draw), None)
    assert flow.pair.shape == (2, 2, 4, 4, 5)


def test_a_depthwise_convolution_sees_one_channel_at_a_time():
    """What is behind it lies in the span of what the taps see of the same channel, signal and noise."""
    pair = np.random.default_rng(0).standard_normal((2, 2, 5, 5, 3)).astype(np.float32)
    conv = Conv(3, groups="depthwise")
    flow = sampling.Flow(pair, np.zeros(2))
    sampling.forward(conv, flow, sampling.Draw(np.random.default_rng(1), 8, "auto"), None)
    seen = np.array(list(sampling.seen_by_taps(conv, pair.reshape(4, 5, 5, 3))))
    for channel in range(3):
        target = flow.pair[..., channel].ravel()
        taps = seen[..., channel].reshape(9, -1).T
        assert np.linalg.lstsq(taps, target, rcond=None)[1][0] < 1e-8 * target @ target


def test_groups_see_their_own_channels_and_have_their_own_fan_in():
    pair = np.random.default_rng(0).standard_normal((2, 2, 8, 8, 4)).astype(np.float32)
    pair[..., 2:] = 0.0
    flow = sampling.Flow(pair, np.zeros(2))
    conv = Conv(3, Gaussian(gain=1.0), groups=2)
    sampling.forward(conv, flow, sampling.Draw(np.random.default_rng(1), 2_000, "auto"), None)
    assert not flow.pair[..., 1000:].any()
    assert np.mean(flow.pair[..., :1000] ** 2) * np.exp(2 * flow.log_scale[0]) == pytest.approx(1.0, rel=0.1)


def test_groups_that_do_not_divide_the_channels():
    flow = sampling.Flow(np.zeros((2, 2, 4, 4, 3), np.float32), np.zeros(2))
    with pytest.raises(ValueError, match="2 groups do not divide the 3 channels before it"):
        sampling.forward(Conv(groups=2), flow, sampling.Draw(np.random.default_rng(1), 8, "auto"), None)
