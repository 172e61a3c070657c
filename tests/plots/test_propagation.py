"""Signal propagation: squared mean, variance and variance of the branch, by their definitions."""

import dataclasses

import numpy as np
import pytest
from numpy.testing import assert_allclose

import fastmoments as fm

pytest.importorskip("matplotlib")

from fastmoments.plots.propagation import plot_propagation

IMAGES = fm.load_images("synthetic:8x8x3", 6)


def test_residual_nets_have_three_panels_of_their_numbers():
    scan = fm.scan(fm.residual(6), IMAGES)
    squared, variance, branch = (axes.lines[0] for axes in plot_propagation(scan).axes)
    at = [scan.station(f"layers.{unit}").mean for unit in range(6)]
    assert_allclose(squared.get_ydata(), [each["nu2_signal"] - each["mu2_signal"] for each in at], rtol=1e-9)
    assert_allclose(variance.get_ydata(), [each["mu2_signal"] for each in at])
    ends = [scan.station(f"layers.{unit}.branch.3").mean["mu2_signal"] for unit in range(6)]
    assert_allclose(branch.get_ydata(), ends)
    assert variance.get_xdata().tolist() == [1, 2, 3, 4, 5, 6]


def test_a_channel_by_its_definition():
    """Of one wide sampled net, whose channels are at hand, nu2 - mu2 is the mean of their squared means."""
    scan = fm.scan(fm.bn_res(2), IMAGES, fm.Sampled(16, 1))
    (axes, *_) = plot_propagation(scan).axes
    merge = scan.moments["nu2_signal"]["merge"].mean - scan.moments["mu2_signal"]["merge"].mean
    assert_allclose(axes.lines[0].get_ydata(), merge, rtol=1e-9)


def test_nets_without_branches_have_two_and_a_mean_of_zero_is_a_gap():
    scan = fm.scan(fm.vanilla(3), IMAGES)
    figure = plot_propagation(scan)
    assert [axes.get_ylabel() for axes in figure.axes] == ["squared mean", "variance"]
    normed = fm.Network([fm.Conv(3), fm.ReLU(), fm.Conv(3), fm.BatchNorm()])
    (squared, _) = plot_propagation(fm.scan(normed, IMAGES)).axes
    assert np.isnan(squared.lines[0].get_ydata()).tolist() == [False, True]


def test_a_constant_looks_constant():
    figure = plot_propagation(fm.scan(fm.bn_res(5), IMAGES))
    low, high = figure.axes[2].get_ylim()
    assert high > 3.9 * low


def test_it_takes_its_moments():
    scan = fm.scan(fm.vanilla(2), IMAGES)
    with pytest.raises(ValueError, match="no nu2 and mu2 of the signal"):
        plot_propagation(dataclasses.replace(scan, moments={"chi": scan.moments["chi"]}))
