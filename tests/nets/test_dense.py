"""Dense layers and what they refuse."""

import pytest

from fastmoments.nets.activations import ReLU
from fastmoments.nets.dense import Dense
from fastmoments.nets.linear import Conv, Gaussian
from fastmoments.nets.network import Network


def test_it_is_a_convolution_of_one_position():
    weights = Gaussian(gain=1.0 / 3.0, bias_variance=0.1)
    assert Dense(10, weights).convolution == Conv(1, weights, channels=10)
    assert Dense().pointwise and Dense().output_grid((7, 5)) == (7, 5)


def test_it_begins_a_unit_and_leaves_a_net_fully_connected():
    net = Network([Dense(), ReLU()] * 3)
    assert net.depth == 3 and net.fully_connected
    assert net.locs(1) == ("input", "conv", "act")


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({"channels": 0}, "Dense: channels must be a whole number"),
        ({"weights": 2.0}, r"Dense: weights must be Gaussian\(...\), not 2.0"),
        ({"weights": Gaussian(tap_variances=((1.0,),))}, "Dense: tap_variances are of a Conv"),
        ({"weights": Gaussian(tap_variances=((1.0, 2.0), (1.0, 1.0)))}, "Dense: tap_variances"),
    ],
)
def test_what_is_refused(parameters, said):
    with pytest.raises(ValueError, match=said):
        Dense(**parameters)
