"""What norms with a deterministic divisor do to the covariances on a walk at infinite width."""

from __future__ import annotations

import math
from collections.abc import Generator

import numpy as np

from ...covariances.storage import pairs
from ...maps.laws import GAUSSIAN, law_after
from ...maps.norms import channel_norm
from ...nets.layer_norm import ChannelNorm
from ..protocol import Station
from .layers import At, Walk, carry
from .state import State, known_of


@carry.register
def _(
    layer: ChannelNorm, walk: Walk, state: State, at: At, follows: At | None
) -> Generator[Station, None, bool]:
    law = law_after(layer, state.law)
    share = state.mean_share
    assert share is not None, "the law says whether a mean is known"
    if state.law == GAUSSIAN and not layer.image:
        _take_along(state, layer.epsilon)
    signal = state.covariance
    means = channel_norm(signal, state.noise, layer.epsilon, layer.gamma, share, layer.image)
    state.become(law)
    state.overlap = None
    state.set_means(means, signal.log_scale)
    state.known = known_of(law)
    place = walk.wanted.place(at.path)
    if place is not None:
        yield walk.station(state, place)
    return False


def _take_along(state: State, epsilon: float) -> None:
    """Take off the noise what few first weights gave it along the signal."""
    signal, noise = state.covariance, state.noise
    if state.overlap is None or noise.joint or max(abs(signal.log_scale), abs(noise.log_scale)) > 300.0:
        return
    noise.separate()
    unit = math.exp(signal.log_scale)
    diagonal = signal.diagonal.reshape(noise.images, -1)
    within = diagonal[:, :, None] if noise.grid == (1, 1) else signal.blocks[np.equal(*pairs(noise.images))]
    taken = state.overlap.along(unit * within.astype(np.float64), unit * diagonal + epsilon)
    noise.blocks -= taken * math.exp(-noise.log_scale)
