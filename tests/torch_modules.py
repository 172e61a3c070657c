"""Modules of PyTorch written from the published descriptions, narrow enough for tests.

`MODULES` has makers by name; all take images (n, 3, 32, 32) and give 10 outputs or an image.
"""

import functools
import math

import torch
import torch.nn.functional as F
from torch import nn


def conv(before, behind, size=3, stride=1, groups=1):
    return nn.Conv2d(before, behind, size, stride, size // 2, groups=groups, bias=False)


class Basic(nn.Module):
    """Two 3 x 3 convolutions, activation behind the merge (He et al., 2015)."""

    expansion = 1

    def __init__(self, before, width, stride=1):
        super().__init__()
        self.conv1, self.bn1 = conv(before, width, 3, stride), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = conv(width, width), nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = None
        if stride > 1 or before != width:
            self.downsample = nn.Sequential(conv(before, width, 1, stride), nn.BatchNorm2d(width))

    def forward(self, x):
        identity = x if self.downsample is None else self.downsample(x)
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        out += identity
        return self.relu(out)


class Bottleneck(nn.Module):
    """1 x 1, 3 x 3 and 1 x 1 convolutions; functional activations."""

    expansion = 4

    def __init__(self, before, width, stride=1):
        super().__init__()
        self.conv1, self.bn1 = conv(before, width, 1), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = conv(width, width, 3, stride), nn.BatchNorm2d(width)
        self.conv3, self.bn3 = conv(width, 4 * width, 1), nn.BatchNorm2d(4 * width)
        self.shortcut = nn.Sequential()
        if stride > 1 or before != 4 * width:
            self.shortcut = nn.Sequential(conv(before, 4 * width, 1, stride), nn.BatchNorm2d(4 * width))

    def forward(self, x):
        out = F.relu(self.bn1(self.conv1(x)))
        out = F.relu(self.bn2(self.conv2(out)))
        return F.relu(self.bn3(self.conv3(out)) + self.shortcut(x))


class ResNet(nn.Module):
    """ResNet of the ImageNet form: 7 x 7 stem, max pooling, four stages."""

    def __init__(self, block, units, width=64, classes=1000):
        super().__init__()
        self.conv1, self.bn1, self.relu = conv(3, width, 7, 2), nn.BatchNorm2d(width), nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        before, stages = width, []
        for stage, count in enumerate(units):
            blocks = []
            for index in range(count):
                blocks.append(block(before, width * 2**stage, 1 + (stage > 0 and index == 0)))
                before = width * 2**stage * block.expansion
            stages.append(nn.Sequential(*blocks))
        self.layer1, self.layer2, self.layer3, self.layer4 = stages
        self.avgpool, self.fc = nn.AdaptiveAvgPool2d(1), nn.Linear(before, classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x):
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.fc(torch.flatten(self.avgpool(x), 1))


class PreActivation(nn.Module):
    """Batch norm and activation before the convolutions (He et al., 2016)."""

    def __init__(self, before, width, stride=1):
        super().__init__()
        self.bn1, self.conv1 = nn.BatchNorm2d(before), conv(before, width, 3, stride)
        self.bn2, self.conv2 = nn.BatchNorm2d(width), conv(width, width)
        self.shortcut = conv(before, width, 1, stride) if stride > 1 or before != width else None

    def forward(self, x):
        out = F.relu(self.bn1(x))
        skip = x if self.shortcut is None else self.shortcut(out)
        out = self.conv1(out)
        return self.conv2(F.relu(self.bn2(out))) + skip


def preact_resnet(depth=110, width=16, classes=10):
    """Of the CIFAR-10 form: three stages of (depth - 2) / 6 units."""
    layers, before = [conv(3, width)], width
    for stage in range(3):
        for index in range((depth - 2) // 6):
            layers.append(PreActivation(before, width * 2**stage, 1 + (stage > 0 and index == 0)))
            before = width * 2**stage
    head = [
        nn.BatchNorm2d(before),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(before, classes),
    ]
    return nn.Sequential(*layers, *head)


def vgg16(norm, width=64, classes=10, hidden=64):
    """Simonyan and Zisserman (2014); a hidden dense layer of its own width."""
    layers, before = [], 3
    for stage, count in enumerate((2, 2, 3, 3, 3)):
        behind = width * min(2**stage, 8)
        for _ in range(count):
            layers += [nn.Conv2d(before, behind, 3, padding=1)]
            layers += [*([nn.BatchNorm2d(behind)] if norm else []), nn.ReLU(inplace=True)]
            before = behind
        layers.append(nn.MaxPool2d(2))
    head = [nn.Flatten(), nn.Linear(before, hidden), nn.ReLU(True), nn.Dropout(), nn.Linear(hidden, classes)]
    net = nn.Sequential(*layers, *head)
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            nn.init.zeros_(module.bias)
    return net


class ConvNeXtBlock(nn.Module):
    """Depthwise 7 x 7, LayerNorm with channels last, an MLP with GELU, layer scale (Liu et al., 2022)."""

    def __init__(self, width):
        super().__init__()
        self.dwconv, self.norm = (
            nn.Conv2d(width, width, 7, padding=3, groups=width),
            nn.LayerNorm(width, eps=1e-6),
        )
        self.pwconv1, self.act, self.pwconv2 = (
            nn.Linear(width, 4 * width),
            nn.GELU(),
            nn.Linear(4 * width, width),
        )
        self.gamma = nn.Parameter(torch.full((width,), 1e-1))

    def forward(self, x):
        out = self.norm(self.dwconv(x).permute(0, 2, 3, 1))
        out = self.gamma * self.pwconv2(self.act(self.pwconv1(out)))
        return x + out.permute(0, 3, 1, 2)


class Head(nn.Module):
    """Mean over positions and a classifier."""

    def __init__(self, width, classes=10):
        super().__init__()
        self.fc = nn.Linear(width, classes)

    def forward(self, x):
        return self.fc(x.mean((2, 3)))


def convnext(blocks=4, width=16):
    return nn.Sequential(
        nn.Conv2d(3, width, 4, 4), *(ConvNeXtBlock(width) for _ in range(blocks)), Head(width)
    )


class Attention(nn.Module):
    """Multi-head self-attention by one product for queries, keys and values."""

    def __init__(self, width, heads, fused):
        super().__init__()
        self.qkv, self.proj, self.heads, self.fused = (
            nn.Linear(width, 3 * width),
            nn.Linear(width, width),
            heads,
            fused,
        )

    def forward(self, x):
        n, tokens, width = x.shape
        q, k, v = self.qkv(x).reshape(n, tokens, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        if self.fused:
            out = F.scaled_dot_product_attention(q, k, v)
        else:
            out = (q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])).softmax(-1) @ v
        return self.proj(out.transpose(1, 2).reshape(n, tokens, width))


class Encoder(nn.Module):
    """Norm ahead of attention and of the MLP (Dosovitskiy et al., 2020)."""

    def __init__(self, width, heads=2, fused=True):
        super().__init__()
        self.norm1, self.attn = nn.LayerNorm(width), Attention(width, heads, fused)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x):
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class ViT(nn.Module):
    """A vision transformer with a class token and learned positions."""

    def __init__(self, blocks=4, width=16, patch=8, size=32, fused=True, classes=10):
        super().__init__()
        self.patches = nn.Conv2d(3, width, patch, patch)
        self.token = nn.Parameter(0.02 * torch.randn(1, 1, width))
        self.positions = nn.Parameter(0.02 * torch.randn(1, (size // patch) ** 2 + 1, width))
        self.blocks = nn.Sequential(*(Encoder(width, fused=fused) for _ in range(blocks)))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, classes)

    def forward(self, x):
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(len(x), -1, -1), x], 1) + self.positions
        return self.head(self.norm(self.blocks(x))[:, 0])


