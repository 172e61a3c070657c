"""Figures: the scan's own numbers on them, whatever the scan lacks, and the same bytes in the same file."""

import dataclasses
import math
import subprocess
import sys

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import fastmoments as fm
from fastmoments.scans.curves import Curve
from fastmoments.scans.files import load_scan, save_scan
from fastmoments.scans.results import Scan, judged
from fastmoments.scans.scanning import scan as compute
from fastmoments.scans.verdict import EXPLODING, ONE_DIMENSIONAL, WELL_BEHAVED

matplotlib = pytest.importorskip("matplotlib")

from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: E402
from matplotlib.colors import same_color  # noqa: E402

from fastmoments.plots.scans import HEALTH, plot_compare, plot_scan, save_figure  # noqa: E402

DEPTH = np.arange(1, 41)
LAWS = {
    EXPLODING: lambda depth: 0.25 * depth,
    WELL_BEHAVED: lambda depth: 0.5 * np.log1p(depth),
    ONE_DIMENSIONAL: lambda depth: 1.0 - 1.0 / depth,
}
RANKS = {EXPLODING: 10.0 + DEPTH / 40, WELL_BEHAVED: 10.0 + DEPTH / 40, ONE_DIMENSIONAL: 1.0 + 5.0 / DEPTH}
IMAGES = np.random.default_rng(3).normal(size=(6, 4, 4))


def made(label=EXPLODING, *, name="bn_ff", log_chi=None, sigma=None, norm=True, depth=DEPTH):
    """Make a scan whose curves are all different and whose verdict is the one asked for."""
    log_chi = LAWS[label](depth) if log_chi is None else log_chi
    with np.errstate(over="ignore"):
        chi = np.exp(log_chi)
    at = "norm" if norm else "conv"
    curves = {
        ("nu1_abs_signal", at): 0.79 - 0.001 * depth,
        ("nu2_signal", at): 1.0 + 0.5 * depth,
        ("mu2_signal", at): 0.9 + 0.3 * depth,
        ("mu4_signal", at): 3.0 + 0.02 * depth,
        ("chi", "act"): chi,
        ("delta_chi", "act"): 1.3 + 0.1 / depth,
        ("delta_chi_phi", "act"): 1.2 + 0.1 / depth,
        ("reff_signal", "act"): RANKS[label][: depth.size],
        ("reff_noise", "act"): 40.0 - 0.1 * depth,
        ("log_chi", "act"): log_chi,
    }
    if norm:
        curves["delta_chi_bn", "norm"] = 1.1 + 0.1 / depth
    moments = {}
    for (moment, loc), mean in curves.items():
        moments.setdefault(moment, {})[loc] = Curve(mean, None if sigma is None else sigma * np.abs(mean))
    return Scan(
        architecture={"name": name, "depth": int(depth[-1]), "kernel_size": 3, "padding": "zeros"},
        method="infinite" if sigma is None else "sampled",
        width=None if sigma is None else 64,
        nets=None if sigma is None else 5,
        data={"source": "array", "images": 6, "height": 4, "width": 4, "points": 96, "seed": None},
        depth=depth,
        locs=("input", "conv", "norm", "act") if norm else ("input", "conv", "act"),
        moments=moments,
        verdict=judged(depth, moments, 96),
    )


def changed(scan, change):
    """Replace the scan's curves by what `change` makes of their means."""
    moments = {
        name: {loc: Curve(change(curve.mean), curve.sigma) for loc, curve in at.items()}
        for name, at in scan.moments.items()
    }
    return dataclasses.replace(scan, moments=moments, verdict=judged(scan.depth, moments, 96))


def panel(figure, title):
    (found,) = [axes for axes in figure.axes if axes.get_title(loc="left").startswith(title)]
    return found


def words(axes):
    return [text.get_text() for text in axes.texts]


def pixels(figure):
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba()).copy()


def not_taken(figure):
    return [axes.get_title(loc="left")[:3] for axes in figure.axes if "not taken" in words(axes)]


# --- the four panels ---------------------------------------------------------------------------------------


