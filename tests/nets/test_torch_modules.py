"""PyTorch's modules as layers."""

import numpy as np
import pytest

import fastmoments as fm

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

IMAGES = torch.zeros(1, 4, 8, 8)


def one(module, images=IMAGES, **options):
    (layer,) = fm.from_torch(module, images, **options).layers
    return layer


@pytest.mark.parametrize(
    ("module", "layer"),
    [
        (nn.ReLU(inplace=True), fm.ReLU()),
        (nn.LeakyReLU(0.2), fm.LeakyReLU(0.2)),
        (nn.PReLU(), fm.LeakyReLU(0.25)),
        (nn.Tanh(), fm.Tanh()),
        (nn.GELU("tanh"), fm.GELU("tanh")),
        (nn.SiLU(), fm.SiLU()),
        (nn.ELU(0.5), fm.ELU(0.5)),
        (nn.Softplus(), fm.Softplus()),
        (nn.Hardswish(), fm.HardSwish()),
        (nn.Mish(), fm.Mish()),
        (nn.Dropout(0.1), fm.Dropout(0.1)),
        (nn.MaxPool2d(3, 2, 1), fm.MaxPool(3, 2, 1)),
        (nn.AvgPool2d(2), fm.AvgPool(2, 2)),
        (nn.AdaptiveAvgPool2d(1), fm.GlobalAvgPool()),
        (nn.AdaptiveAvgPool2d((4, 4)), fm.AvgPool(2)),
        (nn.Flatten(), fm.Flatten()),
        (nn.BatchNorm2d(4), fm.BatchNorm(1e-5)),
        (nn.GroupNorm(2, 4), fm.GroupNorm(2)),
        (nn.GroupNorm(1, 4), fm.LayerNorm(over="image")),
        (nn.LayerNorm((4, 8, 8), 1e-3), fm.LayerNorm(1e-3, over="image")),
    ],
    ids=lambda given: type(given).__name__,
)
def test_modules(module, layer):
    assert one(module) == layer


@pytest.mark.parametrize(
    "module",
    [
        nn.Sigmoid(), nn.LogSigmoid(), nn.Tanhshrink(), nn.Softsign(), nn.SELU(), nn.CELU(0.7), nn.ReLU6(),
        nn.Hardsigmoid(), nn.Hardtanh(-0.5, 1.5), nn.Softplus(2.0),
    ],
    ids=lambda module: type(module).__name__,
)  # fmt: skip
def test_activations_without_a_layer_of_their_own(module):
    """They are what PyTorch computes, with its derivative; jumps are where they are said."""
    layer, points = one(module), np.linspace(-7.0, 7.0, 1401) + 1e-3
    assert np.allclose(layer.value(points), module(torch.tensor(points)).numpy(), rtol=1e-12)
    step = 1e-6
    slopes = (layer.value(points + step) - layer.value(points - step)) / (2.0 * step)
    assert np.allclose(layer.slope(points), slopes, atol=1e-7)
    second = np.abs(np.diff(layer.slope(points))) > 0.05
    assert {round(float(x), 1) for x in points[:-1][second]} <= {round(kink, 1) for kink in layer.kinks}
    assert one(type(module)()) == one(type(module)())  # one object, so that maps are shared


@pytest.mark.parametrize(
    ("module", "given"),
    [
        (nn.Conv2d(4, 6, 3), {"pad": 0}),
        (nn.Conv2d(4, 6, 3, padding="same"), {"pad": None}),
        (nn.Conv2d(4, 6, 3, 2, 1), {"pad": 1, "stride": 2}),
        (nn.Conv2d(4, 6, 3, padding=2, dilation=2), {"pad": 2, "dilation": 2}),
        (nn.Conv2d(4, 6, 3, padding=1, padding_mode="circular"), {"pad": 1, "padding": "periodic"}),
        (nn.Conv2d(4, 6, 3, padding=1, groups=2), {"pad": 1, "groups": 2}),
    ],
    ids=str,
)
def test_convolutions(module, given):
    layer = one(module, init="kaiming_fan_in")
    assert layer == fm.Conv(3, padding=given.pop("padding", "zeros"), channels=6, **given)
    height, width = module(IMAGES).shape[2:]
    assert layer.output_grid((8, 8)) == (height, width)


def test_depthwise_convolutions():
    layer = one(nn.Conv2d(4, 4, 3, padding=1, groups=4), init="kaiming_fan_in")
    assert layer == fm.Conv(3, padding="zeros", pad=1, groups="depthwise")


