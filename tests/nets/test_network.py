import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastmoments.nets import families
from fastmoments.nets.layers import BatchNorm, Conv, ReLU
from fastmoments.nets.network import Network, Residual, output_grid, walk

CONV, RELU, NORM = Conv(), ReLU(), BatchNorm()
LAYERS = st.recursive(
    st.sampled_from([CONV, RELU, NORM]),
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
