"""What single layers take, in copies of the stored covariance."""

import fastmoments as fm
from fastmoments.engines.infinite_width.rates import CLOSED_FORM, EXPAND, NORMALISE, RECTIFY, copies


def test_activations_take_what_their_duals_take():
    """2.6 s at 4,096 points were 15.8 of Tanh: an expansion is summed at every pair of points."""
    assert copies(fm.GELU()) == copies(fm.Erf()) == copies(fm.Sin()) == CLOSED_FORM
    assert copies(fm.GELU("tanh")) == copies(fm.Tanh()) == copies(fm.SiLU()) == EXPAND > 10 * CLOSED_FORM
    assert copies(fm.ReLU()) == copies(fm.Abs()) == RECTIFY < CLOSED_FORM


def test_more_taps_take_longer_and_none_as_long_as_a_batch_norm():
    assert copies(fm.Conv(1)) == 1.0 < copies(fm.Conv(3)) < copies(fm.Conv(7)) < NORMALISE
    assert copies(fm.BatchNorm()) == NORMALISE > copies(fm.BatchNorm(statistics="population")) > 0.0
    assert copies(fm.Flatten()) == 0.0 < copies(fm.AvgPool(2))
