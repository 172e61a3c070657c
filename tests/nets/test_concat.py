"""Branches side by side: what a Concat is made of, its stations, and how many channels each branch has."""

import pickle

import pytest

from fastmoments.nets.activations import ReLU
from fastmoments.nets.concat import Concat, concatenated_channels
from fastmoments.nets.dense import Dense
from fastmoments.nets.fixed import Flatten
from fastmoments.nets.layers import describe
from fastmoments.nets.linear import Conv
from fastmoments.nets.network import Network, Residual
from fastmoments.nets.norms import BatchNorm
from fastmoments.nets.toml import load_network, network_from_dict

CONV, RELU, NORM = Conv(), ReLU(), BatchNorm()
LAYER = Concat([(), (NORM, RELU, CONV)])
SHAPE = (2, 8, 8, 3)


def test_its_branches_stand_under_names_of_their_own():
    assert LAYER.stacks == ("branch0", "branch1") and LAYER.branch1 == (NORM, RELU, CONV)
    assert Concat(((), [NORM, RELU, CONV])) == LAYER and hash(LAYER) == hash(Concat(LAYER.branches))
    assert pickle.loads(pickle.dumps(LAYER)).branch1 == LAYER.branch1


def test_a_unit_begins_at_it_and_is_named_as_a_residual_one():
    net = Network([LAYER, LAYER, NORM, RELU, CONV], stem=[CONV])
    assert net.depth == 3 and not net.fully_connected
    assert net.locs(1) == ("input", "norm", "act", "conv", "merge")
    assert [place.path for place in net.places(2)] == [
        "layers.1.branch1.0", "layers.1.branch1.1", "layers.1.branch1.2", "layers.1", "layers.2", "layers.3",
    ]  # fmt: skip
    two = Concat([(CONV,), (CONV, NORM, RELU)])
    assert Network([two]).locs(1) == ("input", "conv", "merge")


def test_sizes_and_channels_are_those_of_its_branches():
    layer = Concat([(Conv(stride=2, channels=8),), (Conv(channels=4), Conv(stride=2, channels=5)), (CONV,)])
    assert layer.output_grid((7, 5)) == (4, 3)
    assert layer.branch_channels(3, (7, 5), 64) == (8, 5, 64) and layer.output_channels(3, (7, 5), 64) == 77
    assert Concat([(), (Conv(groups="depthwise"),)]).branch_channels(3, (7, 5), 64) == (3, 3)


def test_its_layers_are_changed_by_their_places():
    seen = []
    other = LAYER.rebuilt(lambda *given: seen.append(given) or (Conv(1) if given[2] == CONV else given[2]))
    assert other == Concat([(), (NORM, RELU, Conv(1))])
    assert seen == [("branch1", 0, NORM), ("branch1", 1, RELU), ("branch1", 2, CONV)]
    wide = Network([Concat([(), (Conv(channels=4),)]), Conv(channels=2), RELU, Dense(3)]).widened(2.0)
    assert wide.layers[0] == Concat([(), (Conv(channels=8),)])


def test_channels_are_followed_through_the_net():
    given = Concat([(), (Conv(channels=4),)])
    net = Network([given, Residual([given, CONV], [CONV]), Flatten(), Concat([(), (Dense(6),)])])
    with pytest.raises(ValueError, match=r"Concat at layers\.3: the shares .* channels= "):
        concatenated_channels(net, SHAPE)
    found = concatenated_channels(Network([given, Network([given], stem=[given]), Flatten(), given]), SHAPE)
    assert found == {
        "layers.0": (3, 4), "layers.1.stem.0": (7, 4), "layers.1.layers.0": (11, 4), "layers.3": (15 * 64, 4),
    }  # fmt: skip
    alike = concatenated_channels(Network([LAYER, LAYER], stem=[CONV]), SHAPE)
    assert alike == {"layers.0": (1, 1), "layers.1": (2, 1)}
    inside = Network([Residual([given, CONV])], stem=[Conv(channels=2)])
    assert concatenated_channels(inside, SHAPE) == {"layers.0.branch.0": (2, 4)}
    assert concatenated_channels(Network([CONV]), SHAPE) == {}


@pytest.mark.parametrize(
    ("branches", "said"),
    [
        (3, "Concat: branches must be a sequence of stacks, not 3"),
        ([CONV, RELU], "Concat: branch 1 must be a sequence of layers"),
        ([(CONV,), (RELU, 3)], "Concat: branch 2 may hold .* it got 3"),
        ([(CONV,)], "two branches at least"),
        ([(), ()], "not all of them empty"),
    ],
)
def test_what_it_refuses(branches, said):
    with pytest.raises(ValueError, match=said):
        Concat(branches)


def test_its_table_and_back(tmp_path):
    path = tmp_path / "dense.toml"
    path.write_text(
        'stem = [{type = "Conv"}]\nlayers = [{repeat = 3, layers = [{type = "Concat", branches = [[], '
        '[{type = "BatchNorm"}, {type = "ReLU"}, {type = "Conv"}]]}]}]'
    )
    net = load_network(path)
    assert net.layers == (LAYER,) * 3
    assert network_from_dict({"layers": [describe(LAYER)]}).layers == (LAYER,)
    for branches, said in (
        (3, r"layers\[1\]\.branches must be an array of arrays"),
        ([[], [{"type": "Conf"}]], r"layers\[1\]\.branches\[2\]\[1\]: type .*did you mean 'Conv'"),
        ([[], {}], r"branches\[2\] must be an array of tables"),
    ):
        with pytest.raises(ValueError, match=said):
            network_from_dict({"layers": [{"type": "Concat", "branches": branches}]})
