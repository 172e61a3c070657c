"""What each kind of layer with given weights does to a field."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import singledispatch

import numpy as np

from ...nets.activations import Nonlinearity
from ...nets.dense import Dense
from ...nets.fixed import Averaging, Dropout, Flatten, Scale
from ...nets.layers import Layer
from ...nets.linear import Conv
from ...nets.network import Residual
from ...nets.norms import BatchNorm
from ...nets.weights import Arrays
from .field import Field

#: Paths and layers behind which the field is.
Stops = Iterator[tuple[str, Layer]]
#: Carries the field through one of a layer's stacks, stopping behind every layer in it.
Inside = Callable[[str], Stops]


@singledispatch
def carry(layer: Layer, path: str, field: Field, arrays: Arrays, inside: Inside) -> Stops | None:
    """Carry a field through one layer, in place.

    Parameters
    ----------
    layer : Layer
    path : str
    field : Field
    arrays : mapping of str to ndarray
        Its weights, as `nets.weights.Weights` names them; empty where it has none.
    inside : callable
        For a layer that holds others: carries the field through the stack of a name.

    Returns
    -------
    iterator or None
        Of a layer that holds others: to be exhausted, its stops handed on.

    Raises
    ------
    ValueError
        If an array is missing or of another shape.
    """
    raise TypeError(f"{type(layer).__name__} cannot be carried through a given net.")


def covers(layer: Layer) -> bool:
    """Whether `carry` knows the layer."""
    return carry.dispatch(type(layer)) is not carry.dispatch(object)


@carry.register
def _(layer: Conv, path: str, field: Field, arrays: Arrays, inside: Inside) -> None:
    channels, size = field.here.channels, layer.kernel_size
    groups = channels if layer.channelwise else int(layer.groups)
    weight = wanted(arrays, path, "weight", (None, channels // groups, size, size))
    field.convolve(layer, ungrouped(weight, groups, channels, path), _bias(arrays, path, len(weight)))


@carry.register
def _(layer: Dense, path: str, field: Field, arrays: Arrays, inside: Inside) -> None:
    weight = wanted(arrays, path, "weight", (None, field.here.channels))
    field.convolve(layer.convolution, weight[:, :, None, None], _bias(arrays, path, len(weight)))


@carry.register
def _(layer: Averaging, path: str, field: Field, arrays: Arrays, inside: Inside) -> None:
    field.average(layer)


@carry.register
def _(layer: Flatten, path: str, field: Field, arrays: Arrays, inside: Inside) -> None:
    field.flatten()


@carry.register
def _(layer: Scale, path: str, field: Field, arrays: Arrays, inside: Inside) -> None:
    field.scale(np.full(field.here.channels, layer.factor))


@carry.register
def _(layer: Dropout, path: str, field: Field, arrays: Arrays, inside: Inside) -> None:
    """In evaluation it does nothing."""


@carry.register
def _(layer: Nonlinearity, path: str, field: Field, arrays: Arrays, inside: Inside) -> None:
    field.activate(layer)


@carry.register
def _(layer: BatchNorm, path: str, field: Field, arrays: Arrays, inside: Inside) -> None:
    """By running statistics where there are some, else by those of all inputs.

    These are infinitely many, whose noise does not move the statistics: frozen or through, it is the same.
    """
    mean, variance = field.per_channel()
    factor, shift = affine(layer, path, arrays, mean, variance)
    field.scale(factor, shift)


@carry.register
def _(layer: Residual, path: str, field: Field, arrays: Arrays, inside: Inside) -> Stops:
    skip = field.split()
    branch = field.at
    yield from inside("branch")
    if layer.shortcut:
        field.at = skip
        yield from inside("shortcut")
        field.at = branch
    field.merge(skip, layer.scale)


def affine(
    layer: BatchNorm, path: str, arrays: Arrays, mean: np.ndarray, variance: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Factor and shift of every channel in a batch norm, given statistics of the batch.

    A channel without variance becomes its shift where epsilon is 0.
    """
    shape = mean.shape
    gamma = _given(arrays, path, "weight", shape, layer.gamma)
    beta = _given(arrays, path, "bias", shape, layer.beta)
    if "running_mean" in arrays or "running_var" in arrays:
        mean = wanted(arrays, path, "running_mean", shape)
        variance = wanted(arrays, path, "running_var", shape)
    elif layer.statistics == "population":
        variance = np.full(shape, variance.mean())
    with np.errstate(divide="ignore"):
        inverse = 1.0 / np.sqrt(np.maximum(variance, 0.0) + layer.epsilon)
    factor = np.where(np.isfinite(inverse), gamma * inverse, 0.0)
    return factor, beta - factor * mean


def ungrouped(weight: np.ndarray, groups: int, channels: int, path: str) -> np.ndarray:
    """Weights between all channels, those between groups being 0."""
    if groups == 1:
        return weight
    behind, share = len(weight), channels // groups
    if channels % groups or behind % groups:
        raise ValueError(f"{path}: {groups} groups do not divide {channels} and {behind} channels.")
    full = np.zeros((behind, channels, *weight.shape[2:]))
    for group in range(groups):
        rows = slice(group * (behind // groups), (group + 1) * (behind // groups))
        full[rows, group * share : (group + 1) * share] = weight[rows]
    return full


def wanted(arrays: Arrays, path: str, name: str, shape: tuple[int | None, ...]) -> np.ndarray:
    """An array of a layer, of a shape of which None leaves a number open.

    Raises
    ------
    ValueError
        If there is none, or of another shape.
    """
    array = arrays.get(name)
    if array is None:
        raise ValueError(f"weights have no {name} of {path}; fastmoments.sample_weights draws all of a net.")
    fits = array.ndim == len(shape) and all(
        want in (None, side) for want, side in zip(shape, array.shape, strict=True)
    )
    if not fits:
        form = ", ".join("channels" if side is None else str(side) for side in shape)
        raise ValueError(f"weights: {name} of {path} must be of shape ({form}), not {array.shape}.")
    return array


def _given(arrays: Arrays, path: str, name: str, shape: tuple[int, ...], else_: float) -> np.ndarray:
    return wanted(arrays, path, name, shape) if name in arrays else np.full(shape, else_)


def _bias(arrays: Arrays, path: str, channels: int) -> np.ndarray | None:
    return wanted(arrays, path, "bias", (channels,)) if "bias" in arrays else None
