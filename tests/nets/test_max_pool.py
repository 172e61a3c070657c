"""Windows of max pooling: PyTorch's and TensorFlow's."""

import numpy as np
import pytest

from fastmoments.nets.max_pool import MaxPool


@pytest.mark.parametrize(
    ("layer", "side", "windows"),
    [
        (MaxPool(), 8, [[0, 1], [2, 3], [4, 5], [6, 7]]),
        (MaxPool(), 5, [[0, 1], [2, 3]]),
        (MaxPool(2, pad=None), 5, [[0, 1], [2, 3], [4, -1]]),
        (MaxPool(3, 2, 1), 6, [[-1, 0, 1], [1, 2, 3], [3, 4, 5]]),
        (MaxPool(3, 2, None), 6, [[0, 1, 2], [2, 3, 4], [4, 5, -1]]),
        (MaxPool(3, 1, 1), 2, [[-1, 0, 1], [0, 1, -1]]),
    ],
)
def test_windows(layer, side, windows):
    np.testing.assert_array_equal(layer.seen(side), windows)
    assert layer.output_grid((side, side)) == (len(windows), len(windows))


def test_the_stem_of_imagenet():
    assert MaxPool(3, 2, 1).output_grid((112, 112)) == (56, 56)


@pytest.mark.parametrize(
    ("given", "words"),
    [({"size": 0}, "size"), ({"stride": 0}, "stride"), ({"size": 3, "pad": 2}, "at most half of the size 3")],
)
def test_what_is_out_of_range(given, words):
    with pytest.raises(ValueError, match=words):
        MaxPool(**given)


def test_a_window_that_is_larger_than_the_image():
    with pytest.raises(ValueError, match="MaxPool of size 3 and dilation 1 spans 3"):
        MaxPool(3).output_grid((2, 2))