def test_the_four_panels_hold_the_curves_of_the_scan():
    scan = made()
    assert scan.verdict.label == EXPLODING
    figure = plot_scan(scan)
    shape = figure.axes[figure.axes.index(panel(figure, "(d)")) + 1]
    shown = {
        ("(a)", 0): "delta_chi", ("(a)", 1): "delta_chi_bn", ("(a)", 2): "delta_chi_phi",
        ("(b)", 0): "chi", ("(c)", 0): "reff_signal", ("(c)", 1): "reff_noise", ("(d)", 0): "mu4_signal",
    }  # fmt: skip
    for (title, index), name in shown.items():
        line = panel(figure, title).lines[index]
        assert_array_equal(line.get_xdata(), scan.depth)
        assert_array_equal(line.get_ydata(), scan[name], err_msg=name)
    assert_array_equal(shape.lines[0].get_ydata(), scan["nu1_abs_signal"])
    assert len(figure.axes) == 5
    assert not not_taken(figure)
    legend = [text.get_text() for text in panel(figure, "(c)").get_legend().get_texts()]
    assert legend == ["signal", "noise"]


def test_without_batch_norm_the_shape_does_not_depend_on_the_scale():
    scan = made(name="vanilla", norm=False)
    upper, lower = plot_scan(scan).axes[-2:]
    assert_allclose(upper.lines[0].get_ydata(), scan["mu4_signal"] / scan["mu2_signal", "conv"] ** 2)
    assert_allclose(lower.lines[0].get_ydata(), scan["nu1_abs_signal"] / scan["nu2_signal", "conv"] ** 0.5)
    assert "conv" in upper.get_title(loc="left")
    assert upper.get_ylabel() == r"$\mu_4 / \mu_2^2$"


def test_gaussian_values_and_heavy_tails():
    upper, lower = plot_scan(made()).axes[-2:]
    assert upper.lines[1].get_ydata()[0] == 3
    assert_allclose(lower.lines[1].get_ydata()[0], math.sqrt(2 / math.pi))
    assert upper.get_yscale() == "linear"
    assert plot_scan(changed(made(), lambda mean: 20 * mean)).axes[-2].get_yscale() == "log"


@pytest.mark.parametrize(
    ("label", "scale", "law"),
    [(EXPLODING, "linear", "exp(0.25"), (WELL_BEHAVED, "log", "l^"), (ONE_DIMENSIONAL, "linear", "bounded")],
)
def test_the_law_of_the_sensitivity(label, scale, law):
    scan = made(label)
    assert scan.verdict.label == label
    figure = plot_scan(scan)
    axes = panel(figure, "(b)")
    assert (axes.get_xscale(), axes.get_yscale()) == (scale, "log")
    assert law in words(axes)[0]
    (text,) = [text for text in figure.texts if text.get_text() == label]
    assert same_color(text.get_color(), HEALTH[label])
    if label == ONE_DIMENSIONAL:
        assert len(axes.lines) == 1
    else:
        depth, fit = axes.lines[1].get_data()
        assert (depth[0], depth[-1]) == (20, 40)
        # An exponential is its own fit; the power law here is one only in the limit.
        assert_allclose(fit, np.exp(LAWS[label](depth)), rtol=1e-9 if label == EXPLODING else 5e-3)


def test_beyond_float64_the_sensitivity_is_drawn_as_its_logarithm():
    scan = made(log_chi=125.0 * DEPTH, sigma=0.1)
    assert np.isinf(scan["chi"]).any()
    axes = panel(plot_scan(scan), "(b)")
    assert axes.get_yscale() == "linear"
    assert "log" in axes.get_ylabel()
    assert_allclose(axes.lines[0].get_ydata(), 125.0 * DEPTH / math.log(10))
    assert_allclose(axes.lines[1].get_ydata()[-1], 5000.0 / math.log(10))
    band = axes.collections[0].get_paths()[0].vertices
    assert_allclose(band[:, 1].max(), 1.1 * 5000.0 / math.log(10))


@pytest.mark.parametrize(("rate", "shown"), [(125.0, "exp(120"), (0.123, "exp(0.12"), (0.004, "exp(0.004")])
def test_rates_are_written_with_two_digits(rate, shown):
    scan = made()
    scan = dataclasses.replace(scan, verdict=dataclasses.replace(scan.verdict, rate=rate))
    assert shown in words(panel(plot_scan(scan), "(b)"))[0]


def test_null_beyond_float64_in_a_loaded_scan_is_no_obstacle(tmp_path):
    save_scan(made(log_chi=125.0 * DEPTH), tmp_path / "scan.json")
    scan = load_scan(tmp_path / "scan.json")
    assert np.isnan(scan["chi"][-1])
    assert_allclose(panel(plot_scan(scan), "(b)").lines[0].get_ydata(), 125.0 * DEPTH / math.log(10))


