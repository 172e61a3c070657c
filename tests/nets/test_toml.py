import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastmoments.nets.activations import (
    APPROXIMATIONS,
    ELU,
    GELU,
    Abs,
    Activation,
    Erf,
    HardSwish,
    LeakyReLU,
    Mish,
    ReLU,
    SiLU,
    Sin,
    Softplus,
    Tanh,
)  # fmt: skip
from fastmoments.nets.dense import Dense
from fastmoments.nets.families import FAMILIES, bn_res
from fastmoments.nets.fixed import AvgPool, Dropout, Flatten, GlobalAvgPool, Scale
from fastmoments.nets.geometry import PADDINGS
from fastmoments.nets.layer_norm import OVER, GroupNorm, LayerNorm
from fastmoments.nets.linear import Conv, Gaussian
from fastmoments.nets.max_pool import MaxPool
from fastmoments.nets.network import Network, Residual
from fastmoments.nets.norms import NOISES, STATISTICS, BatchNorm
from fastmoments.nets.toml import load_network, network_from_dict, network_from_toml
from fastmoments.nets.zoo import NETS

positive = st.floats(1e-6, 1e6, allow_nan=False)
profiles = st.none() | st.lists(st.integers(1, 9), min_size=3, max_size=3).map(
    lambda row: [row, row[::-1], row]
)
weighted = st.builds(Conv, weights=st.builds(Gaussian, tap_variances=profiles))
convs = weighted | st.builds(
    Conv,
    kernel_size=st.integers(1, 7),
    weights=st.builds(Gaussian, gain=positive, bias_variance=st.just(0.0) | positive),
    stride=st.integers(1, 3),
    padding=st.sampled_from(PADDINGS),
    dilation=st.integers(1, 3),
    pad=st.none() | st.integers(0, 3),
)
simple = (
    convs
    | st.just(ReLU())
    | st.builds(BatchNorm, epsilon=st.just(0.0) | positive, noise=st.sampled_from(NOISES))
)
stacks = st.lists(simple, max_size=3).map(tuple)
residuals = st.builds(
    lambda before, conv, after, shortcut, scale: Residual((*before, conv, *after), shortcut, scale),
    stacks, convs, stacks, stacks, st.just(1.0) | st.floats(0.0, 2.0),
)  # fmt: skip
networks = st.builds(
    lambda period, repeat, stem, name: Network(period * repeat, stem, name),
    st.lists(simple | residuals, max_size=4).map(tuple),
    st.integers(1, 5),
    stacks,
    st.text(min_size=1),
)


# Every kind of layer: its numbers and choices drawn, as far as they are taken together.
others = st.one_of(
    st.builds(Dense, channels=st.none() | st.integers(1, 64), weights=st.builds(Gaussian, gain=positive)),
    st.builds(LeakyReLU, positive),
    st.builds(ELU, positive),
    st.builds(GELU, st.sampled_from(APPROXIMATIONS)),
    st.sampled_from([Abs(), Erf(), Sin(), Tanh(), SiLU(), Softplus(), HardSwish(), Mish()]),
    st.builds(MaxPool, st.integers(2, 5), st.none() | st.integers(1, 3), st.sampled_from([None, 0, 1])),
    st.builds(AvgPool, st.integers(2, 5), st.none() | st.integers(1, 3), st.sampled_from([None, 0, 1])),
    st.sampled_from([GlobalAvgPool(), Flatten()]),
    st.builds(Scale, positive),
    st.builds(Dropout, st.floats(0.0, 1.0)),
    st.builds(LayerNorm, positive, st.sampled_from(OVER), positive),
    st.builds(GroupNorm, st.integers(1, 64), positive, positive),
    st.builds(Conv, channels=st.integers(1, 512), groups=st.integers(1, 8)),
    st.just(Conv(groups="depthwise")),
    st.builds(BatchNorm, positive, positive, st.floats(-1e9, 1e9), statistics=st.sampled_from(STATISTICS)),
)  # fmt: skip
anything = st.recursive(
    st.lists(simple | others, min_size=1, max_size=4).map(tuple),
    lambda inside: st.tuples(
        st.builds(Network, inside, inside, st.text(min_size=1))
        | st.builds(lambda branch, shortcut: Residual((Conv(), *branch), shortcut), inside, inside),
        simple,
    ),
    max_leaves=6,
)
written = st.builds(
    lambda stack, repeat, end, stem, name: Network(stack * repeat + end, stem, name),
    anything, st.integers(1, 4), anything, anything, st.text(min_size=1),
)  # fmt: skip


