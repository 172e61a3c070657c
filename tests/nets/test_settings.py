"""Parameters of layers by their paths."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

import fastmoments as fm
from fastmoments.nets.network import walk
from fastmoments.nets.settings import is_path, setting, settings, with_setting
from fastmoments.nets.zoo import NETS

UNIT = fm.Residual((fm.BatchNorm(0.5), fm.ReLU(), fm.Conv(3)), scale=0.25)
NET = fm.Network((UNIT, fm.ReLU(), fm.Network((UNIT,)), fm.Dense(10)), (fm.Conv(7),), "net")


@pytest.mark.parametrize(
    ("path", "before", "value", "changed"),
    [
        ("layers.0.scale", 0.25, 0.5, ["layers.0"]),
        ("layers.*.scale", 0.25, 0.5, ["layers.0"]),
        ("layers.0.branch.0.epsilon", 0.5, 0.1, ["layers.0.branch.0"]),
        ("layers.0.branch.*.gain", 2.0, 1.5, ["layers.0.branch.2"]),
        ("layers.2.layers.0.branch.2.kernel_size", 3, 5, ["layers.2.layers.0.branch.2"]),
        ("layers.*.layers.*.branch.*.padding", "periodic", "zeros", ["layers.2.layers.0.branch.2"]),
        ("stem.0.gain", 2.0, 1.0, ["stem.0"]),
        ("layers.3.channels", 10, None, ["layers.3"]),
        ("layers.3.bias_variance", 0.0, 0.1, ["layers.3"]),
    ],
)
def test_a_value_is_set_there_and_nowhere_else(path, before, value, changed):
    name = path.rpartition(".")[2]
    assert setting(NET, path) == before
    net = with_setting(NET, path, value)
    assert setting(net, path) == value
    assert (net.name, net.depth) == (NET.name, NET.depth)

    def all_of(network):
        both = list(network.inside(""))
        return {
            where: settings(layer)
            for where, layer in walk([layer for _, layer in both], *(where for where, _ in both))
        }

    wanted = all_of(NET)
    for where in changed:
        wanted[where] = wanted[where] | {name: value}
    assert all_of(net) == wanted
    assert with_setting(net, path, before) == NET


@given(st.sampled_from([*NETS]))
def test_setting_what_is_there_changes_nothing(name):
    net = NETS[name]()
    for path in ("layers.0", *(where for where, _ in list(net.inside(""))[-2:])):
        for parameter, value in settings(
            dict(walk([each for _, each in net.inside("")], *(where for where, _ in net.inside(""))))[path]
        ).items():
            assert with_setting(net, f"{path}.{parameter}", value) == net  # fmt: skip


def test_a_preset_with_a_setting_is_quoted_by_its_layers():
    net = with_setting(fm.bn_res(2), "layers.*.scale", 0.5)
    assert net == fm.bn_res(2, scale=0.5)
    assert net.architecture()["layers"][0]["repeat"] == 2


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("gain", "net has no parameter gain: it has stem.0 and layers.0 to layers.3."),
        ("layer.0.gain", "net has no parameter layer.0.gain: it has stem.0 and layers.0 to layers.3."),
        ("layers.4.gain", "net has no parameter layers.4.gain: it has stem.0 and layers.0 to layers.3."),
        ("layers.gain", "net has no parameter layers.gain: it has stem.0 and layers.0 to layers.3."),
        ("layers.0.branch.3.gain", "layers.0 has branch.0 to branch.2."),
        ("layers.*.brunch.0.gain", "layers.* has branch.0 to branch.2 and layers.0."),
        ("layers.1.branch.0.gain", "layers.1 holds no layers."),
        ("layers.0.epsilon", "net has no parameter layers.0.epsilon: layers.0 is Residual, with scale."),
        (
            "layers.0.branch.0.epsilom",
            "(did you mean 'epsilon'?): layers.0.branch.0 is BatchNorm, with epsilon, gamma, beta, noise, "
            "statistics.",
        ),
        ("layers.1.gain", "layers.1 is ReLU, with no parameters."),
        ("layers.2.name", "has no parameter layers.2.name: layers.2 has layers.0."),
    ],
)
def test_what_is_not_there_is_refused_with_what_is(path, words):
    with pytest.raises(ValueError, match="no parameter") as caught:
        with_setting(NET, path, 1.0)
    assert str(caught.value).endswith(words)


def test_a_value_out_of_range_is_refused_where_it_is():
    with pytest.raises(ValueError, match=r"^layers\.0\.branch\.2: Gaussian: gain must be a finite positive"):
        with_setting(NET, "layers.*.branch.*.gain", -1.0)


def test_paths_have_points():
    assert is_path("layers.0.gain")
    assert not is_path("gain")
