"""The figure of a search."""

import pytest
from command_line import needs_matplotlib

import fastmoments as fm


@needs_matplotlib
def test_scans_target_and_value_are_drawn():
    images = fm.load_images("synthetic:4x4", 4)
    net = fm.bn_res(8, 1)
    found = fm.find(net, images, ("chi", 1.3), (0.01, 1.0), path="layers.*.scale")
    figure = found.plot()
    (axes,) = figure.axes
    curve, target, mark = axes.lines
    assert sorted(zip(*curve.get_data(), strict=True)) == sorted(found.trace)
    assert target.get_ydata()[0] == 1.3
    assert (mark.get_xdata()[0], mark.get_ydata()[0]) == (found.value, pytest.approx(1.3, rel=1e-5))
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("layers.*.scale", "chi at the last depth")
