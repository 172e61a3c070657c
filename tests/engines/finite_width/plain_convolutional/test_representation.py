"""A few images that stand for a batch, and the walk back through states that are not kept."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from fastmoments.engines.finite_width.plain_convolutional.representation import (
    Representation,
    shares_of_pairs,
    walked_backwards,
)
from fastmoments.engines.finite_width.shared.noise_draw import draw_variance, inputs_seen
from fastmoments.maps.convolution import convolve_diagonal
from fastmoments.nets.linear import Conv, Gaussian

IMAGES = np.random.default_rng(0).standard_normal((5, 6, 4, 3))


def test_shares_are_those_of_a_mean_over_pairs_of_the_batch():
    assert_allclose(shares_of_pairs(5, 5), 1.0)
    found = shares_of_pairs(3, 60)
    assert_allclose(found.mean(), 1.0)
    assert_allclose(np.trace(found) / 9.0, 1.0 / 60.0)


def test_what_stands_for_a_batch_depends_on_its_images_not_on_their_order():
    one, other = (Representation.of(Conv(3), images, 72) for images in (IMAGES, IMAGES[::-1]))
    assert one.grid == other.grid == (3, 6, 4) and one.points == 72
    assert_allclose(one.signal.dense(), other.signal.dense())
    assert one.chance == 1.0 / 27.0


@pytest.mark.parametrize("padding", ["periodic", "zeros", "symmetric"])
def test_weights_go_back_as_fields_are_averaged(padding):
    """<w, A f> = <A' w, f>, A the mean over taps of every image."""
    standing, conv = Representation.of(Conv(3), IMAGES, 200), Conv(3, padding=padding)
    weights, field = np.random.default_rng(1).standard_normal((2, standing.points))
    averaged = standing.averaged(field[:, None], [conv])[:, 0]
    assert_allclose(averaged, convolve_diagonal(field, standing.grid, conv), atol=1e-14)
    assert_allclose(weights @ averaged, standing.averaged_back(weights, conv) @ field)


def test_noises_behind_the_stem_overlap_by_chance():
    """Mean square over draws of the correlation of the noises of two points, shared inputs or not."""
    rng, draws = np.random.default_rng(3), 20_000
    noise = rng.standard_normal((draws, 4, 4, 3))
    patches = [noise[:, y : y + 3, x : x + 3].reshape(draws, -1) for y, x in ((0, 0), (0, 1))]
    patches.append(rng.standard_normal((draws, 27)))
    standing = Representation.of(Conv(3), IMAGES, 200)
    found = standing.noise_overlap(standing.chance)
    assert found[0, 0] == 1.0
    for place, other in zip((1, 24), patches[1:], strict=True):
        squares = (np.sum(patches[0] * other, 1) / 27) ** 2
        assert abs(squares.mean() - found[0, place]) < 3.5 * squares.std() / np.sqrt(draws)


def test_relative_variance_is_that_of_the_mean():
    standing = Representation.of(Conv(3), IMAGES, 200)
    factor = np.random.default_rng(2).standard_normal((120, 7))
    level = np.linspace(1.0, 2.0, 120)
    found = standing.relative_variance(factor @ factor.T, level)
    assert_allclose(found, np.sum(factor.mean(0) ** 2) / level.mean() ** 2)


@pytest.mark.parametrize("count", [0, 1, 2, 7, 12])
def test_the_walk_back_meets_the_states_of_the_walk_forward(count):
    units = [str(number) for number in range(count)]
    found = list(walked_backwards("", units, lambda unit, state: (unit.upper(), f"{state}{unit},")))
    states = ["".join(f"{unit}," for unit in units[:number]) for number in range(count + 1)]
    assert found == [(number, states[number], [*units, None][number]) for number in range(count, -1, -1)]


@pytest.mark.parametrize("padding", ["periodic", "zeros"])
def test_the_draw_of_the_noise_is_that_of_the_inputs_seen(padding):
    stem = Conv(3, Gaussian(gain=1.7), stride=2, padding=padding)
    standing = Representation.of(stem, IMAGES, 200)
    level = np.tile(np.einsum("pp->p", standing.noise.blocks[0]) * np.exp(standing.noise.log_scale), 5)
    found = standing.relative_variance(standing.draw, level)
    assert_allclose(found, draw_variance(inputs_seen(IMAGES.shape, stem)))
