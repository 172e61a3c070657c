"""The backward pass through convolutional plain nets."""

import pytest
from numpy.testing import assert_allclose

import fastmoments as fm
from fastmoments.engines.finite_width.plain_convolutional import covariance_backward


@pytest.mark.parametrize("padding", ["periodic", "zeros", "symmetric"])
def test_few_layers_say_what_all_say(padding, monkeypatch):
    """Without the last layers the deviation of r_eff at a border was 1.4 times that at depth 20."""
    net, images = fm.vanilla(40, padding=padding), fm.load_images("synthetic:8x8x3", 4, seed=2)
    few = fm.scan(net, images, fm.FiniteWidth(width=256), every=20)
    every = lambda depth, most=0: set(range(1, depth + 1))  # noqa: E731
    monkeypatch.setattr(covariance_backward, "layers_towards_both_ends", every)
    all_of_them = fm.scan(net, images, fm.FiniteWidth(width=256), every=20)
    for name in ("log_chi", "mu2_signal", "reff_signal"):
        assert_allclose(few.curve(name).sigma, all_of_them.curve(name).sigma, rtol=0.01, err_msg=name)
