"""Weights drawn for a net: which layers have some, their shapes and variances."""

import numpy as np
import pytest

import fastmoments as fm
from fastmoments.nets.drawing import drawn_weights

NET = fm.Network(
    (
        fm.Residual(
            (fm.BatchNorm(), fm.ReLU(), fm.Conv(3, stride=2)), (fm.Conv(1, stride=2, channels=6),), scale=0.5
        ),
        fm.Network((fm.Conv(3, groups="depthwise"), fm.Conv(1, groups=3, channels=9))),
        fm.Flatten(),
        fm.Dense(10, fm.Gaussian(gain=1.0, bias_variance=4.0)),
    ),
    stem=(fm.Conv(3, channels=12),),
)


def test_every_layer_that_has_weights_has_them_in_the_shapes_of_pytorch():
    net = fm.sample_weights(NET, (8, 8, 3), width=6, seed=1)
    shapes = {path: {name: each.shape for name, each in of.items()} for path, of in net.weights.items()}
    assert shapes == {
        "stem.0": {"weight": (12, 3, 3, 3)},
        "layers.0.branch.2": {"weight": (6, 12, 3, 3)},
        "layers.0.shortcut.0": {"weight": (6, 12, 1, 1)},
        "layers.1.layers.0": {"weight": (6, 1, 3, 3)},
        "layers.1.layers.1": {"weight": (9, 2, 1, 1)},
        "layers.3": {"weight": (10, 9 * 16), "bias": (10,)},
    }
    assert net == NET


def test_the_same_seed_gives_the_same_net():
    digests = [fm.sample_weights(NET, (8, 8, 3), width=6, seed=seed).weights.digest for seed in (1, 1, 2)]
    assert digests[0] == digests[1] != digests[2]


def test_variances_are_those_of_the_layer():
    profile = ((0.0, 1.0, 2.0), (1.0, 1.0, 1.0), (1.0, 1.0, 1.0))
    conv = fm.Conv(3, fm.Gaussian(gain=3.0, bias_variance=0.25, tap_variances=profile))
    arrays = fm.sample_weights(fm.Network((conv, conv)), (4, 4, 3), width=300, seed=0).weights["layers.1"]
    found = np.mean(arrays["weight"] ** 2, axis=(0, 1))
    wanted = 3.0 / (9 * 300) * np.array(profile) / np.mean(profile)
    np.testing.assert_allclose(found, wanted, rtol=0.03)
    assert np.var(arrays["bias"]) == pytest.approx(0.25, rel=0.3)


def test_a_fully_connected_net_flattens():
    net = fm.sample_weights(fm.Network((fm.Conv(1),)), (4, 5, 3), width=7)
    assert net.weights["layers.0"]["weight"].shape == (7, 60, 1, 1)


def test_the_draw_is_that_of_a_simulation():
    """By taps and channels, in single precision."""
    weights = drawn_weights(fm.Conv(3), 5, 7, np.random.default_rng(3))
    again = np.random.default_rng(3).standard_normal((45, 7), dtype=np.float32) / np.sqrt(45)
    np.testing.assert_allclose(weights, again, rtol=1e-6)
    assert weights.dtype == np.float32


@pytest.mark.parametrize(
    ("arguments", "options", "said"),
    [
        ((3, (4, 4, 3)), {}, "fastmoments Network"),
        ((NET, 5), {}, "height, width, channels"),
        ((NET, (4, 4, 0)), {}, "channels must be a positive whole number"),
        ((NET, (4, 4, 3)), {"width": 0}, "width must be"),
        ((NET, (4, 4, 3)), {"seed": -1}, "seed must be"),
        ((fm.Network((fm.Conv(3, groups=2),)), (4, 4, 3)), {}, "2 groups do not divide the 3 channels"),
    ],
)
def test_what_cannot_be_drawn_is_refused(arguments, options, said):
    with pytest.raises(ValueError, match=said):
        fm.sample_weights(*arguments, **options)
