"""Norms with a deterministic divisor on a walk at infinite width, against wide random nets."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

import fastmoments as fm
from fastmoments.nets.network import Network, Residual

RELU, CONV, ONE = fm.ReLU(), fm.Conv(padding="zeros"), fm.Gaussian(gain=1.0)
NORMS = {
    "layer": fm.LayerNorm(0.1, gamma=1.5),
    "image": fm.LayerNorm(0.1, over="image"),
    "group": fm.GroupNorm(4, 0.1),
    "population": fm.BatchNorm(0.1, statistics="population"),
}
IMAGES = fm.load_images("synthetic:8x8x3", 6, seed=0)
#: With so many channels that what signal and noise share behind the first activation is small.
MANY = fm.load_images("synthetic:8x8x48", 6, seed=0)


def nets(norm):
    branch = [norm, fm.Dense(), RELU, fm.Dense(weights=ONE)]
    return {
        "before": Network([CONV, norm, RELU] * 3),
        "behind": Network([CONV, RELU, norm] * 3),
        "pre-norm": Network([Residual(branch)] * 3, stem=[CONV]),
        "post-norm": Network([Residual([CONV, RELU, CONV]), norm] * 2, stem=[CONV]),
        "fully connected": Network([fm.Dense(), norm, RELU] * 3),
    }


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("name", ["before", "behind", "pre-norm", "post-norm", "fully connected"])
def test_moments_are_those_of_wide_nets(norm, name):
    """Extrapolated to infinite width."""
    images = MANY if (norm, name) == ("layer", "behind") else IMAGES
    found = fm.verify(nets(NORMS[norm])[name], images, widths=(64, 128, 256), nets=24)
    assert found.agrees, [(row.depth, row.loc, row.moment, row.z) for row in found.rows]


def test_behind_a_layer_norm_every_point_has_the_same_size():
    scan = fm.scan(nets(fm.LayerNorm(0.0))["before"], IMAGES)
    assert_allclose(scan["nu2_signal", "norm"], 1.0, rtol=1e-12)


def test_a_large_batch_normalises_as_a_population():
    """Many independent images: the batch's deviation is the same in every channel."""
    images = np.random.default_rng(0).standard_normal((300, 1, 1, 300))
    found = [
        fm.scan(Network([fm.Dense(), fm.BatchNorm(statistics=statistics), RELU] * 2), images)["log_chi"]
        for statistics in ("batch", "population")
    ]
    assert_allclose(found[0], found[1], rtol=0, atol=0.02)


def test_what_is_not_known_is_refused():
    for norm in (fm.LayerNorm(), fm.GroupNorm(4)):
        with pytest.raises(ValueError, match=r"of a signal with few channels \(images\)"):
            fm.scan(Network([norm, CONV]), IMAGES)
    with pytest.raises(ValueError, match="whose channels may differ from group to group"):
        fm.scan(Network([CONV, RELU, fm.Flatten(), fm.GroupNorm(4)]), IMAGES)
    beside = fm.Concat([(), (fm.Conv(channels=64),)])
    for layers in ([Residual([CONV])], [beside], [beside, fm.AvgPool(2)], [beside, Residual([CONV])]):
        with pytest.raises(ValueError, match=r"of a signal with few channels \(mixed with images\)"):
            fm.estimate(Network([*layers, fm.LayerNorm(), CONV]), IMAGES)
    with pytest.raises(ValueError, match=r"BatchNorm of a signal that is not Gaussian \(images\)"):
        fm.scan(Network([NORMS["population"], CONV]), IMAGES)
    for norm in NORMS.values():
        with pytest.raises(ValueError, match="finite"):
            fm.scan(Network([CONV, norm, RELU] * 2), IMAGES, fm.FiniteWidth(64))


def test_behind_a_branch_of_no_scale_the_means_are_those_of_the_shortcut():
    unit = Residual([CONV, fm.BatchNorm(0.5)], [fm.BatchNorm()], scale=0.0)
    norms = (RELU, fm.LayerNorm(0.1), CONV)
    found, wanted = (fm.scan(Network([CONV, layer, *norms]), IMAGES) for layer in (unit, fm.BatchNorm()))
    assert_allclose(found["log_nu2_signal"][-1], wanted["log_nu2_signal"][-1], rtol=0, atol=1e-12)