def test_bands_are_one_sigma_wide():
    scan = made(sigma=0.1)
    figure = plot_scan(scan)
    for title, index, name in (("(a)", 0, "delta_chi"), ("(b)", 0, "chi"), ("(c)", 1, "reff_noise")):
        vertices = panel(figure, title).collections[index].get_paths()[0].vertices
        for depth, mean in ((DEPTH[4], scan[name][4]), (DEPTH[-1], scan[name][-1])):
            heights = vertices[vertices[:, 0] == depth, 1]
            assert_allclose([heights.min(), heights.max()], [0.9 * mean, 1.1 * mean])
    assert not any(axes.collections for axes in plot_scan(made()).axes)


def test_a_band_that_reaches_zero_stays_on_a_logarithmic_axis():
    axes = panel(plot_scan(made(sigma=3.0)), "(b)")
    assert_allclose(axes.collections[0].get_paths()[0].vertices[:, 1].min(), 0.1 * np.exp(0.25))
    assert axes.get_ylim()[0] > 0.05


def test_one_net_has_no_band():
    axes = panel(plot_scan(made(sigma=np.nan)), "(b)")
    assert len(axes.lines[0].get_ydata()) == DEPTH.size
    assert not any(len(path.vertices) for band in axes.collections for path in band.get_paths())


def test_the_heading_says_what_was_scanned():
    heading = " ".join(text.get_text() for text in plot_scan(made(sigma=0.1)).texts)
    for fact in (
        "bn_ff",
        "depth 40",
        "3 x 3",
        "zeros",
        "array",
        "6 images",
        "4 x 4",
        "64",
        "5 nets",
        EXPLODING,
    ):
        assert fact in heading, fact


# --- what a scan may lack ----------------------------------------------------------------------------------


def test_nothing_finite_is_not_taken():
    figure = plot_scan(changed(made(), lambda mean: np.full(mean.shape, np.nan)))
    assert not_taken(figure) == ["(a)", "(b)", "(c)", "(d)", ""]
    assert not any(axes.lines for axes in figure.axes)
    assert "no verdict" in " ".join(text.get_text() for text in figure.texts)
    pixels(figure)


def test_gaps_and_zeros_are_left_out():
    def holes(mean):
        return np.where(DEPTH == 7, np.inf, np.where(DEPTH == 9, 0.0, mean))

    line = panel(plot_scan(changed(made(), holes)), "(b)").lines[0]
    assert_array_equal(DEPTH[np.isnan(line.get_ydata())], [7, 9])


def test_depth_zero():
    figure = plot_scan(compute(fm.vanilla(0), IMAGES))
    assert "(a)" in not_taken(figure)
    (line,) = panel(figure, "(b)").lines
    assert line.get_xdata() == [0]
    assert line.get_marker() == "o"  # a line through one point would not be seen
    ticks = panel(figure, "(b)").get_xticks()
    assert_array_equal(ticks, np.round(ticks))
    pixels(figure)


@pytest.mark.parametrize("family", fm.FAMILIES)
def test_one_depth(family):
    scan = compute(fm.FAMILIES[family](3, kernel_size=1), IMAGES, every=3)
    figure = plot_scan(scan)
    assert not not_taken(figure)
    assert panel(figure, "(b)").lines[0].get_ydata() == scan["chi"]
    pixels(figure)
    pixels(plot_compare([scan]))


@pytest.mark.parametrize(
    ("layers", "lost"),
    [((fm.Conv(),) * 3, []), ((fm.Conv(), fm.BatchNorm()) * 2, []), ((fm.Conv(), fm.ReLU()) * 2, [])],
)
def test_custom_nets(layers, lost):
    scan = compute(fm.Network(layers), IMAGES, reff_locs=("conv",))
    figure = plot_scan(scan)
    assert not_taken(figure) == lost
    assert_array_equal(panel(figure, "(c)").lines[0].get_ydata(), scan["reff_signal"])
    pixels(figure)