@pytest.mark.parametrize(
    "module",
    [
        nn.Conv2d(4, 6, (1, 5), padding=(0, 2)),
        nn.Conv2d(4, 6, (5, 3), padding=(2, 1), stride=2),
        nn.Conv2d(4, 6, (1, 3), padding=(0, 2), dilation=2),
        nn.Conv2d(4, 6, (1, 3), padding="same"),
    ],
    ids=str,
)
def test_rectangular_kernels_are_square_ones_with_taps_left_out(module):
    """One layer of variances: of ones before it, the variance behind it is that of PyTorch's convolution."""
    layer = one(module)
    assert layer.output_grid((8, 8)) == tuple(module(IMAGES).shape[2:])
    weights = torch.full_like(module.weight, 1.0 / module.weight[0].numel())
    counted = torch.nn.functional.conv2d(
        torch.ones_like(IMAGES), weights, None, module.stride, module.padding, module.dilation
    )
    square = np.zeros((layer.kernel_size, layer.kernel_size))
    square += layer.tap_weights / layer.tap_weights.sum()
    down, across = layer.taps(8), layer.taps(8)
    seen = (down >= 0)[:, None, :, None] & (across >= 0)[None, :, None, :]
    assert np.allclose((seen * square).sum((2, 3)), counted[0, 0].numpy(), atol=1e-6)


def test_convolutions_along_one_axis():
    layer = one(nn.Conv1d(4, 6, 3, padding=1), torch.zeros(1, 4, 8))
    assert layer.output_grid((1, 8)) == (1, 8)
    assert layer.weights.tap_variances == ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0))


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (nn.Conv2d(4, 6, 3, padding_mode="reflect", padding=1), "padding_mode='reflect' has no formula"),
        (nn.Conv2d(4, 6, 3, stride=(1, 2)), "its stride differs between height and width"),
        (nn.Conv2d(4, 6, (1, 5)), "its paddings do not make a square kernel"),
        (nn.Conv2d(4, 6, (1, 2), padding=(0, 1)), "its paddings do not make|of height and width"),
        (nn.Conv2d(4, 8, 3, groups=4), "it makes several channels of each"),
        (nn.Linear(8, 4), "it mixes positions with weights of their own"),
        (nn.LayerNorm(8), "it is over some of the axes"),
        (nn.MaxPool2d(2, dilation=2), "its windows have gaps"),
        (nn.MaxPool2d(3, 2, ceil_mode=True), "it has a window that stands beyond the border"),
        (nn.AvgPool2d(3, 2, 1, count_include_pad=False), "it does not count its padding"),
        (nn.AvgPool2d(2, divisor_override=3), "it divides by another number"),
        (nn.AdaptiveAvgPool2d(3), r"\(8, 8\) positions are no multiple"),
        (nn.InstanceNorm2d(4), "InstanceNorm2d has no formula here"),
        (nn.Upsample(scale_factor=2), "Upsample has no formula here"),
        (nn.Softmax(1), "Softmax has no formula here"),
    ],
    ids=str,
)
def test_what_has_no_counterpart_says_why(module, message):
    with pytest.raises(ValueError, match=f"0: ({message})"):
        fm.from_torch(nn.Sequential(module), IMAGES)


def filled(module, **values):
    for name, value in values.items():
        nn.init.constant_(getattr(module, name), value)
    return module


def test_parameters_that_are_no_random_numbers_around_zero():
    trained = nn.BatchNorm2d(4)
    nn.init.uniform_(trained.weight)
    for module, message in (
        (filled(nn.Conv2d(4, 6, 3), weight=0.1), "its weights have a mean"),
        (filled(nn.Conv2d(4, 6, 3), weight=0.0), "its weights are 0 and its biases are not"),
        (filled(nn.Conv2d(4, 6, 3), weight=float("nan")), "it has weights that are not finite"),
        (filled(nn.LayerNorm((4, 8, 8)), bias=1.0), "its bias is not 0"),
        (trained, "its weight runs from .* to .*, and one number is taken"),
    ):
        with pytest.raises(ValueError, match=f"0: {message}"):
            fm.from_torch(nn.Sequential(module), IMAGES)
    net = nn.Sequential(filled(nn.BatchNorm2d(4), weight=2.0, bias=0.5))
    assert fm.from_torch(net, IMAGES).layers == (fm.BatchNorm(1e-5, 2.0, 0.5),)


@pytest.mark.parametrize(
    ("init", "gain", "bias"),
    [
        ("default", 1 / 3, 1 / 108), ("kaiming_fan_in", 2.0, 0.0), ("kaiming_fan_out", 2 * 36 / 54, 0.0),
        ("lecun", 1.0, 0.0), ("xavier", 2 * 36 / 90, 0.0),
    ],
)  # fmt: skip
def test_initialisations_by_name(init, gain, bias):
    """Against what `torch.nn.init` draws."""
    weights = one(nn.Conv2d(4, 6, 3), init=init).weights
    assert (weights.gain, weights.bias_variance) == (pytest.approx(gain), pytest.approx(bias))
    draw = {
        "kaiming_fan_in": nn.init.kaiming_normal_,
        "kaiming_fan_out": lambda weight: nn.init.kaiming_normal_(weight, mode="fan_out"),
        "xavier": nn.init.xavier_normal_,
    }.get(init)
    if draw:
        torch.manual_seed(1)
        module = nn.Conv2d(4, 6, 3)
        squares = torch.stack([draw(module.weight).detach().square() for _ in range(400)])
        assert squares.mean() * 36 == pytest.approx(gain, rel=4 * (2 / squares.numel()) ** 0.5)
