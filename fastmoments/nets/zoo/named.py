"""The makers of published nets by their names."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from ..network import Network
from .convnext import convnext
from .densenet import densenet
from .perceptron import mlp
from .resnet import cifar_resnet, imagenet_resnet
from .unnormalised import cifar_fixup, cifar_skipinit, imagenet_fixup, imagenet_skipinit
from .vgg import vgg

#: Units of the stages of ImageNet's residual nets by their depth; from 50 on they have bottlenecks.
RESNETS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}
#: Depths of CIFAR's.
CIFAR_RESNETS = (20, 56, 110)
VGGS = {11: (1, 1, 2, 2, 2), 13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}
DENSENETS = {121: (6, 12, 24, 16), 169: (6, 12, 32, 32), 201: (6, 12, 48, 32)}


def _named() -> dict[str, Callable[..., Network]]:
    found: dict[str, Callable[..., Network]] = {"mlp": partial(mlp, "mlp")}

    def take(name: str, maker: Callable[..., Network], *given: object) -> None:
        found[name] = partial(maker, name, *given)

    for version in ("", "-v2"):
        for depth, units in RESNETS.items():
            take(f"resnet{depth}{version}", imagenet_resnet, units, depth >= 50, bool(version))
        for depth in CIFAR_RESNETS:
            take(f"resnet{depth}{version}", cifar_resnet, (depth - 2) // 6, 1, bool(version))
    take("wide-resnet-28-10", cifar_resnet, 4, 10, True)
    for kind, cifar, imagenet in (
        ("fixup", cifar_fixup, imagenet_fixup), ("skipinit", cifar_skipinit, imagenet_skipinit),
    ):  # fmt: skip
        for depth in CIFAR_RESNETS:
            take(f"{kind}-resnet{depth}", cifar, (depth - 2) // 6)
        take(f"{kind}-resnet50", imagenet, RESNETS[50])
    for norm in ("", "-bn"):
        for depth, stages in VGGS.items():
            take(f"vgg{depth}{norm}", vgg, stages, bool(norm))
    for depth, blocks in DENSENETS.items():
        take(f"densenet{depth}", densenet, blocks)
    take("convnext-tiny", convnext, (3, 3, 9, 3), 96)
    return found


#: Makers of nets by their names; each takes `classes`, the number of outputs, and what its family takes.
NETS: dict[str, Callable[..., Network]] = _named()
