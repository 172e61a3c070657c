"""Classes of points that share tables."""

import numpy as np

from fastmoments.maps.channels import gaussian
from fastmoments.maps.copula import classes
from fastmoments.nets.activations import ReLU


def test_classes_are_of_points_alike():
    share = np.linspace(0.1, 0.9, 1000)
    channels = gaussian().activated(ReLU())
    kinds, count = classes(channels, share)
    assert 2 <= count <= 6 and (np.diff(kinds) >= 0).all() and kinds.max() == count - 1
    assert classes(channels, np.full(1000, 0.3))[1] == 1
    assert classes(channels, share[:5])[1] == 5
