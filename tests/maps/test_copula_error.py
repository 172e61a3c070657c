"""Channels that are carried through merges, and what they tell of a covariance."""

import numpy as np
from numpy.testing import assert_allclose

from fastmoments.covariances.storage import Covariance, NoiseCovariance
from fastmoments.maps.activation import activate
from fastmoments.maps.channels import Channels, gaussian
from fastmoments.maps.copula_error import activated, drawn, joined, taken_at
from fastmoments.maps.merge import merge
from fastmoments.maps.post_activation import activate_sum, added
from fastmoments.nets.activations import ReLU


def state(seed, grid=(3, 2, 3), features=8):
    images, height, width = grid
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((images, height, width, features)) + 0.5
    blocks = np.stack([np.eye(height * width)] * images)
    noise = NoiseCovariance(blocks, images, (height, width))
    return Covariance.from_features(x, 1.0 / features), noise


def behind_one_merge():
    """A shortcut behind a ReLU, a branch, their sum behind a ReLU, and its channels."""
    shortcut, noise = state(0)
    activate(shortcut, noise, ReLU())
    branch, branch_noise = state(1)
    parts = shortcut.copy(), branch.copy()
    channels = added(gaussian().activated(ReLU()), shortcut, noise, branch, branch_noise)
    merge(branch, branch_noise, shortcut, noise)
    behind, _ = activate_sum(branch, branch_noise, channels, ReLU())
    return *parts, branch, behind


def test_points_are_taken_from_all_blocks():
    signal, _ = state(2)
    points = np.array([1, 4, 8, 13, 17])
    assert_allclose(taken_at(signal, points), signal.unscaled()[np.ix_(points, points)], rtol=0)


def test_nothing_is_left_out_behind_the_first_merge():
    """There the copula is exact: the deviations are those of drawing."""
    behind = behind_one_merge()[3]
    seen = behind.witnesses
    assert (np.abs(seen.found[:2]) < 4.0 * np.sqrt(seen.doubt[:2])).all()
    assert 0.0 < np.sqrt(seen.doubt[0]) < 4e-3
    assert seen.errors["log_chi"] < 0.01


def test_a_wrong_covariance_is_seen():
    """One whose points are more alike by 2% of mu2."""
    shortcut, branch, behind, _ = behind_one_merge()
    seen = joined(drawn(gaussian().activated(ReLU()), shortcut), shortcut, branch, 0.5, resets=False)
    exact = activated(seen, behind, (1.0, 0.0)).found[0]
    centre = behind.blocks.copy()
    level = float(behind.centred_diagonal.mean())
    behind.blocks += 0.02 * level
    for i, block in enumerate(np.triu_indices(3)[0] == np.triu_indices(3)[1]):
        if block:
            np.fill_diagonal(behind.blocks[i], np.diag(centre[i]))
    wrong = activated(seen, behind, (1.0, 0.0)).found[0]
    points = behind.points
    assert_allclose(wrong - exact, 0.02 * (1.0 - 1.0 / points), atol=3e-3)


def test_deviations_stay_in_the_shortcut_and_where_nothing_resets_them():
    shortcut, branch, _, channels = behind_one_merge()
    before = channels.witnesses
    told = type(before)(**{**before.__dict__, "found": np.array([0.1, 0.2, 0.0])})
    free, reset = (joined(told, shortcut, branch, 0.25, resets=resets) for resets in (False, True))
    assert_allclose(free.found, [0.1, 0.2, 0.0])
    assert_allclose(reset.found, [0.1 * reset.kept, 0.2, -0.25 * 0.1])
    assert 0.0 < reset.kept < 1.0


def test_witnesses_are_taken_and_restored():
    channels = behind_one_merge()[3]
    again = Channels.restored(*channels.taken()).witnesses
    for name, value in channels.witnesses.__dict__.items():
        assert np.array_equal(getattr(again, name), value), name
