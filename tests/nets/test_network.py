"""How layers nest: units of depth, stations, what a net says of itself."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastmoments.nets import families
from fastmoments.nets.layers import BatchNorm, Conv, ReLU
from fastmoments.nets.network import Network, Residual, unit_locs

layers = st.sampled_from([Conv(), Conv(1), ReLU(), BatchNorm(), Residual([Conv()], [Conv(1)])])


def test_units_of_a_flat_stack_begin_with_a_convolution():
    conv, relu, norm = Conv(), ReLU(), BatchNorm()
    skip = Residual([conv])
    assert Network([conv, relu] * 3).units == ((conv, relu),) * 3
    assert Network([norm, relu, conv, norm, conv]).units == ((norm, relu, conv, norm), (conv,))
    assert Network([conv, skip, skip, relu, conv]).units == ((conv,), (skip,), (skip,), (relu,), (conv,))
    assert Network().depth == 0


def test_stations_are_met_in_order():
    locs = {name: unit_locs(family(1).units[0]) for name, family in families.FAMILIES.items()}
    assert locs == {
        "vanilla": ("input", "conv", "act"),
        "residual": ("input", "act", "conv", "merge"),
        "bn_ff": ("input", "conv", "norm", "act"),
        "bn_res": ("input", "norm", "act", "conv", "merge"),
    }


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


@given(st.lists(layers, max_size=12))
def test_units_are_the_stack_cut_where_depth_begins(stack):
    network = Network(stack)
    assert [layer for unit in network.units for layer in unit] == stack
    for unit in network.units:
        assert len(unit) == 1 or not any(isinstance(layer, Residual) for layer in unit)
        assert sum(isinstance(layer, Conv) for layer in unit) <= 1
    assert network.depth == len(network.units)


@given(
    st.lists(layers, max_size=8), st.lists(layers.filter(lambda x: not isinstance(x, Residual)), max_size=2)
)
def test_what_a_net_has_is_what_its_layers_are(stack, stem):
    network = Network(stack, stem)
    flat = [*stem]
    for layer in stack:
        flat += [*layer.branch, *layer.shortcut] if isinstance(layer, Residual) else [layer]
    assert set(network.distinct) == set(flat)
    convs = {layer for layer in flat if isinstance(layer, Conv)}
    assert set(network.convolutions()) == convs
    assert network.kernel_size == max((conv.kernel_size for conv in convs), default=1)
    assert network.fully_connected == all(conv.kernel_size == 1 for conv in convs)
    assert network.has(BatchNorm) == (BatchNorm() in flat)


def test_a_net_is_normalised_when_every_unit_is():
    inside, outside = Residual([BatchNorm(), Conv()]), Residual([Conv()], [BatchNorm()])
    assert Network([inside] * 3).normalised
    assert not Network([inside, outside]).normalised
    assert not Network([Conv(), BatchNorm(), Conv()]).normalised
