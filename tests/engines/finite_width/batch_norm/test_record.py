"""What one batch norm did, against differences."""

import numpy as np
from numpy.testing import assert_allclose

from fastmoments.engines.finite_width.batch_norm.noise_sampling import NoiseFluctuationState
from fastmoments.engines.finite_width.batch_norm.record import BatchNormRecord
from fastmoments.engines.finite_width.batch_norm.response import batch_norm_response
from fastmoments.engines.finite_width.shared.matrices import centred

IMAGES, EACH = 6, 2


def record():
    factor = np.random.default_rng(0).standard_normal((IMAGES * EACH, 30))
    few = centred(factor @ factor.T / 30)
    nothing = np.zeros((IMAGES, IMAGES))
    through = batch_norm_response(few, 1e-3, 0.0, group=EACH)
    return BatchNormRecord(
        few, 1e-3, 0.0, through, nothing, nothing, nothing, nothing, np.zeros(IMAGES),
        NoiseFluctuationState(0.0), 0.0, 0.0,
    )  # fmt: skip


def test_slopes_are_derivatives_by_the_norms_of_images():
    passed = record()

    def odd(factor):
        """log nu1 and log mu4 at fixed correlations: not centred again."""
        found = batch_norm_response(passed.few * np.outer(factor, factor), 1e-3, 0.0)
        return np.log([found.nu1, found.mu4])

    for image in (0, 3):
        shift = np.zeros(IMAGES)
        shift[image] = 1e-3
        factor = np.exp(0.5 * np.repeat(shift, EACH))
        expected = (odd(factor) - odd(1.0 / factor)) / 2e-3
        assert_allclose([slope[image] for slope in passed.slopes], expected, rtol=2e-3)