class LibraryViT(nn.Module):
    """The same of PyTorch's own layers."""

    def __init__(self, blocks=2, width=16, patch=8):
        super().__init__()
        self.patches = nn.Conv2d(3, width, patch, patch)
        layer = nn.TransformerEncoderLayer(width, 2, 32, activation="gelu", batch_first=True, norm_first=True)
        self.encoder, self.head = (
            nn.TransformerEncoder(layer, blocks, enable_nested_tensor=False),
            nn.Linear(width, 10),
        )

    def forward(self, x):
        return self.head(self.encoder(self.patches(x).flatten(2).transpose(1, 2)).mean(1))


def mlp(depth=4, width=64):
    hidden = [
        each for _ in range(depth) for each in (nn.Linear(width, width), nn.LayerNorm(width), nn.GELU())
    ]
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, width), *hidden, nn.Linear(width, 10))


class DenseLayer(nn.Module):
    """What it makes is put beside what it is given (Huang et al., 2016)."""

    def __init__(self, before, growth):
        super().__init__()
        self.norm1, self.conv1 = nn.BatchNorm2d(before), conv(before, 4 * growth, 1)
        self.norm2, self.conv2 = nn.BatchNorm2d(4 * growth), conv(4 * growth, growth)

    def forward(self, x):
        out = self.conv1(F.relu(self.norm1(x)))
        return torch.cat([x, self.conv2(F.relu(self.norm2(out)))], 1)


