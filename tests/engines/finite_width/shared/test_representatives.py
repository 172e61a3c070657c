"""Images that stand for a batch do not depend on its order."""

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given
from numpy.testing import assert_allclose, assert_array_equal

import fastmoments as fm
from fastmoments.engines.finite_width.shared.representatives import content_order, representatives

seeds = st.integers(0, 2**32 - 1)


@given(seeds, st.integers(1, 12), st.integers(1, 12))
def test_any_order_of_the_images_gives_the_same_few(seed, images, count):
    rng = np.random.default_rng(seed)
    batch = rng.standard_normal((images, 2, 3, 1))
    batch[rng.integers(images)] *= -1.0  # an image and its negative have one norm
    shuffled = batch[rng.permutation(images)]
    assert_array_equal(batch[content_order(batch)], shuffled[content_order(shuffled)])
    few = representatives(batch, min(count, images))
    assert_array_equal(few, representatives(shuffled, min(count, images)))
    assert len(np.unique(few, axis=0)) == min(count, images)


def test_all_of_a_batch_are_all_of_it():
    batch = np.random.default_rng(0).standard_normal((5, 2, 2, 1))
    assert_array_equal(np.sort(representatives(batch, 5), 0), np.sort(batch, 0))
    assert len(representatives(np.zeros((3, 2, 2, 1)), 2)) == 2
    same = np.ones((4, 2, 2, 1))
    assert_array_equal(representatives(same, 2), same[:2])


def test_the_few_have_the_mean_correlations_of_all():
    """Closer than chance: two kinds of images, of which one in four is of the rarer."""
    rng, kinds = np.random.default_rng(1), np.random.default_rng(2).standard_normal((2, 30))
    batch = kinds[(np.arange(24) % 4 == 0).astype(int)] + 0.7 * rng.standard_normal((24, 30))

    def moments(rows):
        rows = rows.reshape(len(rows), -1)
        rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
        return np.r_[rows.mean(0), 2.0 * (rows.T @ rows / len(rows)).ravel()]

    every = batch.reshape(24, 1, 1, 30)
    few = np.linalg.norm(moments(representatives(every, 6)) - moments(every))
    chance = [
        np.linalg.norm(moments(every[rng.choice(24, 6, replace=False)]) - moments(every)) for _ in range(200)
    ]
    assert few < np.quantile(chance, 0.1)


@pytest.mark.parametrize("family", ["vanilla", "bn_ff", "bn_res"])
@pytest.mark.parametrize("padding", ["periodic", "zeros"])
def test_the_order_of_images_does_not_move_an_answer(family, padding):
    """Of 16 images eleven stand for the batch without batch norm, and 16 positions of each image with it."""
    net = getattr(fm, family)(4, padding=padding)
    images = np.array(fm.load_images("synthetic:12x12x3", 16, seed=1).array)
    images *= np.linspace(0.5, 1.5, 16)[:, None, None, None]
    one, other = (fm.scan(net, each, fm.FiniteWidth(width=96)) for each in (images, images[::-1]))
    for name in one.moments:
        for loc in one.moments[name]:
            ours, theirs = one.curve(name, loc), other.curve(name, loc)
            # Batch norm leaves out what is behind the leading eigenpairs; effective ranks are iterated.
            rtol = 1e-3 if name.startswith("reff") else 1e-7 if family == "vanilla" else 1e-4
            assert_allclose(ours.mean, theirs.mean, rtol=rtol, atol=1e-8, err_msg=f"{name} {loc}")
            if ours.sigma is not None:
                assert_allclose(ours.sigma, theirs.sigma, rtol=rtol, atol=1e-8, err_msg=f"{name} {loc}")
