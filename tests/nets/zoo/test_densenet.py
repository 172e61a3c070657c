"""Dense blocks."""

import pytest
from trained import trained

import fastmoments as fm
from fastmoments.nets import zoo

#: As PyTorch's model zoo counts them.
PARAMETERS = {"densenet121": 7_978_856, "densenet169": 14_149_480, "densenet201": 20_013_928}


@pytest.mark.parametrize("name", PARAMETERS)
def test_as_many_numbers_as_published(name):
    assert trained(zoo.NETS[name]()) == PARAMETERS[name]


def test_its_stream_grows_within_a_block():
    """By 32 channels a layer, to 256 of the 64 behind the stem, and 1,024 at the end."""
    net = zoo.densenet121()
    images = fm.load_images("synthetic:32x32x3", 2)
    stations = fm.scan(net, images, fm.Sampled(8, 1)).stations
    channels = [station.channels for station in stations if station.layer == "Concat"]
    assert channels[:6] == list(range(96, 257, 32)) and channels[-1] == 1024


def test_it_is_scanned_at_infinite_width():
    images = fm.load_images("synthetic:32x32x3", 8)
    scan = fm.scan(zoo.densenet121(), images, every=20)
    assert scan.stations[-1].grid == (1, 1) and scan.provenance["drawn_error"] < 0.05
    assert 10.0 < scan["chi"][-1] < 1000.0


def test_published_channels_agree_with_infinitely_many():
    """Log chi along the net, within 5% and chance; a unit is one layer of a block."""
    images, nets = fm.load_images("synthetic:32x32x3", 8), 5
    ours = fm.scan(zoo.densenet121(), images, every=20)
    theirs = fm.scan(zoo.densenet121(), images, fm.Sampled(64, nets), every=20)
    chance = 3.0 * theirs.curve("log_chi").sigma / nets**0.5
    assert (abs(ours["log_chi"] - theirs["log_chi"]) < 0.05 * ours["log_chi"] + chance)[1:].all()