def densenet(blocks=(3, 3, 3), growth=4):
    before, layers = 2 * growth, [conv(3, 2 * growth)]
    for index, count in enumerate(blocks):
        for _ in range(count):
            layers.append(DenseLayer(before, growth))
            before += growth
        if index < len(blocks) - 1:
            half = [nn.BatchNorm2d(before), nn.ReLU(), conv(before, before // 2, 1), nn.AvgPool2d(2)]
            layers.append(nn.Sequential(*half))
            before //= 2
    return nn.Sequential(*layers, nn.BatchNorm2d(before), nn.ReLU(), Head(before))


class FixupBlock(nn.Module):
    """No norm; scalar biases and a scale; the last convolution begins at 0 (Zhang et al., 2019)."""

    def __init__(self, width, blocks):
        super().__init__()
        self.bias1a, self.bias1b, self.bias2a, self.bias2b = (nn.Parameter(torch.zeros(1)) for _ in range(4))
        self.conv1, self.conv2, self.scale = (
            conv(width, width),
            conv(width, width),
            nn.Parameter(torch.ones(1)),
        )
        nn.init.normal_(self.conv1.weight, std=math.sqrt(2 / (9 * width)) * blocks**-0.5)
        nn.init.zeros_(self.conv2.weight)

    def forward(self, x):
        out = F.relu(self.conv1(x + self.bias1a) + self.bias1b)
        out = self.conv2(out + self.bias2a) * self.scale + self.bias2b
        return F.relu(out + x)


def fixup(blocks=4, width=16):
    return nn.Sequential(
        conv(3, width), nn.ReLU(), *(FixupBlock(width, blocks) for _ in range(blocks)), Head(width)
    )


class UNet(nn.Module):
    """Down and up again, each level beside what came down there (Ronneberger et al., 2015)."""

    def __init__(self, width=8, levels=3):
        super().__init__()
        double = lambda before, behind: nn.Sequential(  # noqa: E731
            *(conv(before, behind), nn.BatchNorm2d(behind), nn.ReLU(inplace=True)),
            *(conv(behind, behind), nn.BatchNorm2d(behind), nn.ReLU(inplace=True)),
        )
        widths = [width * 2**level for level in range(levels)]
        self.down = nn.ModuleList(double(a, b) for a, b in zip([3, *widths], widths, strict=False))
        self.up = nn.ModuleList(nn.ConvTranspose2d(2 * a, a, 2, 2) for a in reversed(widths[:-1]))
        self.merge = nn.ModuleList(double(2 * a, a) for a in reversed(widths[:-1]))
        self.out = nn.Conv2d(width, 2, 1)

    def forward(self, x):
        kept = []
        for level in self.down:
            x = level(F.max_pool2d(x, 2) if kept else x)
            kept.append(x)
        kept.pop()
        for up, merge in zip(self.up, self.merge, strict=True):
            x = merge(torch.cat([kept.pop(), up(x)], 1))
        return self.out(x)


def separable(width=16, blocks=4):
    """Depthwise and pointwise convolutions in turn (Howard et al., 2017)."""
    layers, before = [conv(3, width, 3, 2), nn.BatchNorm2d(width), nn.ReLU6()], width
    for index in range(blocks):
        behind = before * (1 + index % 2)
        layers += [conv(before, before, 3, 1 + index % 2, before), nn.BatchNorm2d(before), nn.ReLU6()]
        layers += [conv(before, behind, 1), nn.BatchNorm2d(behind), nn.ReLU6()]
        before = behind
    return nn.Sequential(*layers, Head(before))


#: Makers by name, narrow.
MODULES = {
    "resnet18": functools.partial(ResNet, Basic, (2, 2, 2, 2), 8, 10),
    "resnet50": functools.partial(ResNet, Bottleneck, (3, 4, 6, 3), 4, 10),
    "preact-resnet110": functools.partial(preact_resnet, 110, 4),
    "vgg16": functools.partial(vgg16, False, 8),
    "vgg16-bn": functools.partial(vgg16, True, 8),
    "convnext": convnext,
    "vit": ViT,
    "vit, unfused": functools.partial(ViT, fused=False),
    "vit of the library": LibraryViT,
    "mlp": mlp,
    "densenet": densenet,
    "fixup": fixup,
    "unet": UNet,
    "separable": separable,
}


class Dense(nn.Linear):
    """The same at every position of images."""

    def forward(self, x):
        return super().forward(x.movedim(1, -1)).movedim(-1, 1)


class Unit(nn.Module):
    """A residual unit of a `fastmoments.Network`, whose modules have the paths of its layers."""

    def __init__(self, layer, before):
        super().__init__()
        self.branch, after = stack(layer.branch, before)
        self.shortcut, _ = stack(layer.shortcut, before)
        self.after = after

    def forward(self, x):
        out = x
        for module in self.branch:
            out = module(out)
        for module in self.shortcut:
            x = module(x)
        return out + x


class Translated(nn.Module):
    """A `fastmoments.Network` of layers that give their channels, or have `width`; paths are the same."""

    def __init__(self, network, channels=3):
        super().__init__()
        self.stem, between = stack(network.stem, channels)
        self.layers, _ = stack(network.layers, between)

    def forward(self, x):
        for module in (*self.stem, *self.layers):
            x = module(x)
        return x


def stack(layers, before, width=16):
    """Modules that do what layers do, and the channels behind them."""
    modules = nn.ModuleList()
    for layer in layers:
        kind = type(layer).__name__
        if kind == "Conv":
            behind = layer.channels or width
            made = nn.Conv2d(
                before, behind, layer.kernel_size, layer.stride, layer.pad, layer.dilation, bias=False
            )
            made.deviation, before = math.sqrt(layer.weights.gain / (layer.kernel_size**2 * before)), behind
        elif kind == "Dense":
            made = Dense(before, layer.channels or width)
            made.deviation = math.sqrt(layer.weights.gain / before)
            made.of_bias, before = math.sqrt(layer.weights.bias_variance), layer.channels or width
        elif kind == "Residual":
            made = Unit(layer, before)
            before = made.after
        elif kind == "MaxPool":
            made = nn.MaxPool2d(layer.size, layer.stride, layer.pad)
        elif kind == "BatchNorm":
            made = nn.BatchNorm2d(before, eps=layer.epsilon)
        else:
            made = {
                "ReLU": nn.ReLU, "GELU": nn.GELU, "Tanh": nn.Tanh, "Flatten": nn.Flatten,
                "Dropout": nn.Dropout,
                "GlobalAvgPool": functools.partial(nn.AdaptiveAvgPool2d, 1),
            }[kind]()  # fmt: skip
        modules.append(made)
    return modules, before


def draw(module):
    """Gaussian weights of a translated net, as its layers say."""
    for each in module.modules():
        if hasattr(each, "deviation"):
            nn.init.normal_(each.weight, std=each.deviation)
            if each.bias is not None:
                nn.init.normal_(each.bias, std=each.of_bias)
