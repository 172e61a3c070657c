"""The way through a given net, those inside residual units included, networks unrolled."""

import numpy as np
import pytest

import fastmoments as fm
from fastmoments.engines.given.propagation import field_of
from fastmoments.engines.given.route import all_layers, passed, weights_of

NET = fm.Network(
    (fm.Residual((fm.ReLU(), fm.Conv(1)), (fm.Scale(2.0),)), fm.Network((fm.Dense(2),))), stem=(fm.Conv(1),)
)


def test_it_stops_behind_every_layer():
    net = fm.sample_weights(NET, (1, 1, 3), width=3)
    field = field_of(np.zeros(3), np.eye(3))
    assert [path for path, _ in passed(all_layers(net), field, weights_of(net))] == [
        "stem.0", "layers.0.branch.0", "layers.0.branch.1", "layers.0.shortcut.0", "layers.0",
        "layers.1.layers.0",
    ]  # fmt: skip
    assert field.here.channels == 2


def test_weights_of_no_layer_are_refused():
    with pytest.raises(ValueError, match=r"no weights; fastmoments\.sample_weights"):
        weights_of(NET)
    drawn = dict(fm.sample_weights(NET, (1, 1, 3), width=3).weights)
    with pytest.raises(ValueError, match=r"there is no layer layers.9"):
        weights_of(fm.Network(NET.layers, NET.stem, weights=drawn | {"layers.9": {"weight": [1.0]}}))