@pytest.mark.parametrize(
    ("lost", "panels"),
    [
        (("reff_signal", "reff_noise"), ["(c)"]),
        (("mu4_signal",), ["(d)"]),
        (("nu1_abs_signal",), [""]),
        (("chi",), ["(b)"]),
    ],
)
def test_a_moment_that_no_station_has(lost, panels):
    scan = made()
    moments = {name: at for name, at in scan.moments.items() if name not in lost}
    figure = plot_scan(dataclasses.replace(scan, moments=moments))
    assert not_taken(figure) == panels
    pixels(figure)


def test_names_are_not_mathematics():
    scan = made(name="$\\frac{$")
    for figure in (plot_scan(scan), plot_compare([scan, scan])):
        pixels(figure)


# --- several scans ------------------------------------------------------------------------------------------


def families():
    return [
        made(ONE_DIMENSIONAL, name="vanilla", norm=False),
        made(ONE_DIMENSIONAL, name="residual", norm=False),
        made(EXPLODING, name="bn_ff"),
        made(WELL_BEHAVED, name="bn_res"),
    ]


def test_compare_shows_every_scan_in_every_panel():
    scans = families()
    figure = plot_compare(iter(scans))
    panels = {"Sensitivity: an exp": "chi", "Sensitivity: a power": "chi", "Growth": "delta_chi"}
    panels |= {"Effective rank of the signal": "reff_signal", "Effective rank of the noise": "reff_noise"}
    for title, name in panels.items():
        lines = panel(figure, title).lines
        for scan, line in zip(scans, lines, strict=False):
            assert_array_equal(line.get_ydata(), scan[name])
    assert panel(figure, "Sensitivity: a power").get_xscale() == "log"
    assert panel(figure, "Sensitivity: an exp").get_xscale() == "linear"


def test_compare_gives_each_scan_a_card_in_the_look_of_its_curves():
    scans = families()
    figure = plot_compare(scans)
    curves = panel(figure, "Growth").lines
    for scan, card, curve in zip(scans, figure.axes[: len(scans)], curves, strict=False):
        name, label = words(card)[:2]
        assert name == scan.architecture["name"]
        assert label == scan.verdict.label
        assert same_color(card.texts[1].get_color(), HEALTH[label])
        assert card.lines[0].get_color() == curve.get_color()
        assert card.lines[0].get_marker() == curve.get_marker()


def test_compare_shades_the_pathologies_and_nothing_else():
    figure = plot_compare(families())
    exploding, collapsed = panel(figure, "Sensitivity: an exp"), panel(figure, "Effective rank of the signal")
    assert len(exploding.collections) == 1
    assert len(collapsed.collections) == 2
    assert [text.get_text() for text in exploding.get_legend().get_texts()] == [EXPLODING]
    assert [text.get_text() for text in collapsed.get_legend().get_texts()] == [ONE_DIMENSIONAL]
    healthy = plot_compare(families()[3:])
    assert not any(axes.collections for axes in healthy.axes)


def test_compare_says_once_what_is_common_and_on_the_cards_what_is_not():
    shallow = made(depth=DEPTH[:20])
    figure = plot_compare([made(), shallow])
    heading = figure.texts[1].get_text()
    assert "zeros padding" in heading
    assert "depth" not in heading
    assert [words(card)[3] for card in figure.axes[:2]] == ["depth 40", "depth 20"]


def test_compare_beyond_float64():
    scans = [*families(), made(name="deep", log_chi=125.0 * DEPTH)]
    for title in ("Sensitivity: an exp", "Sensitivity: a power"):
        axes = panel(plot_compare(scans), title)
        assert axes.get_yscale() == "linear"
        for scan, line in zip(scans, axes.lines, strict=True):
            assert_allclose(line.get_ydata(), scan["log_chi"] / math.log(10))


def test_compare_tells_many_scans_of_one_name_apart():
    figure = plot_compare([made() for _ in range(7)])
    assert len({line.get_color() for line in panel(figure, "Growth").lines[:7]}) == 7
    pixels(plot_compare([made() for _ in range(9)]))


def test_compare_of_depth_zero_has_no_point_on_logarithmic_depth():
    figure = plot_compare([compute(fm.bn_res(0), IMAGES)])
    assert not_taken(figure) == ["Sen", "Gro"]
    pixels(figure)


def test_nothing_to_compare():
    with pytest.raises(ValueError, match=r"^There is nothing to compare: give at least one scan\.$"):
        plot_compare([])


