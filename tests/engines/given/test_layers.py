"""Arrays of layers: which are wanted and in which shapes; batch norm as an affine map."""

import numpy as np
import pytest

import fastmoments as fm
from fastmoments.engines.given.layers import affine, carry, covers, ungrouped, wanted


def test_covered_layers():
    kinds = (fm.Conv(), fm.Dense(), fm.BatchNorm(), fm.Sin(), fm.GlobalAvgPool(), fm.Residual((fm.Conv(),)))
    assert all(covers(layer) for layer in kinds)
    assert not covers(fm.MaxPool(2)) and not covers(fm.LayerNorm())
    with pytest.raises(TypeError, match="MaxPool"):
        carry(fm.MaxPool(2), "layers.0", None, {}, None)


def test_groups_are_blocks_of_a_matrix():
    weight = np.arange(8.0).reshape(4, 2, 1, 1)
    full = ungrouped(weight, 2, 4, "layers.0")[:, :, 0, 0]
    np.testing.assert_array_equal(full[:2, :2], weight[:2, :, 0, 0])
    np.testing.assert_array_equal(full[2:, 2:], weight[2:, :, 0, 0])
    assert not full[:2, 2:].any() and not full[2:, :2].any()
    with pytest.raises(ValueError, match="3 groups do not divide 4 and 4"):
        ungrouped(weight, 3, 4, "layers.0")


def test_a_channel_without_variance_becomes_its_shift():
    factor, shift = affine(fm.BatchNorm(epsilon=0.0, beta=0.5), "", {}, np.ones(2), np.array([0.0, 4.0]))
    np.testing.assert_array_equal(factor, [0.0, 0.5])
    np.testing.assert_array_equal(shift, [0.5, 0.0])


def test_half_of_running_statistics_is_refused():
    with pytest.raises(ValueError, match=r"no running_var of layers\.2"):
        affine(fm.BatchNorm(), "layers.2", {"running_mean": np.zeros(2)}, np.zeros(2), np.ones(2))
    with pytest.raises(ValueError, match=r"running_mean of x must be of shape \(2\), not \(3,\)"):
        wanted({"running_mean": np.zeros(3)}, "x", "running_mean", (2,))
