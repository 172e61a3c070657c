"""The figure of a phase diagram."""

import numpy as np
import pytest

import fastmoments as fm


def texts(figure):
    return {text.get_text() for axes in figure.axes for text in axes.texts}


def test_phases_are_named_where_they_are():
    diagram = fm.phase_diagram(fm.Tanh(), np.linspace(0.5, 4, 21), np.linspace(0, 0.5, 21))
    figure = diagram.plot()
    assert texts(figure) == {"ordered", "chaotic"}
    (axes, _) = figure.axes
    for text in axes.texts:
        j, i = (np.abs(values - at).argmin() for values, at in
                zip((diagram.gains, diagram.bias_variances), text.get_position(), strict=True))  # fmt: skip
        assert diagram.phase[i, j] == text.get_text()
    assert [text.get_text() for text in axes.get_legend().get_texts()] == [r"critical, $\chi_1 = 1$"]


def test_an_unstable_line_is_said_and_what_diverges_is_hatched():
    figure = fm.phase_diagram(fm.GELU(), np.linspace(1.5, 4.5, 15), np.linspace(0, 0.5, 15)).plot()
    assert "diverging" in texts(figure)
    legend = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert legend == [r"critical, $\chi_1 = 1$", "unstable"]
    assert fm.phase_diagram(fm.ReLU(), [1.0, 3.0], [0.0, 0.5]).plot().axes[0].get_legend() is None


def test_a_line_has_no_area():
    with pytest.raises(ValueError, match="several gains and several bias variances"):
        fm.phase_diagram(fm.Tanh(), [1.0, 2.0], 0.1).plot()
