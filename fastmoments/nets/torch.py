"""Nets from PyTorch modules and ONNX files; PyTorch is loaded when it is used."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .network import Network

if TYPE_CHECKING:
    import torch


def from_torch(
    module: torch.nn.Module, example: object, *, init: str = "measured", name: str | None = None
) -> Network:
    """The architecture of a PyTorch module, for engines that know no PyTorch.

    Weights are not taken over, only what they are drawn from. Batch norms are taken as they are in training,
    by the statistics of the batch; dropout as it is in evaluation, the identity. What stands before the first
    residual unit or concatenation becomes the stem. The module is not changed: a copy of it runs once, on the
    first image of the example.

    Parameters
    ----------
    module : torch.nn.Module
    example : array or tensor, shape (n, channels, height, width) or (n, features)
        As the module takes it.
    init : {"measured", "default", "kaiming_fan_in", "kaiming_fan_out", "lecun", "xavier"}
        Where the variances of weights and biases come from. "measured": from the parameters as they are, the
        mean square of each layer's. "default": PyTorch's own, weights and biases of variance 1 / (3 fan in).
        The others: 2 / fan in, 2 / fan out, 1 / fan in, 2 / (fan in + fan out), without biases.
    name : str, optional
        That of its class if left out.

    Raises
    ------
    ImportError
        Without PyTorch.
    ValueError
        In one sentence, with the path of the module: if it cannot be traced, has an operation without a
        counterpart here, uses weights twice, or branches in a way that does not nest.
    """
    return translated(module, example, init=init, name=name)[0]


def translated(
    module: torch.nn.Module, example: object, *, init: str = "measured", name: str | None = None
) -> tuple[Network, dict[str, str]]:
    """The net of `from_torch`, and where in it stands what a module or function of PyTorch gives.

    Returns
    -------
    network : Network
    places : dict of str to str
        Paths of layers by those of modules and functions, named as the stations of a measured module are:
        ``layer1.0.relu#2`` is the second call of a module, ``layer1.0.add()`` a function called in another.
    """
    _need("from_torch", "torch")
    from .torch_graph import translation

    return translation(module, example, init, name)


def from_onnx(
    path: str | os.PathLike[str], example: object = None, *, init: str = "measured", name: str | None = None
) -> Network:
    """The architecture in an ONNX file, as `from_torch` gives that of a module.

    A net is best exported as it is in training: an export for evaluation folds its batch norms into the
    convolutions before them.

    Parameters
    ----------
    path : str or path-like
    example : array or tensor, shape (n, channels, height, width) or (n, features), optional
        Left out, of the shape that the file says its images have.
    init, name
        As of `from_torch`; the name is that of the file if left out.

    Raises
    ------
    ImportError
        Without PyTorch or onnx.
    ValueError
        In one sentence: if the file cannot be read, has a node without a counterpart, does not say the shape
        of its images, or for the reasons of `from_torch`.
    """
    module: Any = load_onnx(path)
    if example is None:
        if not module.image_shape or not all(module.image_shape):
            raise ValueError(f"{path} does not say which shape its images have; give an example.")
        import torch

        example = torch.zeros(1, *module.image_shape)
    return from_torch(module, example, init=init, name=name or Path(path).stem)


def load_onnx(path: str | os.PathLike[str]) -> torch.nn.Module:
    """A PyTorch module that computes what an ONNX file does, with its weights, in training mode.

    Its attribute `image_shape` holds the sizes of an image, 0 for those that the file leaves open.

    Raises
    ------
    ImportError
        Without PyTorch or onnx.
    ValueError
        In one sentence: if the file cannot be read, or has a node without a counterpart.
    """
    _need("load_onnx", "onnx")
    _need("load_onnx", "torch")
    from .onnx_graph import converted

    return converted(path)


def _need(caller: str, library: str) -> None:
    """Say which extra installs a library that is not there."""
    from importlib.util import find_spec

    if find_spec(library) is None:
        names = {"torch": "PyTorch"}
        raise ImportError(
            f'{caller} needs {names.get(library, library)}: pip install "fastmoments[{library}]".'
        )
