import numpy as np
import pytest

from fastmoments.nets.activations import MOST_SLOPE, Abs, LeakyReLU, ReLU


@pytest.mark.parametrize("activation", [ReLU(), LeakyReLU(0.3), LeakyReLU(0.0), Abs()])
def test_moments_over_a_gaussian(activation):
    nodes, weights = np.polynomial.hermite_e.hermegauss(201)
    weights = weights / weights.sum()
    above, below = activation.slopes
    values = np.where(nodes > 0, above, below) * nodes
    assert activation.second_moment == pytest.approx(weights @ values**2)
    assert activation.mean_slope == pytest.approx(weights @ (nodes * values))
    absolute = (weights @ np.abs(values)) / (weights @ np.abs(nodes))
    assert activation.absolute_moment == pytest.approx(absolute)


@pytest.mark.parametrize("slope", [-0.1, float("nan"), 2 * MOST_SLOPE, "0.1"])
def test_slopes_out_of_range(slope):
    with pytest.raises(ValueError, match="negative_slope") as caught:
        LeakyReLU(slope)
    assert "\n" not in str(caught.value)
