"""Engines by name, as a command line or a table gives them."""

import pytest

import fastmoments as fm
from fastmoments.scans.engines import METHODS, engine_class, engine_from, engine_of, options_of


@pytest.mark.parametrize("method", METHODS)
def test_options_are_those_of_the_class_with_its_defaults(method):
    assert engine_class(method)(**options_of(method)) == engine_of(method) == engine_from(method)
    assert engine_of(engine_of(method)) == engine_of(method)
    assert engine_of(method).method == method


def test_the_engine_left_out_is_that_of_infinite_width():
    assert engine_of(None) == engine_of("") == fm.InfiniteWidth()


def test_options_by_name():
    assert engine_from("sampled", width=8, nets=None, seed=3) == fm.Sampled(width=8, seed=3)
    assert engine_from("infinite", rank=None, seed=3) == fm.InfiniteWidth(seed=3)
    assert engine_from("finite", width=64, batch=4, seed=3) == fm.FiniteWidth(64, batch=4, seed=3)


@pytest.mark.parametrize(
    ("method", "options", "said"),
    [
        ("finite", {"width": 64, "nets": 5}, 'nets belongs to method="sampled"; method="finite" has none.'),
        ("infinite", {"batch": 2}, 'batch belongs to method="finite"; method="infinite" has none.'),
        (
            "infinite",
            {"width": 2},
            'width belongs to method="finite" or "sampled"; method="infinite" has none.',
        ),
        ("finite", {"rank": 5}, 'rank belongs to method="infinite"; method="finite" has none.'),
        ("sampled", {"dtype": "float32"}, 'dtype belongs to method="infinite"; method="sampled" has none.'),
        ("sampled", {"nets": 0}, "nets must be a whole number from 1 to 1000000, not 0."),
        ("exact", {}, "method must be one of infinite, finite, sampled, measured, given, not 'exact'."),
        (["finite"], {}, "method must be one of infinite, finite, sampled, measured, given, not ['finite']."),
    ],
)
def test_what_an_engine_has_not_is_said(method, options, said):
    with pytest.raises(ValueError) as caught:
        engine_from(method, **options)
    assert str(caught.value) == said


@pytest.mark.parametrize("wrong", [3, fm.Sampled, {"width": 3}, fm.vanilla(2)])
def test_what_is_no_engine_is_refused(wrong):
    with pytest.raises(ValueError, match=r"engine must be an engine such as fastmoments.InfiniteWidth\(\)"):
        engine_of(wrong)