@given(networks)
def test_description_is_read_back(network):
    assert network_from_dict(network.architecture()) == network


@given(written)
def test_what_is_written_is_read_back(network):
    assert network_from_toml(network.to_toml().encode(), "other", "the text") == network
    assert network_from_dict(network.architecture()) == network


@pytest.mark.parametrize("maker", [*NETS.values(), *FAMILIES.values()])
def test_published_nets_and_presets_are_read_back(maker):
    network = maker()
    assert network_from_toml(network.to_toml().encode(), "other", "the text") == network


def test_a_preset_inside_another_net_is_written_without_what_it_was_made_from():
    network = Network((bn_res(2), ReLU()))
    assert network_from_toml(network.to_toml().encode(), "other", "the text") == network
    assert "parameters" not in network.to_toml()


def test_a_function_of_ones_own_is_not_written():
    network = Network((Residual((Conv(), Activation(np.tanh))),), name="mine")
    with pytest.raises(ValueError, match=r"^mine: .* the Activation at layers\.0\.branch\.1\.$"):
        network.to_toml()


def test_none_is_a_word_where_a_parameter_may_be_none():
    assert network_from_dict({"layers": [{"type": "AvgPool", "pad": "none"}]}).layers == (AvgPool(pad=None),)
    with pytest.raises(ValueError, match="size must be a whole number from 1 to 1000, not 'none'"):
        network_from_dict({"layers": [{"type": "AvgPool", "size": "none"}]})


