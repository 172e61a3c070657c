"""The four architecture families of Labatie (ICML 2019), as presets.

Every preset begins with the reference's input convolution (stride 2, gain 1; stride 1 when fully
connected), which is followed by no batch norm and no activation and does not count as depth.
"""

from __future__ import annotations

from collections.abc import Callable

from ..validation import MOST, whole
from .activations import ReLU
from .layers import Layer
from .linear import Conv, Gaussian
from .network import Network, Residual
from .norms import BatchNorm

#: Layers in a residual branch, beyond which a typing error is likelier than a wish.
MOST_RES_DEPTH = 1000


def _preset(
    name: str,
    layers: tuple[Layer, ...],
    depth: int,
    conv: Conv,
    input_conv: bool,
    scale: float = 1.0,
    **parameters: object,
) -> Network:
    depth = whole(f"{name}: depth", depth, 0, MOST)
    size = conv.kernel_size
    first = Conv(size, Gaussian(gain=1.0), stride=1 if size == 1 else 2, padding=conv.padding)
    quoted: dict[str, object] = {"depth": depth, "kernel_size": size, "padding": conv.padding, **parameters}
    if not input_conv:
        quoted["input_conv"] = False
    quoted |= {"gain": conv.weights.gain} if conv.weights.gain != 2.0 else {}
    quoted |= {"scale": scale} if scale != 1.0 else {}
    return Network(layers * depth, (first,) if input_conv else (), name, tuple(quoted.items()))


def _unit(name: str, layers: tuple[Layer, ...], res_depth: int, scale: float) -> tuple[Layer, ...]:
    return (Residual(layers * whole(f"{name}: res_depth", res_depth, 1, MOST_RES_DEPTH), scale=scale),)


def vanilla(
    depth: int = 100, kernel_size: int = 3, padding: str = "periodic", res_depth: int = 2,
    epsilon: float = 1e-3, *, input_conv: bool = True, gain: float = 2.0, scale: float = 1.0,
) -> Network:  # fmt: skip
    """Plain feed-forward net: `depth` times (Conv, ReLU).

    The four presets share one signature, so that a loop over families needs no cases;
    `res_depth`, `epsilon` and `scale` mean nothing here.

    Parameters
    ----------
    depth : int
        Layers, or residual units, after the input convolution; 0 leaves the input alone.
    kernel_size : int
        Side of the kernel; 1 means fully connected.
    padding : {"periodic", "zeros", "symmetric"}
    res_depth : int
        Layers in a residual branch (residual nets).
    epsilon : float
        Added to the batch variance (batch-normalised nets).
    input_conv : bool
        Whether the net begins with the input convolution.
    gain : float
        Of every Conv but the input convolution, whose gain is 1.
    scale : float
        Factor on the residual branches (residual nets).

    Raises
    ------
    ValueError
        If a parameter is outside its range.
    """
    conv = Conv(kernel_size, Gaussian(gain), padding=padding)
    return _preset("vanilla", (conv, ReLU()), depth, conv, input_conv)


def residual(
    depth: int = 100, kernel_size: int = 3, padding: str = "periodic", res_depth: int = 2,
    epsilon: float = 1e-3, *, input_conv: bool = True, gain: float = 2.0, scale: float = 1.0,
) -> Network:  # fmt: skip
    """Plain net with skip connections: `depth` units of `res_depth` times (ReLU, Conv).

    Parameters and errors as for `vanilla`; `epsilon` means nothing here.
    """
    conv = Conv(kernel_size, Gaussian(gain), padding=padding)
    unit = _unit("residual", (ReLU(), conv), res_depth, scale)
    return _preset("residual", unit, depth, conv, input_conv, scale, res_depth=res_depth)


def bn_ff(
    depth: int = 100, kernel_size: int = 3, padding: str = "periodic", res_depth: int = 2,
    epsilon: float = 1e-3, *, input_conv: bool = True, gain: float = 2.0, scale: float = 1.0,
) -> Network:  # fmt: skip
    """Batch-normalised feed-forward net: `depth` times (Conv, BatchNorm, ReLU).

    Parameters and errors as for `vanilla`; `res_depth` and `scale` mean nothing here.
    """
    conv = Conv(kernel_size, Gaussian(gain), padding=padding)
    layers = (conv, BatchNorm(epsilon), ReLU())
    return _preset("bn_ff", layers, depth, conv, input_conv, epsilon=epsilon)


def bn_res(
    depth: int = 100, kernel_size: int = 3, padding: str = "periodic", res_depth: int = 2,
    epsilon: float = 1e-3, *, input_conv: bool = True, gain: float = 2.0, scale: float = 1.0,
) -> Network:  # fmt: skip
    """Batch-normalised residual net: `depth` units of `res_depth` times (BatchNorm, ReLU, Conv).

    Parameters and errors as for `vanilla`.
    """
    conv = Conv(kernel_size, Gaussian(gain), padding=padding)
    unit = _unit("bn_res", (BatchNorm(epsilon), ReLU(), conv), res_depth, scale)
    return _preset("bn_res", unit, depth, conv, input_conv, scale, res_depth=res_depth, epsilon=epsilon)


#: The families by name, in the order in which they are compared.
FAMILIES: dict[str, Callable[..., Network]] = {
    "vanilla": vanilla,
    "residual": residual,
    "bn_ff": bn_ff,
    "bn_res": bn_res,
}
