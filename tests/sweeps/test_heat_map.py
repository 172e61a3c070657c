"""The heat map of a sweep."""

import math
import re

import numpy as np
import pytest
from grids import SMALL, needs_matplotlib

import fastmoments as fm
from fastmoments.sweeps.grid import expand, filled


@needs_matplotlib
@pytest.mark.parametrize("color", ["chi", "reff_signal", "log_chi", "mu4_signal", "rate"])
def test_heat_map(color, tmp_path):
    from fastmoments.plots.scans import save_figure

    found = fm.sweep({**SMALL, "count": [1, 4]}, processes=1)  # half of them fail
    figure = found.plot("epsilon", "depth", color)
    panels = [axes for axes in figure.axes if axes.get_title("left")]
    assert [axes.get_title("left") for axes in panels] == [
        f"family {family}, count {count}" for family in SMALL["family"] for count in (1, 4)
    ]
    failed, drawn = panels[:2]
    cells = drawn.images[0].get_array()
    wanted = [row[color] for row in found if (row["family"], row["count"]) == ("vanilla", 4)]
    np.testing.assert_allclose(np.ma.getdata(cells).ravel(), wanted)
    assert np.isnan(np.ma.filled(failed.images[0].get_array(), np.nan)).all()
    assert [label.get_text() for label in panels[-1].get_xticklabels()] == ["0.001", "0.1"]
    assert {text.get_text() for text in drawn.texts} == {f"{value:.3g}" for value in wanted}
    save_figure(figure, tmp_path / "x.png")
    assert (tmp_path / "x.png").read_bytes().startswith(b"\x89PNG")


@needs_matplotlib
def test_heat_map_of_a_chi_beyond_float64():
    lists = {**filled({"family": "bn_ff"}), "depth": [10, 100], "seed": [0, 1]}
    rows = []
    for item in expand(lists):
        rows.append({**item, "verdict": None, "chi": None, "log_chi": 10.0 * item["depth"]})
    image = fm.Sweep(lists, rows).plot("depth", "seed")
    cells = image.axes[0].images[0].get_array()
    np.testing.assert_allclose(cells, [[100 / math.log(10), 1000 / math.log(10)]] * 2)


@pytest.mark.parametrize(
    ("lists", "axes", "words"),
    [
        ({"depth": [1, 2], "family": "vanilla"}, (), "takes two parameters with several values"),
        ({"depth": [1, 2]}, ("epsilon",), "'epsilon' is no axis of a heat map: swept are family, depth"),
        ({"depth": [1, 2]}, ("depth", "depth"), "x and y are both 'depth'"),
        ({"depth": [1, 2]}, (None, None, "verdict"), "color must be one of rate, "),
        ({"depth": [1, 2], "seed": range(4), "count": range(1, 9)}, ("depth", "seed"), "32 panels, over"),
    ],
)
def test_figures_that_are_refused(lists, axes, words):
    with pytest.raises(ValueError, match=re.escape(words)):
        fm.Sweep(filled(lists), []).plot(*axes)
