"""Laws of moments over nets, drawn."""

import numpy as np
import pytest

import fastmoments as fm

pytest.importorskip("matplotlib")

from matplotlib.backends.backend_agg import FigureCanvasAgg

from fastmoments.plots.histogram import plot_histograms


def test_histograms_of_a_finite_width():
    """A law for each depth, and the simulated one beside it."""
    images = fm.load_images("synthetic:6x6x3", 4)
    scan = fm.scan(fm.vanilla(8), images, fm.FiniteWidth(width=64), every=2)
    figure = plot_histograms(scan, beside={"log_nu2_signal": {8: (0.0, 0.5)}})
    left, right, _ = figure.axes
    assert [text.get_text() for text in left.get_legend().get_texts()] == [
        "depth 2", "depth 4", "depth 6", "depth 8", "simulated",
    ]  # fmt: skip
    assert len(right.lines) == 4
    FigureCanvasAgg(figure).draw()
    assert len(plot_histograms(scan, moments=["log_chi"]).axes) == 1
    with pytest.raises(ValueError, match='method "finite"'):
        plot_histograms(fm.scan(fm.vanilla(2), images))


def test_lines_are_the_laws_of_the_scan():
    images = fm.load_images("synthetic:6x6x3", 4)
    scan = fm.scan(fm.vanilla(6), images, fm.FiniteWidth(width=64), every=2)
    (axes,) = plot_histograms(scan, [4], {"log_chi": {4: (0.1, 0.2)}}, ["log_chi"]).axes
    ours, theirs, _ = axes.lines
    edges, density = scan.histogram("log_chi", 4, bins=400)
    centres = 0.5 * (edges[1:] + edges[:-1])
    np.testing.assert_array_equal(ours.get_xydata(), np.column_stack([centres, density]))
    gaussian = np.exp(-0.5 * ((centres - 0.1) / 0.2) ** 2) / np.sqrt(2 * np.pi * 0.04)
    np.testing.assert_allclose(theirs.get_ydata(), gaussian, rtol=1e-12)
