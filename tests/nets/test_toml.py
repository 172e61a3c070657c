import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastmoments.nets.activations import ReLU
from fastmoments.nets.geometry import PADDINGS
from fastmoments.nets.linear import Conv, Gaussian
from fastmoments.nets.network import Network, Residual
from fastmoments.nets.norms import NOISES, BatchNorm
from fastmoments.nets.toml import load_network, network_from_dict

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


@given(networks)
def test_description_is_read_back(network):
    assert network_from_dict(network.architecture()) == network


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
