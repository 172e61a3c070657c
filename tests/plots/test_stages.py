"""Bands of stages: every second is shaded, and every one has its name."""

import pytest

import fastmoments as fm

pytest.importorskip("matplotlib")

from matplotlib.figure import Figure

from fastmoments.plots.stages import shade, stages
from fastmoments.scans.budget import Change


def test_narrow_bands_have_their_name_upright_and_no_size():
    axes = Figure().subplots()
    axes.set_xlim(0.0, 10.0)
    wide = Change("stage 1", "4 x 4, 8 channels", 1, 2, -1.0)
    shade([axes], [(0.0, 8.0, wide), (8.0, 8.8, Change("a", "b", 3, 3, 0.0)), (9.8, 10.0, wide)])
    assert [text.get_text() for text in axes.texts] == ["stage 1\n4 x 4\n8 ch.", "a", "stage 1"]
    assert [text.get_rotation() for text in axes.texts] == [0.0, 0.0, 90.0]
    assert [(patch.get_x(), patch.get_width()) for patch in axes.patches] == [
        (0.0, 8.0), (9.8, pytest.approx(0.2)),
    ]  # fmt: skip


def test_a_net_of_one_stage_has_no_bands():
    images = fm.load_images("synthetic:4x4x1", 3)
    one = fm.scan(fm.Network([fm.Conv(3), fm.Conv(3)]), images)
    two = fm.scan(fm.Network([fm.Conv(3), fm.Conv(3, stride=2)]), images)
    assert stages(one) == () and len(stages(two)) == 2
