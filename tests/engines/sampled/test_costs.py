"""Memory of a simulation, against the arrays that it holds at once."""

import tracemalloc

import pytest

import fastmoments as fm
from fastmoments.engines.sampled.costs import PROCESS, memory


def without_the_process(net, shape, width):
    return memory(net, shape, width) - PROCESS


@pytest.mark.parametrize("width", [64, 128])
@pytest.mark.parametrize("family", ["vanilla", "residual", "bn_ff"])
def test_it_is_what_is_allocated(family, width):
    images, net = fm.load_images("synthetic:32x32x3", 64, seed=0), fm.FAMILIES[family](2)
    engine = fm.Sampled(width, 1, draw="weights")
    fm.scan(net, images.array[:2], engine)  # what is imported on the way is not of the simulation
    tracemalloc.start()
    fm.scan(net, images, engine)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    # Blocks of fixed size are worked on besides, which is a tenth here.
    assert 0.85 * peak < without_the_process(net, (64, 32, 32, 3), width) < 1.25 * peak


def test_it_grows_with_points_and_channels_and_not_with_depth():
    net, shape = fm.vanilla(2), (16, 32, 32, 3)
    one = without_the_process(net, shape, 64)
    assert memory(fm.vanilla(50), shape, 64) == memory(net, shape, 64)
    assert without_the_process(net, (32, 32, 32, 3), 64) == pytest.approx(2 * one, rel=0.02)
    assert without_the_process(net, shape, 128) == pytest.approx(2 * one, rel=0.05)
    # A shortcut is one more flow of two arrays of float32, at the 16 x 16 positions behind the stem.
    assert memory(fm.residual(2), shape, 64) - memory(net, shape, 64) == 8 * 16 * 16**2 * 64


def test_a_shortcut_begins_where_its_branch_does():
    """Behind either there are 4 x 4 positions of 8 x 8: one behind the other they would leave none."""
    unit = fm.Residual([fm.ReLU(), fm.Conv(5, pad=0)], [fm.Conv(5, pad=0)])
    net = fm.Network([unit], stem=[fm.Conv(3)])
    found = without_the_process(net, (8, 8, 8, 3), 64)
    assert found == 8 * 4.5 * 8 * 8**2 * 64 + 4 * 25 * 64**2


def test_large_images_count_before_the_stem_makes_them_small():
    """32 x 32 positions of 48 channels are more than a quarter of them of 64."""
    found = without_the_process(fm.vanilla(1), (8, 32, 32, 48), 64)
    assert found > 8 * 3.5 * 8 * 32**2 * 48


def test_a_dense_layer_has_weights_from_all_flattened_positions():
    net = fm.Network([fm.Conv(3), fm.ReLU(), fm.Flatten(), fm.Dense()])
    images, engine = fm.load_images("synthetic:16x16x3", 2, seed=0), fm.Sampled(96, 1, draw="weights")
    fm.scan(net, images, engine)
    tracemalloc.start()
    fm.scan(net, images, engine)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert 0.85 * peak < without_the_process(net, (2, 16, 16, 3), 96) < 1.25 * peak
