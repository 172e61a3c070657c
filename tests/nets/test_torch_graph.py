"""Traced modules: what operations are, and how refusals name them."""

import math

import pytest

import fastmoments as fm
from fastmoments.nets.concat import Concat
from fastmoments.nets.fixed import AvgPool, GlobalAvgPool, Scale
from fastmoments.nets.network import Residual

torch = pytest.importorskip("torch")
import torch_modules  # noqa: E402
from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402

IMAGES = torch.zeros(1, 3, 32, 32)

#: What is translated, and why the others are not.
REFUSED = {
    "vit": "ViT cannot be traced",
    "vit, unfused": "ViT cannot be traced",
    "vit of the library": "encoder: TransformerEncoder has no formula here",
    "unet": "up.0: ConvTranspose2d has no formula here",
}


class Called(nn.Module):
    """A function of a module of its own and of the images."""

    def __init__(self, function, inner=None):
        super().__init__()
        self.inner, self.function = inner or nn.Conv2d(3, 4, 3, padding=1), function

    def forward(self, x):
        return self.function(self.inner, x)


def layers(function, inner=None):
    net = fm.from_torch(Called(function, inner), IMAGES)
    return net.stem + net.layers


@pytest.mark.parametrize("name", torch_modules.MODULES)
def test_published_modules_are_translated_or_refused_by_name(name):
    module = torch_modules.MODULES[name]()
    if name in REFUSED:
        with pytest.raises(ValueError, match=f"^{REFUSED[name]}"):
            fm.from_torch(module, IMAGES)
    else:
        net = fm.from_torch(module, IMAGES)
        assert net.output_channels(3, (32, 32), 1) == 10
        assert net.output_grid((32, 32)) == (1, 1)


def test_translated_nets_are_the_nets_they_were_made_of():
    """There and back: a net of the zoo as a module, with the same paths."""
    net = fm.zoo.NETS["resnet20-v2"]()
    found = fm.from_torch(torch_modules.Translated(net), IMAGES, init="kaiming_fan_out")
    assert (found.stem + found.layers)[:-1] == (net.stem + net.layers)[:-1]


def test_dense_blocks_that_concatenate_a_list():
    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = nn.ModuleList(nn.Conv2d(3 + 2 * k, 2, 3, padding=1) for k in range(3))

        def forward(self, x):
            kept = [x]
            for layer in self.layers:
                kept.append(layer(torch.cat(kept, 1)))
            return torch.cat(kept, 1)

    net = fm.from_torch(Block(), IMAGES)
    assert [type(layer) for layer in net.layers] == [Concat] * 3
    assert [len(layer.branches[1]) for layer in net.layers] == [1, 1, 1]
    assert net.output_channels(3, (32, 32), 1) == 9


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (lambda inner, x: inner(x) * 0.5, [Scale(0.5)]),
        (lambda inner, x: 2 * inner(x) / 4, [Scale(2.0), Scale(0.25)]),
        (lambda inner, x: -inner(x), [Scale(-1.0)]),
        (lambda inner, x: inner(x) + 0, []),
        (lambda inner, x: torch.sin(inner(x)).abs(), [fm.Sin(), fm.Abs()]),
        (lambda inner, x: F.leaky_relu(inner(x), 0.2).relu_(), [fm.LeakyReLU(0.2), fm.ReLU()]),
        (lambda inner, x: F.gelu(inner(x), approximate="tanh"), [fm.GELU("tanh")]),
        (lambda inner, x: F.max_pool2d(inner(x), 3, 2, padding=1), [fm.MaxPool(3, 2, 1)]),
        (lambda inner, x: F.avg_pool2d(inner(x), x.size(2) // 4), [AvgPool(8, 8)]),
        (lambda inner, x: F.adaptive_avg_pool2d(inner(x), (4, 4)), [AvgPool(8)]),
        (lambda inner, x: inner(x).mean(dim=(2, 3)), [GlobalAvgPool()]),
        (lambda inner, x: inner(x).mean((-1, -2), keepdim=True), [GlobalAvgPool()]),
        (lambda inner, x: inner(x).view(x.shape[0], -1), [fm.Flatten()]),
        (lambda inner, x: inner(x).permute(0, 2, 3, 1).flatten(1), [fm.Flatten()]),
        (lambda inner, x: F.dropout(inner(x), 0.3), [fm.Dropout(0.3)]),
        (lambda inner, x: F.relu(F.conv2d(x, inner.weight, inner.bias, padding=1)), [fm.ReLU()]),
    ],
)
def test_functions_and_methods(function, expected):
    conv, *found = layers(function)
    assert (conv.kernel_size, conv.pad, conv.channels, found) == (3, 1, 4, expected)


