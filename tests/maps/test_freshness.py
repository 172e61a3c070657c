"""Which signals have the mean 0 over fresh weights, against the means of sampled branches."""

from functools import partial

import numpy as np
import pytest

import fastmoments as fm
from fastmoments.engines.sampled import walk  # noqa: F401  # registers every layer
from fastmoments.engines.sampled.layers import Draw, Flow, forward
from fastmoments.maps.freshness import culprit, fresh_after, fresh_behind
from fastmoments.maps.laws import GAUSSIAN, law_after
from fastmoments.nets.layers import Layer

CONV, RELU = fm.Conv(), fm.ReLU()
UNIT = fm.Residual([RELU, CONV])
BRANCHES = {
    (CONV,): True,
    (RELU, CONV, fm.BatchNorm()): True,
    (RELU, CONV, fm.AvgPool(2), fm.Scale(-0.1), fm.Dropout()): True,
    (CONV, RELU): False,
    (CONV, RELU, fm.AvgPool(2)): False,
    (UNIT,): False,
    (CONV, UNIT): True,
    (fm.Concat([(CONV,), (RELU, CONV)]),): True,
    (fm.Concat([(), (RELU, CONV)]),): False,
    (RELU, fm.GlobalAvgPool(), fm.Flatten(), fm.Dense()): True,
}


def behind(branch, rng):
    """The signal behind a branch of fresh weights, of images that are always the same."""
    flow = Flow.start(np.random.default_rng(0).standard_normal((2, 4, 4, 3)), np.random.default_rng(1))
    draw = Draw(rng, 3, "weights")

    def inside(layer, stack, part):
        through(getattr(layer, stack), part)
        yield from ()

    def through(layers, flow):
        for layer in layers:
            list(forward(layer, flow, draw, partial(inside, layer)) or ())

    through(branch, flow)
    return flow.pair[0] * np.exp(flow.log_scale[0])


@pytest.mark.parametrize("branch", BRANCHES)
def test_what_has_fresh_weights_has_the_mean_0_given_all_before(branch):
    rng = np.random.default_rng(2)
    drawn = np.array([behind(branch, rng) for _ in range(400)])
    error = np.maximum(drawn.std(0), 1e-6) / 20.0
    largest = np.abs(drawn.mean(0) / error).max()
    assert fresh_behind(branch) == BRANCHES[branch] == (largest < 5.0)


def test_every_layer_has_a_rule_or_ends_freshness():
    for kind in set(Layer.TYPES.values()) - {fm.Network, fm.Residual, fm.Concat}:
        if fresh_after.dispatch(kind) is fresh_after.dispatch(object):
            assert not fresh_after(kind(), True)


@pytest.mark.parametrize(
    ("unit", "named"),
    [
        (fm.Residual([CONV, RELU]), "a ReLU"),
        (fm.Residual([CONV, fm.Abs(), fm.AvgPool(1)]), "an Abs"),
        (fm.Residual([UNIT]), "a Residual"),
    ],
)
def test_a_branch_without_fresh_weights_at_its_end_is_refused(unit, named):
    with pytest.raises(ValueError, match=f"the branch ends in {named} without fresh weights behind it"):
        law_after(unit, GAUSSIAN)
    law_after(fm.Residual(unit.branch, [CONV]), GAUSSIAN)  # the shortcut has its own


def test_the_culprit_is_the_last():
    assert culprit([RELU, CONV, fm.Abs()]) == "an Abs"
