"""The report as a figure: the numbers of the stations, stages shaded and named, whatever a scan lacks."""

import dataclasses

import numpy as np
import pytest
from numpy.testing import assert_allclose

import fastmoments as fm

pytest.importorskip("matplotlib")

from fastmoments.plots.report import plot_report

UNIT = fm.Residual([fm.BatchNorm(), fm.ReLU(), fm.Conv(3, channels=8)])
DOWN = fm.Conv(3, stride=2, channels=16)
WIDE = fm.Residual([fm.BatchNorm(), fm.ReLU(), fm.Conv(3, channels=16)])
NET = fm.Network(
    [UNIT, UNIT, DOWN, fm.ReLU(), WIDE, fm.GlobalAvgPool(), fm.Dense(7)], stem=[fm.Conv(3, channels=8)]
)


@pytest.fixture(scope="module")
def scan():
    return fm.scan(NET, fm.load_images("synthetic:8x8x3", 12))


def test_it_holds_the_numbers_of_the_stations(scan):
    snr, ranks, gradients = plot_report(scan).axes
    rows = scan.stations
    whole, inside, worst = snr.lines
    top = [number for number, row in enumerate(rows) if ".branch." not in row.path]
    assert whole.get_xdata().tolist() == top
    assert_allclose(whole.get_ydata(), [rows[number].snr_db for number in top])
    assert sorted([*top, *inside.get_xdata()]) == list(range(len(rows)))
    paths = {rows[int(number)].path for number in worst.get_xdata()}
    assert paths == {each.where for each in scan.verdict.budget.layers}
    at = [int(number) for number in ranks.lines[0].get_xdata()]
    assert_allclose(ranks.lines[0].get_ydata(), [rows[number].directions for number in at])
    assert len(at) == sum(row.directions is not None for row in rows)
    at = gradients.lines[0].get_xdata().astype(int)
    assert_allclose(gradients.lines[0].get_ydata(), [rows[number].gradient_db for number in at])
    assert [axes.get_ylabel() for axes in (snr, ranks)] == [
        "SNR relative to\nthe images / dB",
        "effective rank",
    ]
    assert gradients.get_ylabel().endswith("/ dB") and gradients.get_xlabel().startswith("layer")


def test_stages_are_named_and_shaded(scan):
    figure = plot_report(scan)
    names = [text.get_text().partition("\n")[0] for text in figure.axes[0].texts]
    assert names == [stage.where for stage in scan.verdict.budget.stages]
    shaded = [patch for patch in figure.axes[2].patches if patch.get_width() > 0]
    assert len(shaded) == (len(names) + 1) // 2
    assert any("7 classes want 6" in text.get_text() for text in figure.axes[1].texts)


def test_every_label_is_on_the_page_and_none_on_another(scan):
    figure = plot_report(scan)
    renderer = figure.canvas.get_renderer()
    page = figure.bbox
    boxes = [text.get_window_extent(renderer) for text in figure.axes[0].texts]
    boxes += [axes.yaxis.label.get_window_extent(renderer) for axes in figure.axes]
    for number, box in enumerate(boxes):
        assert page.x0 <= box.x0 and box.x1 <= page.x1 and page.y0 <= box.y0 and box.y1 <= page.y1
        assert not any(box.overlaps(other) for other in boxes[:number])


def test_what_is_not_known_is_left_out(scan):
    rows = [dataclasses.replace(row, mean={"log_chi": row.mean["log_chi"]}) for row in scan.stations]
    figure = plot_report(dataclasses.replace(scan, stations=tuple(rows)))
    assert [len(axes.lines) for axes in figure.axes] == [3, 0, 1]
    assert "not taken" in [text.get_text() for text in figure.axes[1].texts]
    with pytest.raises(ValueError, match="has no stations"):
        plot_report(dataclasses.replace(scan, stations=()))


def test_sampled_nets_of_a_single_stage():
    sampled = fm.scan(fm.vanilla(3), fm.load_images("synthetic:8x8x3", 4), fm.Sampled(8, 2))
    figure = plot_report(sampled)
    assert np.isfinite(figure.axes[0].lines[0].get_ydata()).all()
