"""Linear layers without weights: where their positions come from, and what they refuse."""

import naive
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from fastmoments.maps.averaging import average_images
from fastmoments.nets.dense import Dense
from fastmoments.nets.fixed import AvgPool, Dropout, Flatten, GlobalAvgPool, Scale
from fastmoments.nets.linear import Conv
from fastmoments.nets.network import Network, Residual


@given(
    st.integers(1, 4), st.none() | st.integers(1, 5), st.none() | st.integers(0, 2), st.integers(1, 9)
)  # fmt: skip
def test_windows_by_their_definition(size, stride, pad, length):
    assume(pad is None or (2 * pad <= size <= length + 2 * pad))
    pool = AvgPool(size, stride, pad)
    assert_allclose(pool.averages(length), naive.averages(pool, length), rtol=1e-15)
    assert pool.output_grid((length, 9)) == (len(pool.averages(length)), len(pool.averages(9)))
    if pad in (0, None):
        assert_allclose(pool.averages(length).sum(1), 1.0, rtol=1e-14)


@pytest.mark.parametrize(
    ("size", "stride", "pad"), [(2, None, 0), (3, 2, 1), (3, 1, 1), (2, 1, 1), (4, 3, 2)]
)
def test_windows_are_those_of_pytorch(size, stride, pad):
    torch = pytest.importorskip("torch")
    for length in (5, 6, 8):
        theirs = torch.nn.functional.avg_pool1d(torch.eye(length)[None], size, stride, pad)
        assert_allclose(AvgPool(size, stride, pad).averages(length).T, theirs[0].numpy(), rtol=1e-6)


def test_windows_of_tensorflow_s_same():
    """Of five positions in windows of two the last stands alone, and is not divided by two."""
    expected = [[0.5, 0.5, 0, 0, 0], [0, 0, 0.5, 0.5, 0], [0, 0, 0, 0, 1]]
    assert_array_equal(AvgPool(2, pad=None).averages(5), expected)
    assert_allclose(AvgPool(3, 1, pad=None).averages(3), [[1 / 2, 1 / 2, 0], [1 / 3] * 3, [0, 1 / 2, 1 / 2]])


def test_what_has_one_position_behind_it():
    assert GlobalAvgPool().output_grid((7, 5)) == Flatten().output_grid((7, 5)) == (1, 1)
    assert_array_equal(GlobalAvgPool().averages(4), np.full((1, 4), 0.25))


def test_a_net_that_mixes_positions_is_not_fully_connected():
    assert Network([Dense(), Dropout(), Scale(2.0), AvgPool(1)]).fully_connected
    for layer in (AvgPool(2), AvgPool(3, 1, 1), GlobalAvgPool(), Flatten()):
        assert not Network([Conv(1), layer]).fully_connected


def test_without_weights_no_unit_begins_and_no_branch_has_any():
    assert Network([Conv(), AvgPool(), Flatten(), Dense()]).depth == 2
    with pytest.raises(ValueError, match="needs a Conv"):
        Residual([AvgPool(1)])


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (lambda: AvgPool(0), "AvgPool: size must be a whole number"),
        (lambda: AvgPool(2, 0), "AvgPool: stride must be a whole number"),
        (
            lambda: AvgPool(3, 1, 2),
            "AvgPool: pad must be a whole number from 0 to 1, at most half of the size 3,",
        ),
        (lambda: AvgPool(3).averages(2), "An AvgPool of size 3 does not fit on a side of 2 with pad=0"),
        (lambda: Scale(0.0), "Scale: factor must not be 0"),
        (lambda: Scale(np.inf), "Scale: factor must be a finite number"),
        (lambda: Dropout(1.5), "Dropout: p must be a probability, from 0 to 1"),
        (lambda: Dropout(-0.5), "Dropout: p must be a finite non-negative number"),
    ],
)
def test_what_is_refused(made, said):
    with pytest.raises(ValueError, match=said):
        made()


def test_share_of_white_noise_that_means_leave():
    assert GlobalAvgPool().white_share((4, 5)) == pytest.approx(1 / 20)
    assert AvgPool(2).white_share((4, 4)) == pytest.approx(1 / 4)
    noise = np.random.default_rng(0).standard_normal((4000, 5, 4, 1))
    layer = AvgPool(3, stride=2, pad=1)
    left = average_images(noise, layer)
    assert layer.white_share((5, 4)) == pytest.approx(np.mean(left**2), rel=0.03)
