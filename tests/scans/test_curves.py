"""Curves over depth, from the stations of nets."""

import math

import pytest

from fastmoments.engines.protocol import Station
from fastmoments.scans.curves import gather


def test_nets_are_averaged_net_by_net():
    """The mean of chi is that of each net's chi; growth is taken within each net."""
    stations = [
        Station(f"layers.{loc}", "ReLU", 1, loc, {"log_chi": value}, net=net)
        for net, pair in enumerate([(0.0, 1.0), (1.0, 3.0)])
        for loc, value in zip(("input", "act"), pair, strict=True)
    ]
    _, locs, moments = gather(stations, [1], 2)
    assert locs == ("input", "act")
    assert moments["chi"]["act"].mean == pytest.approx((math.e + math.e**3) / 2)
    assert moments["delta_chi"]["act"].mean == pytest.approx((math.e + math.e**2) / 2)
    assert moments["log_chi"]["act"].sigma == pytest.approx(math.sqrt(2))
