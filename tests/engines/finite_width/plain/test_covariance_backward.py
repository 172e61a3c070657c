"""The backward pass through plain nets."""

import pytest
from numpy.testing import assert_allclose

import fastmoments as fm
from fastmoments.engines.finite_width.plain import covariance_backward, residual_backward


@pytest.mark.parametrize("family", ["vanilla", "residual"])
def test_few_layers_say_what_all_say(family, monkeypatch):
    net, images = getattr(fm, family)(80, 1), fm.load_images("synthetic:6x6x3", 16, seed=2)
    few = fm.scan(net, images, fm.FiniteWidth(width=256), every=40)
    for module in (covariance_backward, residual_backward):
        monkeypatch.setattr(
            module, "layers_towards_both_ends", lambda depth, most=0: set(range(1, depth + 1))
        )
    every = fm.scan(net, images, fm.FiniteWidth(width=256), every=40)
    for name in ("log_chi", "mu4_signal", "reff_signal"):
        assert_allclose(few.curve(name).sigma, every.curve(name).sigma, rtol=2e-3, err_msg=name)
