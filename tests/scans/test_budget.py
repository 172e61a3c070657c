"""Where the signal-to-noise ratio went, and what is left: against what the stations say, and by hand."""

import math

import pytest

import fastmoments as fm
from fastmoments import BatchNorm, Conv, Dense, GlobalAvgPool, MaxPool, Network, ReLU, Residual
from fastmoments.nets.zoo import NETS
from fastmoments.scans.budget import NAMED, Change, budget
from fastmoments.scans.stations import StationMoments

IMAGES = fm.load_images("synthetic:16x16x3", 5, seed=0)


def row(path, layer, depth, loc, snr, grid=(4, 4), channels=8, directions=None):
    mean = {"log_chi": -snr * math.log(10.0) / 20.0}
    mean |= {} if directions is None else {"reff_signal": directions}
    return StationMoments(path, layer, depth, loc, grid, channels, "gaussian", 0.0, mean, {})


ROWS = (
    row("", "images", 0, None, 0.0, channels=3),
    row("stem.0", "Conv", 0, None, -1.0),
    row("layers.0", "Conv", 1, "conv", -2.0),
    row("layers.1", "ReLU", 1, "act", -4.0),
    row("layers.2.branch.0", "Conv", 2, "conv", -8.0),
    row("layers.2", "Residual", 2, "merge", -7.0),
    row("layers.3", "Conv", 3, "conv", -7.5, (2, 2), 16),
    row("layers.4", "GlobalAvgPool", 3, None, -7.0, (1, 1), 16, 3.5),
    row("layers.5", "Dense", 4, "conv", -9.0, (1, 1), 10, 2.5),
)


def test_by_hand():
    found = budget(ROWS, 6, 10)
    assert found.snr_db == pytest.approx(-9.0)
    assert [(each.where, each.what, each.first, each.last) for each in found.stages] == [
        ("stem", "4 x 4, 8 channels", 0, 0),
        ("stage 1", "4 x 4, 8 channels", 1, 2),
        ("stage 2", "2 x 2, 16 channels", 3, 3),
        ("head", "1 x 1, 10 channels", 4, 4),
    ]
    assert [each.db for each in found.stages] == pytest.approx([-1.0, -6.0, 0.0, -2.0])
    paths = [each.where for each in found.layers]
    assert paths[0] == "layers.2.branch.0" and set(paths[1:3]) == {"layers.1", "layers.5"}
    assert "layers.2" not in paths  # its branch is told already
    assert [each.db for each in found.layers[:3]] == pytest.approx([-4.0, -2.0, -2.0])
    # Before the classifier, of as many images as there are points.
    assert (found.directions, found.most_directions, found.classes) == (3.5, 5, 10)
    lines = found.in_words()
    assert (
        lines[0] == "SNR -9.0 dB at the output; 3.5 directions left (the batch allows 5, 10 classes want 9)"
    )
    assert lines[1].startswith("stages that lost most: stage 1 (4 x 4, 8 channels) -6.0 dB, head")
    assert lines[2].startswith("layers that lost most: layers.2.branch.0 (Conv) -4.0 dB")
    assert str(Change("layers.1", "ReLU", 1, 1, -1.66)) == "layers.1 (ReLU) -1.7 dB"


def test_a_dense_block_is_one_stage_though_its_channels_grow():
    grown = [row(f"layers.{n}", "Concat", n + 1, "merge", -1.0 - n, channels=8 + 4 * n) for n in range(3)]
    found = budget((*ROWS[:2], *grown), 6)
    assert [(each.where, each.first, each.last) for each in found.stages] == [
        ("stem", 0, 0),
        ("stage 1", 1, 3),
    ]


def test_two_images_leave_their_directions_where_there_are_more_points():
    two = (*ROWS[:6], row("layers.3", "Conv", 3, "conv", -7.5, (2, 2), 16, 4.5), *ROWS[7:])
    assert budget(two, 2).directions == 4.5
    assert budget(ROWS, 2).directions is None


def test_nothing_is_said_of_what_is_not_known():
    assert budget((), 4) is None
    assert budget((row("", "images", 0, None, math.nan),), 4) is None


def test_of_a_net_it_is_what_its_stations_say():
    unit = Residual([BatchNorm(), ReLU(), Conv(3)])
    down = Conv(3, stride=2, channels=16)
    net = Network([unit, unit, down, ReLU(), MaxPool(2), unit, GlobalAvgPool(), Dense(7)], stem=[Conv(3)])
    scan = fm.scan(net, IMAGES)
    found = scan.verdict.budget
    assert found.snr_db == pytest.approx(-20.0 * math.log10(scan.stations[-1].mean["chi"]))
    assert found.snr_db == pytest.approx(sum(stage.db for stage in found.stages))
    assert [stage.where for stage in found.stages] == ["stem", "stage 1", "stage 2", "stage 3", "head"]
    assert [(stage.first, stage.last) for stage in found.stages] == [(0, 0), (1, 2), (3, 3), (4, 4), (5, 5)]
    assert len(found.layers) == NAMED and found.classes == 7 and found.most_directions == 4
    changes = {row["path"]: row["snr_change_db"] for row in scan.report().rows}
    assert all(each.db == changes[each.where] for each in found.layers)
    jacobian = scan.station("stem.0").mean["jacobian"]
    assert found.gradient_db == pytest.approx(10.0 * math.log10(jacobian))
    assert fm.scan(net, IMAGES, classes=3).verdict.budget.classes == 3
    # At infinite width the classifier leaves the rank as it is.
    assert found.directions == pytest.approx(scan.stations[-1].directions, rel=1e-9)


def test_before_a_classifier_of_few_channels_simulated_nets_keep_their_directions():
    net = Network([Conv(3), ReLU(), GlobalAvgPool(), Dense(2)])
    scan = fm.scan(net, fm.load_images("synthetic:8x8x3", 12), fm.Sampled(64, 3))
    found, before, behind = scan.verdict.budget, *scan.stations[-2:]
    assert (before.layer, behind.layer, found.most_directions) == ("GlobalAvgPool", "Dense", 11)
    assert found.directions == before.directions > behind.directions


def test_published_nets_have_one_in_files_too(tmp_path):
    scan = fm.scan(NETS["resnet20"](), IMAGES, every=2)
    fm.save_scan(scan, tmp_path / "x.json")
    fm.save_scan(scan, tmp_path / "x.npz")
    for name in ("x.json", "x.npz"):
        assert fm.load_scan(tmp_path / name).verdict == scan.verdict
    assert scan.verdict.source == "budget" and scan.verdict.budget.classes == 10
    assert [stage.where for stage in scan.verdict.budget.stages][-2:] == ["stage 3", "head"]
