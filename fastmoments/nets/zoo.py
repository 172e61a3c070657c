"""Published architectures with their channel numbers and initialisations.

Every net takes images of any size that its strides leave something of: ``zoo.resnet18()``, or by its name,
``zoo.NETS["resnet18"]()``. Weights are drawn as published: variance 2 / fan out (He et al., 2015), dense
layers at the end as PyTorch's default, variance 1 / (3 fan in); gamma 1, beta 0.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from .activations import ReLU
from .dense import Dense
from .fixed import Dropout, Flatten, GlobalAvgPool
from .layers import Layer
from .linear import Conv, Gaussian
from .max_pool import MaxPool
from .network import Network, Residual
from .norms import BatchNorm

#: Of all batch norms.
EPSILON = 1e-5
#: Of weights that have the variance 1 / (3 fan in), as PyTorch's linear layers.
UNIFORM = 1.0 / 3.0

NORM, RELU = BatchNorm(EPSILON), ReLU()


def _conv(size: int, before: int, channels: int, stride: int = 1) -> Conv:
    """A convolution padded to its size whose weights have the variance 2 / fan out."""
    gain = Gaussian(2.0 * before / channels)
    return Conv(size, gain, stride=stride, padding="zeros", pad=size // 2, channels=channels)


def _head(before: int, classes: int) -> tuple[Layer, ...]:
    """The mean over positions and a classifier."""
    return GlobalAvgPool(), Dense(classes, Gaussian(UNIFORM, UNIFORM / before))


def _branch(before: int, width: int, stride: int, bottleneck: bool) -> list[Conv]:
    """The convolutions of a branch: two of 3 x 3, or 1 x 1, 3 x 3 and 1 x 1."""
    if not bottleneck:
        return [_conv(3, before, width, stride), _conv(3, width, width)]
    return [_conv(1, before, width), _conv(3, width, width, stride), _conv(1, width, 4 * width)]


def _between(layers: Sequence[Layer], between: Sequence[Layer]) -> tuple[Layer, ...]:
    """Layers with some between each two."""
    first, *rest = layers
    return (first, *(each for layer in rest for each in (*between, layer)))


def _behind(before: int, width: int, stride: int, bottleneck: bool) -> tuple[Layer, ...]:
    """A unit that activates behind the merge (v1)."""
    convs = _branch(before, width, stride, bottleneck)
    after = convs[-1].channels or width
    projection = (_conv(1, before, after, stride), NORM) if stride > 1 or before != after else ()
    return Residual((*_between(convs, (NORM, RELU)), NORM), projection), RELU


def _ahead(before: int, width: int, stride: int, bottleneck: bool) -> tuple[Layer, ...]:
    """A unit that activates before its convolutions (v2), those of the projection included."""
    convs = _branch(before, width, stride, bottleneck)
    after = convs[-1].channels or width
    branch = _between(convs, (NORM, RELU))
    if stride == 1 and before == after:
        return (Residual((NORM, RELU, *branch)),)
    return NORM, RELU, Residual(branch, (_conv(1, before, after, stride),))


def _resnet(
    name: str, stem: tuple[Layer, ...], before: int, stages: Sequence[tuple[int, int, int]], classes: int, *,
    bottleneck: bool = False, ahead: bool = False,
) -> Network:  # fmt: skip
    """A residual net of stages (units, width, stride of the first)."""
    unit, layers = (_ahead if ahead else _behind), list[Layer]()
    for units, width, stride in stages:
        for index in range(units):
            layers += unit(before, width, stride if index == 0 else 1, bottleneck)
            before = 4 * width if bottleneck else width
    layers += [NORM, RELU] if ahead else []
    return Network((*layers, *_head(before, classes)), stem, name)


def _imagenet_resnet(
    name: str, units: Sequence[int], bottleneck: bool, ahead: bool, classes: int = 1000
) -> Network:
    stem = (_conv(7, 3, 64, 2), NORM, RELU, MaxPool(3, 2, 1))
    stages = [(count, 64 * 2**stage, 1 + (stage > 0)) for stage, count in enumerate(units)]
    return _resnet(name, stem, 64, stages, classes, bottleneck=bottleneck, ahead=ahead)


def _cifar_resnet(name: str, units: int, widen: int, ahead: bool, classes: int = 10) -> Network:
    stem = (_conv(3, 3, 16),) if ahead else (_conv(3, 3, 16), NORM, RELU)
    stages = [(units, 16 * widen * 2**stage, 1 + (stage > 0)) for stage in range(3)]
    return _resnet(name, stem, 16, stages, classes, ahead=ahead)


def _vgg(name: str, stages: Sequence[int], norm: bool, classes: int = 1000) -> Network:
    """Stages of 3 x 3 convolutions, each ending in a max pooling; three dense layers of deviation 0.01."""
    layers: list[Layer] = []
    before = 3
    for stage, count in enumerate(stages):
        width = min(64 * 2**stage, 512)
        for _ in range(count):
            layers += [_conv(3, before, width), *((NORM,) if norm else ()), RELU]
            before = width
        layers.append(MaxPool(2))
    layers.append(Flatten())
    for fan_in, channels in ((49 * 512, 4096), (4096, 4096)):
        layers += [Dense(channels, Gaussian(1e-4 * fan_in)), RELU, Dropout(0.5)]
    return Network((*layers, Dense(classes, Gaussian(1e-4 * 4096))), name=name)


def _mlp(name: str, depth: int = 3, width: int = 512, classes: int = 10) -> Network:
    hidden = (Dense(width), RELU) * depth
    return Network((Flatten(), *hidden, Dense(classes, Gaussian(UNIFORM, UNIFORM / width))), name=name)


def _named() -> dict[str, Callable[..., Network]]:
    found: dict[str, Callable[..., Network]] = {"mlp": partial(_mlp, "mlp")}
    residual = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}
    for version in ("", "-v2"):
        for depth, units in residual.items():
            name = f"resnet{depth}{version}"
            found[name] = partial(_imagenet_resnet, name, units, depth >= 50, bool(version))
        for depth in (20, 56, 110):
            name = f"resnet{depth}{version}"
            found[name] = partial(_cifar_resnet, name, (depth - 2) // 6, 1, bool(version))
    found["wide-resnet-28-10"] = partial(_cifar_resnet, "wide-resnet-28-10", 4, 10, True)
    plain = {11: (1, 1, 2, 2, 2), 13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}
    for norm in ("", "-bn"):
        for depth, stages in plain.items():
            name = f"vgg{depth}{norm}"
            found[name] = partial(_vgg, name, stages, bool(norm))
    return found


#: Makers of nets by their names; each takes `classes`, the number of outputs. Residual nets of He et al.
#: (2015) activate behind the merge, those named -v2 (2016) before the convolutions; wide ones are of
#: Zagoruyko and Komodakis (2016), vgg of Simonyan and Zisserman (2014), with and without batch norm.
NETS: dict[str, Callable[..., Network]] = _named()


def __getattr__(name: str) -> Callable[..., Network]:
    """A maker by its name, "_" in the place of "-": ``zoo.resnet18_v2``."""
    for known, maker in NETS.items():
        if known.replace("-", "_") == name:
            return maker
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
