"""What one batch norm did, against differences."""

import numpy as np
from numpy.testing import assert_allclose

from fastmoments.engines.finite_width.batch_norm.noise_sampling import NoiseFluctuationState
from fastmoments.engines.finite_width.batch_norm.record import BatchNormRecord
from fastmoments.engines.finite_width.batch_norm.response import batch_norm_response, odd_moments
from fastmoments.engines.finite_width.shared.matrices import centred

IMAGES, EACH, DIFFUSION = 6, 2, 0.02


def record():
    factor = np.random.default_rng(0).standard_normal((IMAGES * EACH, 30))
    few = centred(factor @ factor.T / 30)
    nothing = np.zeros((IMAGES, IMAGES))
    through = batch_norm_response(few, 1e-3, 0.0, group=EACH)
    return BatchNormRecord(
        few, 1e-3, 0.0, through, nothing, DIFFUSION, nothing, nothing, np.zeros(IMAGES),
        NoiseFluctuationState(0.0), 0.0,
    )  # fmt: skip


def moved(few, shift):
    factor = np.exp(0.5 * np.repeat(shift, EACH))
    return odd_moments(centred(few * np.outer(factor, factor)), 1e-3, 0.0)


def test_slopes_are_derivatives_by_the_norms_of_images():
    passed = record()
    for image in (0, 3):
        shift = np.zeros(IMAGES)
        shift[image] = 1e-3
        factor = np.exp(0.5 * np.repeat(shift, EACH))
        # At fixed correlations: not centred again.
        ends = [odd_moments(passed.few * np.outer(each, each), 1e-3, 0.0) for each in (factor, 1.0 / factor)]
        assert_allclose([slope[image] for slope in passed.slopes], (ends[0] - ends[1]) / 2e-3, rtol=2e-3)


def test_the_bend_is_half_a_trace_of_second_derivatives():
    passed = record()
    step, trace = 0.1, np.zeros(2)
    here = np.log([passed.through.nu1, passed.through.mu4])
    for image in range(IMAGES):
        shift = np.zeros(IMAGES)
        shift[image] = step
        trace += (moved(passed.few, shift) + moved(passed.few, -shift) - 2.0 * here) / step**2
    expected = 0.5 * DIFFUSION * trace
    # Two vectors of signs leave some of the off-diagonal part.
    assert_allclose(passed.bend, expected, rtol=0.5)
    assert np.all(np.sign(passed.bend) == np.sign(expected))
    passed = record()
    passed.diffusion = 0.0
    assert_allclose(passed.bend, 0.0)
