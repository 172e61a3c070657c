"""What stands beside a walk: called around every layer of its kind, in the order of the walk."""

import math

import numpy as np

import fastmoments as fm
from fastmoments.engines.infinite_width.corrections import Corrections
from fastmoments.engines.infinite_width.walk import InfiniteWidthWalk

IMAGES = np.array(fm.load_images("synthetic:6x6x2", 4, seed=0).array)


class Seen(Corrections):
    """Writes down what it is called for, and keeps half of the noise behind every batch norm."""

    def __init__(self):
        self.calls = []

    def start(self):
        self.calls.append("start")

    def before_convolution(self, state):
        self.calls.append("before conv")

    def after_convolution(self, state, conv, first):
        self.calls.append("after the first conv" if first else "after conv")

    def before_batch_norm(self, state, layer, key):
        self.calls.append(f"before norm {key}")
        return super().before_batch_norm(state, layer, key)

    def after_batch_norm(self, state, done, key):
        self.calls.append(f"after norm {key}")
        return math.log(0.5)


def test_hooks_are_called_around_their_layers_and_heard():
    net, seen = fm.bn_ff(2), Seen()
    plain, halved = (
        [station.moments["log_mu2_noise"] for station in InfiniteWidthWalk(net, IMAGES, corrections=each)]
        for each in (None, seen)
    )
    layer = ["before conv", "after conv", "before norm 1", "after norm 1"]
    assert seen.calls == ["start", "before conv", "after the first conv", *layer, *layer]
    norms = [0] * (len(plain) - 8) + [0, 0, 1, 1, 1, 1, 2, 2]  # input, conv, norm, act of both units
    np.testing.assert_allclose(np.subtract(plain, halved), math.log(2.0) * np.array(norms), atol=1e-12)


def test_without_any_nothing_is_corrected():
    base = Corrections()
    assert base.before_batch_norm(None, None, "1") == math.inf
    assert base.after_batch_norm(None, None, "1") == 0.0
