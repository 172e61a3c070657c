"""Weights by path: kept apart from what gave them, checked, no part of what a net is."""

import pickle

import numpy as np
import pytest

import fastmoments as fm
from fastmoments.nets.layers import describe
from fastmoments.nets.toml import network_from_dict
from fastmoments.nets.weights import Weights

NET = fm.Network((fm.Conv(1), fm.ReLU()))


def test_they_are_copies_that_cannot_be_written_to():
    array = np.ones((2, 3, 1, 1), np.float32)
    weights = Weights({"layers.0": {"weight": array}})
    array[:] = 5.0
    kept = weights["layers.0"]["weight"]
    assert kept.dtype == np.float64 and (kept == 1.0).all()
    with pytest.raises(ValueError, match="read-only"):
        kept[0] = 2.0
    assert len(weights) == 1 and list(weights) == ["layers.0"] and weights.count == 6
    assert repr(weights) == "<Weights of 1 layers, 6 numbers>"


def test_the_digest_is_of_paths_names_shapes_and_values():
    arrays = [
        {"layers.0": {"weight": [1.0, 2.0]}},
        {"layers.0": {"weight": [1.0, 3.0]}},
        {"layers.0": {"bias": [1.0, 2.0]}},
        {"layers.1": {"weight": [1.0, 2.0]}},
        {"layers.0": {"weight": [[1.0, 2.0]]}},
    ]
    assert len({Weights(each).digest for each in arrays}) == len(arrays)
    assert Weights(arrays[0]).digest == Weights(arrays[0]).digest


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (3, "by path and name"),
        ({"layers.0": [1.0]}, "by path and name"),
        ({"layers.0": {"weight": "heavy"}}, "weight of layers.0 must be an array"),
        ({"layers.0": {"weight": [np.nan]}}, "not finite"),
    ],
)
def test_what_is_none_is_refused(wrong, said):
    with pytest.raises(ValueError, match=said):
        fm.Network(NET.layers, weights=wrong)


def test_they_go_to_other_processes():
    net = fm.Network(NET.layers, weights={"layers.0": {"weight": np.ones((2, 3, 1, 1))}})
    there = pickle.loads(pickle.dumps(net))
    assert there == net and there.weights.digest == net.weights.digest
    assert not there.weights["layers.0"]["weight"].flags.writeable


def test_a_net_is_what_it_is_with_any_weights():
    net = fm.Network(NET.layers, weights={"layers.0": {"weight": np.ones((2, 3, 1, 1))}})
    assert isinstance(net.weights, Weights)
    assert net == NET and hash(net) == hash(NET)
    assert describe(net) == describe(NET) and network_from_dict(net.architecture()) == NET
