"""What the dense storage says of channels; its layers are tested where nets are (`test_propagation`)."""

import numpy as np
from given import covariance

from fastmoments.engines.given.propagation import field_of


def test_channels_are_over_inputs_and_positions():
    """Against samples of positions: the mean over positions of second moments, less the means' squares."""
    rng = np.random.default_rng(0)
    mean, before, noise = rng.standard_normal((2, 3, 4)), covariance(rng, 2, 3, 4), covariance(rng, 2, 3, 4)
    field = field_of(mean, before, noise)
    second = sum(
        before[i, j, :, i, j] + np.outer(mean[i, j], mean[i, j]) for i, j in np.ndindex(2, 3)
    ) / 6  # fmt: skip
    centre = mean.mean((0, 1))
    signal, around = field.of_channels()
    np.testing.assert_allclose(signal, second - np.outer(centre, centre), atol=1e-14)
    np.testing.assert_allclose(around, sum(noise[i, j, :, i, j] for i, j in np.ndindex(2, 3)) / 6)
    found = field.per_channel()
    np.testing.assert_allclose(found[0], centre)
    np.testing.assert_allclose(found[1], np.diagonal(signal))
    np.testing.assert_array_equal(field.per_unit(np.arange(4.0)), np.tile(np.arange(4.0), 6))
    assert field.storage == "dense" and field.mirror.tolist() == [0]
