import pytest

from fastmoments.nets import families
from fastmoments.nets.activations import ReLU
from fastmoments.nets.layers import Layer, describe, joined
from fastmoments.nets.linear import Conv, Gaussian
from fastmoments.nets.network import Network, Residual


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Residual([ReLU()]), "needs a Conv"),
        (lambda: Residual(3), "sequence of layers"),
        (lambda: Residual([Residual([ReLU()])]), "needs a Conv"),
        (lambda: Network([3]), "may hold"),
        (lambda: Network([], stem=[3]), "stem"),
        (lambda: families.vanilla(-1), "depth"),
        (lambda: families.vanilla(1.5), "depth"),
        (lambda: families.bn_res(1, res_depth=0), "res_depth"),
    ],
)
def test_wrong_parameters_are_refused_in_one_sentence(make, words):
    with pytest.raises(ValueError, match=words) as caught:
        make()
    assert "\n" not in str(caught.value)


def test_every_kind_is_known_by_its_name_and_abstract_ones_are_not():
    assert Layer.TYPES["Conv"] is Conv
    assert not {"Activation", "PiecewiseLinear"} & set(Layer.TYPES)


def test_a_table_holds_what_is_no_default():
    assert describe(Conv(5, Gaussian(gain=1.0))) == {"type": "Conv", "kernel_size": 5, "gain": 1.0}
    assert describe(Residual((Conv(),), scale=0.5)) == {
        "type": "Residual", "branch": [{"type": "Conv"}], "scale": 0.5,
    }  # fmt: skip
    assert joined("layers.3", "branch", 1) == "layers.3.branch.1"
