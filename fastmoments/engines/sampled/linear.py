"""What linear layers other than convolutions do to signal and noise of one random net."""

from __future__ import annotations

import math

import numpy as np

from ...covariances.scales import log
from ...maps.averaging import average_images
from ...nets.dense import Dense
from ...nets.fixed import Averaging, Dropout, Flatten, Scale
from .layers import Draw, Flow, Inside, forward


@forward.register
def _(layer: Dense, flow: Flow, draw: Draw, inside: Inside) -> None:
    forward(layer.convolution, flow, draw, inside)


@forward.register
def _(layer: Averaging, flow: Flow, draw: Draw, inside: Inside) -> None:
    averaged = average_images(flow.pair.reshape(-1, *flow.pair.shape[2:]), layer)
    flow.pair = averaged.reshape(*flow.pair.shape[:2], *averaged.shape[1:])
    flow.rescale()


@forward.register
def _(layer: Flatten, flow: Flow, draw: Draw, inside: Inside) -> None:
    flow.pair = flow.pair.reshape(*flow.pair.shape[:2], 1, 1, -1)


@forward.register
def _(layer: Scale, flow: Flow, draw: Draw, inside: Inside) -> None:
    flow.pair *= np.float32(math.copysign(1.0, layer.factor))
    flow.log_scale += log(abs(layer.factor))


@forward.register
def _(layer: Dropout, flow: Flow, draw: Draw, inside: Inside) -> None:
    """In evaluation it does nothing."""
