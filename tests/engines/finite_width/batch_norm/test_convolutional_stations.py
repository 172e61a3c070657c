"""Ranks and moments that are read off the walk of convolutional nets with batch norm."""

import dataclasses

import numpy as np
from numpy.testing import assert_allclose

import fastmoments as fm
from fastmoments.engines.finite_width.batch_norm.convolutional import LOCS, FiniteTerms
from fastmoments.engines.finite_width.batch_norm.convolutional_stations import laws_of
from fastmoments.engines.finite_width.closures import CLOSURES
from fastmoments.engines.infinite_width.walk import InfiniteWidthWalk


def laws(closures=CLOSURES, width=64):
    images = np.array(fm.load_images("synthetic:8x8x3", 4, seed=2).array)
    network = fm.bn_ff(4)
    terms = FiniteTerms(network, images, width, closures)
    walk = InfiniteWidthWalk(network, images, depths=frozenset({3, 4}), corrections=terms)
    return {(each.depth, each.loc): (each.moments, laws_of(terms, each)) for each in walk if each.loc in LOCS}


def test_means_of_martingales_are_those_of_the_engine():
    """E mu2 = exp(mean + variance / 2) of a lognormal law, whatever the width."""
    found = laws()
    for (depth, loc), (moments, of_station) in found.items():
        if loc != "conv" or depth < 4:
            continue
        for name in ("log_nu2_signal", "log_mu2_signal"):
            law = of_station[name]
            assert law.variance > 0.0
            assert_allclose(law.mean + 0.5 * law.variance, moments[name], rtol=1e-12)


def test_sampling_raises_the_leading_eigenvalue_and_bounds_the_noise_by_its_channels():
    for (_, loc), (moments, of_station) in laws().items():
        if loc == "act":
            assert of_station["reff_signal"].mean <= moments["reff_signal"] * (1.0 + 1e-9)
            assert of_station["reff_noise"].mean <= min(moments["reff_noise"], 64.0)


def test_the_elasticity_and_the_few_positions_are_closures():
    usual = laws()[4, "act"][1]["reff_signal"]
    steep = laws(dataclasses.replace(CLOSURES, least_elasticity=5.0))[4, "act"][1]["reff_signal"]
    assert steep.mean == usual.mean and steep.variance > usual.variance

    def first(images, positions, each):
        return np.tile(np.arange(each), (images, 1))

    other = laws(dataclasses.replace(CLOSURES, positions=first, points=32))
    assert other[4, "norm"][1]["log_mu4_signal"].variance != laws()[4, "norm"][1]["log_mu4_signal"].variance
