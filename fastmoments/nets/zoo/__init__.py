"""Published architectures with their channel numbers and initialisations.

Every net takes images of any size that its strides leave something of: ``zoo.resnet18()``, or by its name,
``zoo.NETS["resnet18"]()``. A page a family: `resnet`, `unnormalised`, `vgg`, `densenet`,
`convnext`, `perceptron`.
"""

from __future__ import annotations

from collections.abc import Callable

from ..network import Network
from .named import NETS as NETS


def __getattr__(name: str) -> Callable[..., Network]:
    """A maker by its name, "_" in the place of "-": ``zoo.resnet18_v2``."""
    for known, maker in NETS.items():
        if known.replace("-", "_") == name:
            return maker
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
