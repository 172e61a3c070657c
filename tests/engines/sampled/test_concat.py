"""Branches side by side in a simulation."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal

import fastmoments as fm
from fastmoments.engines.sampled import concat, linear  # noqa: F401  # register their layers
from fastmoments.engines.sampled.layers import Draw, Flow, forward


def carried(layer, flow, seed=0):
    """A flow behind a layer, its weights from a seed; branches hold no layers that stop inside."""
    draw = Draw(np.random.default_rng(seed), 4, "weights")

    def inside(stack, part):
        for each in getattr(layer, stack):
            for _ in forward(each, part, draw, inside) or ():
                pass
        return iter(())

    for _ in forward(layer, flow, draw, inside) or ():
        pass
    return flow


def absolute(flow):
    return flow.pair * np.exp(flow.log_scale).reshape(2, 1, 1, 1, 1)


def test_channels_stand_one_behind_the_other():
    """Whatever the scales of the branches are."""
    images = np.random.default_rng(1).standard_normal((2, 4, 4, 3))
    start = Flow.start(images, np.random.default_rng(2))
    large = (fm.Conv(1, fm.Gaussian(1e8), channels=5),)
    found = absolute(carried(fm.Concat([(), large, (fm.Scale(-2.0),)]), start.copy()))
    alone = absolute(carried(large[0], start.copy()))
    assert found.shape[-1] == 3 + 5 + 3
    np.testing.assert_allclose(found[..., :3], absolute(start), rtol=1e-6)
    np.testing.assert_allclose(found[..., 3:8], alone, rtol=1e-6)
    np.testing.assert_allclose(found[..., 8:], -2.0 * absolute(start), rtol=1e-6)


def test_branches_are_computed_from_the_same_signal():
    images = np.random.default_rng(1).standard_normal((2, 4, 4, 3))
    start = Flow.start(images, np.random.default_rng(2))
    found = carried(fm.Concat([(fm.ReLU(),), ()]), start.copy())
    assert_array_equal(found.pair[0, ..., 3:], start.pair[0])
    assert_array_equal(found.pair[0, ..., :3], np.maximum(start.pair[0], 0.0))


def test_branches_of_different_sizes_are_refused():
    net = fm.Network([fm.Concat([(), (fm.Conv(stride=2),)])], stem=[fm.Conv()])
    images = fm.load_images("synthetic:8x8x3", 2)
    with pytest.raises(ValueError, match=r"Concat: branch 2 ends in \(height, width\) \(4, 4\)"):
        fm.scan(net, images, fm.Sampled(8, 2))