GELU, V1 = fm.GELU(), Residual([CONV, RELU, CONV])
#: Nets with a norm, None here, of a signal that is no Gaussian, and has a mean over its channels.
BEHIND = {
    "smooth": [CONV, GELU, None] * 3,
    "smooth, fully connected": [fm.Dense(), fm.Softplus(), None] * 3,
    "merge": [CONV, RELU, Residual([CONV, RELU, CONV]), None, CONV],
    "activation behind a merge": [CONV, RELU, V1, RELU, None, CONV, RELU, V1, RELU, None, CONV],
    "batch norm": [CONV, fm.BatchNorm(), RELU, None, CONV],
}
#: The same where no more than second moments and the mean are known, which GroupNorm is refused for.
MOVED = {
    "average": [CONV, GELU, fm.AvgPool(2), None, CONV, RELU],
    "flattened": [CONV, GELU, fm.Scale(-2.0), fm.Flatten(), fm.Dropout(), None, fm.Dense()],
    "drawn": [CONV, RELU, fm.MaxPool(2), None, CONV, RELU],
    "branches": [CONV, fm.Concat([[RELU], [CONV, GELU]]), None, CONV],
    "depthwise": [CONV, fm.Conv(groups="depthwise"), None, CONV, GELU],
    "smooth shortcut": [CONV, GELU, [None, CONV, fm.Tanh(), CONV], None, CONV],
    "branch with a mean": [CONV, RELU, Residual([CONV, fm.SiLU()], [CONV]), None, CONV],
    "batch norm of a population": [CONV, GELU, fm.BatchNorm(statistics="population"), None, CONV],
    "norm": [CONV, GELU, fm.LayerNorm(0.1, over="image"), None, CONV],
}


def with_norm(layers, norm):
    def put(layer):
        if isinstance(layer, list):  # a branch
            return Residual(with_norm(layer, norm))
        return norm if layer is None else layer

    return [put(layer) for layer in layers]


@pytest.mark.parametrize("norm", ["layer", "image", "group"])
@pytest.mark.parametrize("name", [*BEHIND, *MOVED])
def test_norms_of_a_signal_with_a_mean_over_channels(norm, name):
    if norm == "group" and name in MOVED:
        return
    network = Network(with_norm((BEHIND | MOVED)[name], NORMS[norm]))
    found = fm.verify(network, MANY, widths=(64, 128, 256), nets=24)
    assert found.agrees, [(row.depth, row.loc, row.moment, row.z) for row in found.rows]


def test_units_that_begin_with_a_norm_of_what_an_activation_left():
    """The mean over channels is kept from unit to unit."""
    net = Network(
        [Residual([CONV, RELU, fm.LayerNorm(0.1), CONV]), RELU, Residual([fm.LayerNorm(0.1), CONV])],
        stem=[CONV],
    )
    found = fm.verify(net, IMAGES, widths=(64, 128, 256), nets=24)
    assert found.agrees, [(row.depth, row.loc, row.moment, row.z) for row in found.rows]


@pytest.mark.parametrize("epsilon", [0.0, 0.5])
@pytest.mark.parametrize("layers", [[CONV], [fm.Conv(1), fm.Conv(2)], [fm.Flatten(), fm.Dense()]])
def test_the_noise_along_the_signal_is_taken_off_where_inputs_are_few(layers, epsilon):
    """Given grey images the channels of one layer are independent: no width but that of the norm matters."""
    images = fm.load_images("synthetic:4x4x1", 4, seed=0)
    net = Network([*layers, fm.LayerNorm(epsilon), fm.Conv()])
    norm = f"layers.{len(layers)}"
    found = fm.scan(net, images).station(norm).mean["mu2_noise"]
    sampled = fm.scan(net, images, fm.Sampled(512, 150)).station(norm)
    error = np.hypot(sampled.sigma["mu2_noise"] / np.sqrt(150), 3e-3 * found)
    assert abs(found - sampled.mean["mu2_noise"]) < 3.5 * error


def test_a_unit_behind_strides_forgets_the_mean_of_the_points_before_them():
    """As ConvNeXt's stages begin; a mean that is kept at another number of points was added to theirs."""
    unit = Residual([CONV, fm.LayerNorm(0.1), fm.Dense(), fm.GELU(), fm.Dense(weights=ONE)])
    net = Network([fm.LayerNorm(0.1), fm.Conv(2, stride=2, padding="zeros", pad=0), unit], stem=[CONV])
    found = fm.verify(net, IMAGES, widths=(64, 128, 256), nets=24)
    assert found.agrees, [(row.depth, row.loc, row.moment, row.z) for row in found.rows]