def toml(value) -> str:
    """A TOML value of plain values; inline tables only."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {toml(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    return repr(value)


@pytest.mark.parametrize("repeat", [1, 7])
def test_file_is_read(tmp_path, repeat):
    unit = Residual((BatchNorm(0.5), ReLU(), Conv(5, padding="zeros")), (Conv(1),), scale=0.25)
    network = Network(
        (unit, Conv(dilation=2)) * repeat, (Conv(stride=2, weights=Gaussian(gain=1.0)),), "wide"
    )
    path = tmp_path / "net.toml"
    path.write_text("\n".join(f"{key} = {toml(value)}" for key, value in network.architecture().items()))
    assert load_network(path) == network
    assert load_network(str(path)) == network


def test_arrays_of_tables_and_default_name(tmp_path):
    path = tmp_path / "plain.toml"
    path.write_text(
        '[[stem]]\ntype = "Conv"\ngain = 1.0\n[[layers]]\nrepeat = 3\n'
        'layers = [{type = "Conv"}, {repeat = 2, layers = [{type = "ReLU"}]}]\n[[layers]]\ntype = "Conv"'
    )
    network = load_network(path)
    assert network == Network(
        (Conv(), ReLU(), ReLU()) * 3 + (Conv(),), (Conv(weights=Gaussian(gain=1.0)),), "plain"
    )
    assert network.depth == 4


WRONG = [
    ("name = 'x'\nstem = =", ("net.toml is not TOML", "line 2")),
    ("", ("no [[layers]]", "give at least one")),
    ("[layers]\ntype = 'ReLU'", ("layers must be an array of tables",)),
    ("layers = [3]", ("layers[1] must be a table", "not 3")),
    ("nam = 'x'\n[[layers]]\ntype = 'ReLU'", ("unknown key 'nam'", "did you mean 'name'?")),
    ("name = 3\n[[layers]]\ntype = 'ReLU'", ("name must be a text", "not 3")),
    ("depth = 4\n[[layers]]\ntype = 'Conv'", ("depth is 4", "the layers make 1")),
    ("[[layers]]\nkernel_size = 3", ("layers[1] needs a type", "repeat and layers")),
    ("[[layers]]\ntype = 'BatchNrom'", ("layers[1]", "not 'BatchNrom' (did you mean 'BatchNorm'?)")),
    ("[[layers]]\ntype = 'relu'", ("did you mean 'ReLU'?",)),
    ("[[layers]]\ntype = ['Conv']", ("type must be one of Abs, ", ", BatchNorm, ", ", Conv, ")),
    ("[[layers]]\ntype = 'ReLU'\n[[layers]]\ntype = 'Conv'\nkernal_size = 3",
     ("layers[2] (Conv)", "'kernal_size'", "did you mean 'kernel_size'?")),
    ("[[layers]]\ntype = 'Conv'\nkernel_size = 3.0", ("layers[1]", "kernel_size must be", "3.0")),
    ("[[layers]]\ntype = 'Conv'\npadding = 'same'", ("padding must be one of", "'same'")),
    ("[[layers]]\ntype = 'Conv'\npad = -1", ("layers[1]", "pad must be a whole number from 0", "-1")),
    ("[[stem]]\ntype = 'BatchNorm'\nepsilon = -1\n[[layers]]\ntype = 'Conv'", ("stem[1]", "epsilon", "-1")),
    ("[[layers]]\nrepeat = 0\nlayers = []", ("layers[1]", "repeat must be a whole number from 1", "not 0")),
    ("[[layers]]\nrepeat = true\nlayers = []", ("repeat must be", "not True")),
    ("[[layers]]\nrepeat = 2", ("repeat needs layers",)),
    ("[[layers]]\nrepeat = 2\ntype = 'Conv'", ("unknown key 'type'", "may have repeat, layers")),
    ("[[layers]]\nrepeat = 999999\nlayers = [{type='Conv'}, {type='ReLU'}]", ("more than 1000000 layers",)),
    ("[[layers]]\ntype = 'Residual'", ("needs a branch",)),
    ("[[layers]]\ntype = 'Residual'\nbranch = [{type = 'ReLU'}]", ("the branch needs a Conv",)),
    ("[[layers]]\ntype = 'Residual'\nbranch = 'Conv'", ("layers[1].branch must be an array",)),
    ("[[layers]]\ntype = 'Residual'\nbranch = [{type = 'Conv', gain = 'x'}]",
     ("layers[1].branch[1]", "gain", "'x'")),
]  # fmt: skip


@pytest.mark.parametrize(("text", "words"), WRONG)
def test_wrong_files_are_refused_in_one_sentence(tmp_path, text, words):
    path = tmp_path / "net.toml"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"net\.toml") as caught:
        load_network(path)
    sentence = str(caught.value)
    assert all(word in sentence for word in words), sentence
    assert "\n" not in sentence
    assert sentence.endswith(".")


def test_unreadable_files_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"Cannot read .*none\.toml: No such file"):
        load_network(tmp_path / "none.toml")
    with pytest.raises(ValueError, match=r"Cannot read .*: Is a directory"):
        load_network(tmp_path)
    (tmp_path / "latin.toml").write_bytes(b"name = '\xe9'")
    with pytest.raises(ValueError, match="UTF-8"):
        load_network(tmp_path / "latin.toml")
    (tmp_path / "deep.toml").write_text("layers = " + "[" * 100_000)
    with pytest.raises(ValueError, match="is not TOML"):
        load_network(tmp_path / "deep.toml")


def test_what_is_no_table_is_refused():
    with pytest.raises(ValueError, match="must be a table"):
        network_from_dict([1])