@pytest.mark.parametrize("figure", [*map(plot_scan, families()), plot_compare(families())])
def test_all_words_are_on_the_page_and_headings_do_not_collide(figure):
    renderer = figure.canvas.get_renderer()
    page = figure.bbox
    texts = [*figure.texts, *(text for axes in figure.axes for text in (axes._left_title, *axes.texts))]
    boxes = [text.get_window_extent(renderer) for text in texts if text.get_text()]
    assert len(boxes) > 8
    for box in boxes:
        assert box.x0 >= 0
        assert box.y0 >= 0
        assert box.x1 <= page.x1
        assert box.y1 <= page.y1
    assert not any(box.overlaps(other) for i, box in enumerate(boxes) for other in boxes[:i])


# --- files and manners --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("ending", "magic"), [(".png", b"\x89PNG"), (".pdf", b"%PDF"), (".svg", b"<?xml")])
def test_the_same_bytes_every_time(tmp_path, ending, magic):
    figure = plot_scan(made(sigma=0.1))
    for name, drawn in (("a", figure), ("b", figure), ("c", plot_scan(made(sigma=0.1)))):
        save_figure(drawn, tmp_path / (name + ending))
    first, *others = (path.read_bytes() for path in sorted(tmp_path.iterdir()))
    assert first.startswith(magic)
    assert others == [first, first]
    assert not any(word in first for word in (b"CreationDate", b"<dc:date>"))


@pytest.mark.parametrize("name", ["figure.gif", "figure", "png"])
def test_other_endings_are_refused(tmp_path, name):
    with pytest.raises(ValueError, match=r"must end in \.png, \.pdf, \.svg\.$"):
        save_figure(plot_scan(made()), tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_the_users_style_is_neither_read_nor_changed(tmp_path):
    save_figure(plot_scan(made()), tmp_path / "usual.svg")
    own = {"font.size": 30.0, "axes.grid": False, "lines.linewidth": 9.0, "mathtext.fontset": "cm"}
    own |= {"figure.dpi": 17.0, "savefig.bbox": "tight", "svg.hashsalt": None, "text.color": "red"}
    with matplotlib.rc_context(own):
        before = dict(matplotlib.rcParams)
        save_figure(plot_scan(made()), tmp_path / "own.svg")
        assert dict(matplotlib.rcParams) == before
    assert (tmp_path / "own.svg").read_bytes() == (tmp_path / "usual.svg").read_bytes()


def test_pyplot_is_never_imported_and_matplotlib_only_when_drawing(tmp_path):
    save_scan(made(sigma=0.1), tmp_path / "scan.npz")
    script = """
import sys
import fastmoments as fm, fastmoments.plots.scans as plot
scan = fm.load_scan("scan.npz")
assert "matplotlib" not in sys.modules
plot.save_figure(fm.plot_scan(scan), "scan.png")
plot.save_figure(plot.plot_compare([scan]), "compare.pdf")
assert "matplotlib.figure" in sys.modules
assert "matplotlib.pyplot" not in sys.modules
"""
    run = subprocess.run([sys.executable, "-P", "-c", script], cwd=tmp_path, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr


@pytest.mark.parametrize("draw", [plot_scan, lambda scan: plot_compare([scan]), fm.plot_scan])
def test_without_matplotlib(monkeypatch, draw):
    scan = made()
    for name in [name for name in sys.modules if name.partition(".")[0] == "matplotlib"]:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ImportError) as caught:
        draw(scan)
    assert str(caught.value) == 'figures need matplotlib: pip install "fastmoments[plot]"'
    assert caught.value.__suppress_context__


def test_nets_of_different_depth_are_drawn_over_their_share_of_it():
    images = fm.load_images("synthetic:4x4", 4)
    head = fm.Network([fm.Network(fm.bn_res(3, 1).layers), fm.Dense(5)], [fm.Conv(1)], "with a head")
    scans = [fm.scan(net, images) for net in (fm.bn_ff(8, 1), head)]
    figure = plot_compare(scans)
    title = "Sensitivity: an exponential is straight"
    linear = next(axes for axes in figure.axes if axes.get_title("left") == title)
    assert linear.get_xlabel() == "share of the depth"
    for line, scan in zip(linear.lines, scans, strict=True):
        np.testing.assert_array_equal(line.get_xdata(), scan.depth / scan.depth[-1])
        np.testing.assert_array_equal(line.get_ydata(), scan["chi"])  # to the end of a net whose units differ
