"""The options of a simulation."""

import numpy as np
import pytest
from simulated import FLAT

import fastmoments as fm
from fastmoments.nets import families


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"width": 0}, "width must be"),
        ({"width": 2.0}, "width must be"),
        ({"nets": 0}, "nets must be"),
        ({"nets": True}, "nets must be"),
        ({"seed": -1}, "seed must be"),
        ({"every": 0}, "every must be"),
        ({"draw": "wights"}, "draw must be one of auto, weights, gram"),
        ({"reff_locs": ("bn",)}, "reff_locs must be"),
        ({"images": FLAT[:1]}, "two points"),
        ({"images": FLAT * np.nan}, "finite"),
        ({"images": np.ones((4, 1, 1, 3))}, "vary"),
    ],
)
def test_wrong_parameters_are_refused_at_the_call(wrong, said):
    images, scans = wrong.pop("images", FLAT), {k: wrong.pop(k) for k in ("every", "reff_locs") if k in wrong}
    with pytest.raises(ValueError, match=said):
        engine = fm.Sampled(**{"width": 4, "nets": 1, **wrong})
        fm.scan(families.vanilla(1, kernel_size=1), images, engine, normalise=False, **scans)
