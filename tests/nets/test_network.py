"""How layers nest: units of depth, paths, stations, what a net says of itself."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastmoments.nets import families
from fastmoments.nets.activations import ReLU
from fastmoments.nets.dense import Dense
from fastmoments.nets.fixed import AvgPool, Dropout, Flatten, GlobalAvgPool
from fastmoments.nets.linear import Conv
from fastmoments.nets.max_pool import MaxPool
from fastmoments.nets.network import Network, Residual, output_channels, output_grid, unrolled, walk
from fastmoments.nets.norms import BatchNorm

CONV, RELU, NORM = Conv(), ReLU(), BatchNorm()
LAYERS = st.recursive(
    st.sampled_from([CONV, Conv(1), RELU, NORM]),
    lambda inner: st.builds(
        lambda branch, shortcut: Residual((*branch, CONV), shortcut),
        st.lists(inner, max_size=3), st.lists(inner, max_size=2),
    )
    | st.builds(lambda layers, stem: Network(layers, stem), st.lists(inner, max_size=3), st.just(())),
    max_leaves=12,
)  # fmt: skip


def at(network, path):
    """The layer at a path, by following it name by name."""
    steps = path.split(".")
    for stack, index in zip(steps[::2], steps[1::2], strict=True):
        network = getattr(network, stack)[int(index)]
    return network


def test_units_of_a_flat_stack_begin_with_a_convolution():
    assert Network([CONV, RELU] * 3).units == ((CONV, RELU),) * 3
    assert Network([NORM, RELU, CONV, NORM, CONV]).units == ((NORM, RELU, CONV, NORM), (CONV,))
    assert Network().depth == 0


def test_what_follows_a_merge_belongs_to_its_unit():
    skip = Residual([CONV])
    network = Network([CONV, skip, RELU, skip, NORM, RELU, CONV])
    assert network.units == ((CONV,), (skip, RELU), (skip, NORM, RELU), (CONV,))
    assert Network([RELU, skip, RELU]).units == ((RELU,), (skip, RELU))
    assert network.locs(2) == ("input", "conv", "merge", "out")
    assert network.locs(3) == ("input", "conv", "merge", "out")
    assert [place.path for place in network.places(3)] == [
        "layers.3.branch.0", "layers.3", "layers.4", "layers.5",
    ]  # fmt: skip


def test_stations_are_met_in_order():
    locs = {name: family(1).locs(1) for name, family in families.FAMILIES.items()}
    assert locs == {
        "vanilla": ("input", "conv", "act"),
        "residual": ("input", "act", "conv", "branch", "merge"),
        "bn_ff": ("input", "conv", "norm", "act"),
        "bn_res": ("input", "norm", "act", "conv", "branch", "merge"),
    }
    assert families.bn_res(1, res_depth=1).locs(1) == ("input", "norm", "act", "conv", "merge")


def test_paths_of_nested_units():
    inner = Residual([RELU, CONV])
    unit = Residual([CONV, inner], shortcut=[CONV])
    network = Network([Network([unit, RELU]), CONV], stem=[CONV])
    assert [(place.path, place.loc) for place in network.places(1)] == [
        ("layers.0.layers.0.branch.0", "conv"),
        ("layers.0.layers.0.branch.1.branch.0", None),
        ("layers.0.layers.0.branch.1.branch.1", None),
        ("layers.0.layers.0.branch.1", "branch"),
        ("layers.0.layers.0.shortcut.0", None),
        ("layers.0.layers.0", "merge"),
        ("layers.0.layers.1", "out"),
    ]
    assert network.entrance(1) == ("stem.0", CONV)
    assert network.entrance(2) == ("layers.0.layers.1", RELU)
    assert Network([CONV]).entrance(1) == ("", None)


@given(st.lists(LAYERS, max_size=4))
def test_every_layer_has_one_path(layers):
    network = Network(layers)
    found = [place for depth in range(1, network.depth + 1) for place in network.places(depth)]
    assert len({place.path for place in found}) == len(found)
    assert all(at(network, place.path) is place.layer for place in found)
    whole = [layer for _, layer in walk([network])]
    assert [place.layer for place in found] == whole
    for depth in range(1, network.depth + 1):
        locs = network.locs(depth)
        assert len(set(locs)) == len(locs)


@pytest.mark.parametrize("side", [7, 8])
def test_sizes_behind_a_stack(side):
    strided = Conv(stride=2)
    half = -(-side // 2)
    assert output_grid([strided], (side, side + 1)) == (half, -(-(side + 1) // 2))
    unit = Residual([CONV, strided], shortcut=[Conv(1, stride=2)])
    assert output_grid([unit, Network([strided], stem=[RELU])], (side, side)) == (-(-half // 2),) * 2


@given(st.lists(LAYERS, max_size=6))
def test_units_are_the_stack_cut_where_depth_begins(layers):
    network = Network(layers)
    flat = [layer for _, layer in unrolled(layers, "", "")]
    assert [layer for unit in network.units for layer in unit] == flat
    assert network.depth == len(network.units)
    for unit in network.units:
        heads = [layer for layer in unit if isinstance(layer, (Conv, Residual))]
        assert len([layer for layer in heads if isinstance(layer, Residual)]) <= 1
        assert len(heads) <= 1 and (not heads or heads == [unit[0]] or unit is network.units[0])


@given(st.lists(LAYERS, max_size=5), st.lists(LAYERS, max_size=2))
def test_what_a_net_has_is_what_its_layers_are(layers, stem):
    network = Network(layers, stem)
    leaves = {layer for _, layer in walk([*stem, *layers]) if not layer.stacks}
    assert set(network.distinct) == leaves and len(network.distinct) == len(leaves)
    convs = {layer for layer in leaves if isinstance(layer, Conv)}
    assert set(network.convolutions()) == convs
    assert network.kernel_size == max((conv.kernel_size for conv in convs), default=1)
    assert network.fully_connected == all(conv.kernel_size == 1 for conv in convs)
    assert network.has(BatchNorm) == (NORM in leaves)


def test_a_net_is_normalised_when_every_unit_is():
    inside, outside = Residual([NORM, CONV]), Residual([CONV], [NORM])
    assert Network([inside] * 3).normalised
    assert not Network([inside, outside]).normalised
    assert not Network([CONV, NORM, CONV]).normalised
    head = [CONV, GlobalAvgPool()]
    assert Network([inside, *head]).spreading and not Network([inside, *head]).normalised
    assert not Network([CONV] * 2).spreading
    assert not Network([inside, *head, ReLU()]).spreading and not Network([outside, ReLU()]).spreading
    assert {name for name, family in families.FAMILIES.items() if family(3).normalised} == {"bn_ff", "bn_res"}


def test_architecture_folds_a_periodic_stack():
    described = Network([Conv(5), ReLU()] * 40, stem=[Conv(stride=2)]).architecture()
    assert described["layers"] == [
        {"repeat": 40, "layers": [{"type": "Conv", "kernel_size": 5}, {"type": "ReLU"}]}
    ]
    assert described["stem"] == [{"type": "Conv", "stride": 2}]


@pytest.mark.parametrize("scale", [-0.5, np.nan, np.inf, "1", None])
def test_scales_that_are_none(scale):
    with pytest.raises(ValueError, match="scale must be a finite non-negative number"):
        Residual([Conv()], scale=scale)


def test_channels_are_followed_through_a_net():
    """A layer gives its own number, or the width of the engine; flattened, those of all positions."""
    unit = Residual([Conv(3, channels=8), ReLU(), Conv(3)])
    net = Network([unit, AvgPool(2), Flatten(), Dense(10)], stem=[Conv(3, channels=4)])
    assert net.output_channels(3, (6, 4), 16) == 10
    assert output_channels(net.stem, 3, (6, 4), 16) == 4
    assert output_channels([*net.stem, *net.layers[:2]], 3, (6, 4), 16) == 16
    assert output_channels([*net.stem, *net.layers[:3]], 3, (6, 4), 16) == 16 * 6


def test_channel_numbers_are_those_a_net_says():
    net = Network(
        [
            Conv(3, channels=8), Network([ReLU(), Conv(3, stride=2)], stem=[MaxPool(2)]),
            Residual([Conv(1, channels=5), Conv(1, channels=6)], [Conv(1, channels=6)]),
            Flatten(), Dense(10),
        ],
        stem=[Dropout()],
    )  # fmt: skip
    inner = {"layers.1.stem.0": 8, "layers.1.layers.0": 8, "layers.1.layers.1": None}
    unit = {"layers.2.branch.0": 5, "layers.2.branch.1": 6, "layers.2.shortcut.0": 6, "layers.2": 6}
    found = net.channel_numbers(3, (8, 8))
    assert found.pop("layers.1") is None  # the network itself, which has no station
    assert found == {"": 3, "stem.0": 3, "layers.0": 8, **inner, **unit, "layers.3": 24, "layers.4": 10}
    assert Network([Conv(3), Flatten()]).channel_numbers(1, (4, 4))["layers.1"] is None
