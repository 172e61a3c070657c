"""Norms of every image by itself, of one random net: signal, and noise by the exact derivative."""

from __future__ import annotations

import math

import numpy as np

from ...covariances.scales import log
from ...nets.layer_norm import ChannelNorm
from .layers import ROUNDING, Draw, Flow, Inside, forward, inverse_deviations


@forward.register
def _(layer: ChannelNorm, flow: Flow, draw: Draw, inside: Inside) -> None:
    images, height, width, channels = flow.pair.shape[1:]
    if channels % layer.parts:
        raise ValueError(
            f"{type(layer).__name__}: {layer.parts} groups do not divide {channels} channels; use a divisor."
        )
    signal, noise = flow.pair.reshape(2, images, height * width, layer.parts, -1)
    axes = (1, 3) if layer.image else (3,)
    mean = _mean(signal, axes)
    signal -= mean
    variance = _mean(signal * signal, axes).astype(np.float64)
    variance[variance <= ROUNDING * np.mean(variance + mean * mean)] = 0.0
    inverse, common = inverse_deviations(variance, layer.epsilon, flow.log_scale[0])
    signal *= inverse
    noise *= inverse
    # dy = (dx - mean dx - y mean(y dx)) / sqrt(v + epsilon)
    noise -= _mean(noise, axes)
    noise -= signal * (math.exp(2.0 * (flow.log_scale[0] - common)) * _mean(signal * noise, axes))
    flow.log_scale += log(layer.gamma) - common
    flow.rescale()


def _mean(values: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
    """Mean over axes, which stay; summed in double precision."""
    return values.mean(axes, keepdims=True, dtype=np.float64).astype(np.float32)
