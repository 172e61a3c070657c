"""Memory of the theories of finite width: which theory, and how it grows."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

import fastmoments as fm
from fastmoments.engines.finite_width.costs import memory
from fastmoments.engines.infinite_width import costs as infinite
from fastmoments.engines.protocol import PROCESS, Plan

PLAN = Plan(frozenset({1}))


@given(st.sampled_from(list(fm.FAMILIES)), st.integers(2, 2000), st.integers(1, 50))
def test_fully_connected_nets_take_matrices_over_pairs_of_images(family, images, depth):
    net = fm.FAMILIES[family](depth, 1)
    found = memory(net, (images, 1, 1, 300), PLAN) - PROCESS
    assert found == pytest.approx(memory(net, (2 * images, 1, 1, 300), PLAN) / 4 - PROCESS / 4, abs=2)
    matrices = found / (8 * images**2)
    assert 30 < matrices < 250
    deeper = memory(fm.FAMILIES[family](depth + 10, 1), (images, 1, 1, 300), PLAN) - PROCESS - found
    # Of nets with batch norm nothing is kept from layer to layer.
    per_layer = {"vanilla": 1.1, "residual": 2 * 1.1}.get(family, 0.0)
    assert deeper == pytest.approx(10 * per_layer * 8 * images**2, abs=2)


@pytest.mark.parametrize("family", ["bn_ff", "bn_res"])
def test_convolutional_nets_with_batch_norm_take_what_their_means_take(family):
    net, shape = fm.FAMILIES[family](4), (6, 16, 16, 3)
    assert memory(net, shape, PLAN) == infinite.memory(net, shape, "float64")


@pytest.mark.parametrize("family", ["vanilla", "residual"])
def test_of_plain_convolutional_nets_few_images_stand_for_the_batch(family):
    """What comes on top of the means is the same for many images, and grows with few."""
    net = fm.FAMILIES[family](4)

    def beside(images, side):
        shape = (images, side, side, 3)
        return memory(net, shape, PLAN) - infinite.memory(net, shape, "float64")

    assert beside(200, 16) == beside(400, 16) > beside(4, 16) > beside(2, 16)
    assert beside(4, 16) == pytest.approx(4 * beside(2, 16), rel=1e-6)