def test_weights_of_a_function_are_measured():
    inner = nn.Linear(3072, 5)
    found = layers(lambda inner, x: F.linear(x.flatten(1), inner.weight), inner)
    assert math.isclose(found[1].weights.gain, 3072 * inner.weight.square().mean().item(), rel_tol=1e-5)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda inner, x: inner(inner(x)[:, :3]), "getitem\\(\\): this operation has no formula here"),
        (lambda inner, x: inner(x) * inner(x), "inner#2: its weights are used twice"),
        (lambda inner, x: inner(x) * x.mean(), "mean\\(\\): it is no mean over all positions"),
        (lambda inner, x: inner(x) + 1.0, "add\\(\\): it adds a number other than 0"),
        (lambda inner, x: 1.0 / inner(x), "div\\(\\): it divides by what comes from the images"),
        (lambda inner, x: torch.cat([inner(x), x], 2), "cat\\(\\): it concatenates along another axis"),
        (lambda inner, x: torch.softmax(inner(x), 1), "softmax\\(\\): this operation has no formula here"),
        (lambda inner, x: inner(x).view(1, 2, -1), "view\\(\\): it makes"),
        (lambda inner, x: (inner(x), x), "The module must give one tensor"),
        (
            lambda inner, x: inner(x).chunk(2, 1)[0],
            "chunk\\(\\): this operation has no formula|chunk\\(\\): it gives something",
        ),
        (lambda inner, x: inner(x) if x.sum() > 0 else x, "Called cannot be traced"),
        (lambda inner, x: x + F.relu(x), "add\\(\\) adds two ways without weights"),
        (
            lambda inner, x: F.interpolate(inner(x), scale_factor=2),
            "interpolate\\(\\): this operation has no formula",
        ),
    ],
)
def test_refusals_name_the_operation(function, message):
    inner = nn.Conv2d(3, 3, 3, padding=1)
    with pytest.raises(ValueError, match=f"^({message})") as caught:
        layers(function, inner)
    assert str(caught.value).count("\n") == 0 and str(caught.value).endswith(".")


def test_a_unit_that_starts_at_zero_is_shut_off():
    """The last gamma of a branch, a last convolution, a scalar of 0 (Goyal, 2017; Fixup; SkipInit)."""

    class Last(nn.Module):
        def __init__(self, last):
            super().__init__()
            self.conv, self.last = nn.Conv2d(3, 3, 3, padding=1), last

        def forward(self, x):
            return x + self.last(F.relu(self.conv(x)))

    norm, conv = nn.BatchNorm2d(3), nn.Conv2d(3, 3, 3, padding=1, bias=False)
    nn.init.zeros_(norm.weight), nn.init.zeros_(conv.weight)
    for last in (norm, conv):
        (unit,) = fm.from_torch(Last(last), IMAGES).layers
        assert isinstance(unit, Residual) and unit.scale == 0.0
    unit = layers(lambda inner, x: x + 0.0 * inner(x), nn.Conv2d(3, 3, 3, padding=1))[0]
    assert isinstance(unit, Residual) and unit.scale == 0.0


def test_moments_are_those_of_the_same_net_by_hand():
    """A translated module scans as the net that one would write."""
    module = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(2048, 5)
    )
    net = fm.from_torch(module, IMAGES, init="kaiming_fan_in")
    same = fm.Network(
        (fm.Conv(3, padding="zeros", pad=1, channels=8), fm.ReLU(), fm.MaxPool(2), fm.Flatten(), fm.Dense(5)),
        name="Sequential",
    )
    assert net.layers == (*same.layers[:2], fm.MaxPool(2, 2, 0), *same.layers[3:])
