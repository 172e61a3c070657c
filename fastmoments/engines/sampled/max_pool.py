"""Max pooling of signal and noise of one random net."""

from __future__ import annotations

from itertools import product

import numpy as np

from ...nets.max_pool import MaxPool
from .layers import Draw, Flow, Inside, forward


@forward.register
def _(layer: MaxPool, flow: Flow, draw: Draw, inside: Inside) -> None:
    flow.pair = pooled(layer, flow.pair)


def pooled(layer: MaxPool, pair: np.ndarray) -> np.ndarray:
    """Largest signal of every window and the noise at its position, the first of equals.

    Parameters
    ----------
    pair : ndarray, shape (2, n, h, w, channels)
    """
    rows, columns = (layer.seen(side) for side in pair.shape[2:4])
    best: np.ndarray | None = None
    for down, across in product(rows.T, columns.T):
        seen = pair[:, :, down[:, None], across]
        if best is None:
            best = seen
            best[0, :, down < 0] = -np.inf
            best[0, :, :, across < 0] = -np.inf
            continue
        larger = seen[0] > best[0]
        larger[:, down < 0] = False
        larger[:, :, across < 0] = False
        np.copyto(best, seen, where=larger)
    assert best is not None, "a window has a position"
    return best
