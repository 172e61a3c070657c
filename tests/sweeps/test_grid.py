"""The grid of a sweep, its items, and their rows."""

import functools
import itertools
import json
import math
import os
import re
from concurrent.futures import Executor
from pathlib import Path

import numpy as np
import pytest
from grids import SMALL
from hypothesis import given
from hypothesis import strategies as st

import fastmoments as fm
from fastmoments.scans.curves import BACKWARD
from fastmoments.sweeps import grid
from fastmoments.sweeps.grid import check, compute, expand, filled, key, parameters

VALUES = {
    "family": st.sampled_from(list(fm.FAMILIES)),
    "depth": st.integers(0, 1000),
    "epsilon": st.floats(0, 1),
    "padding": st.sampled_from(["periodic", "zeros", "symmetric"]),
    "input_conv": st.booleans(),
    "count": st.integers(1, 9),
    "seed": st.integers(0, 9),
}

GRIDS = st.fixed_dictionaries(
    {},
    optional={name: st.lists(values, min_size=1, max_size=4, unique=True) for name, values in VALUES.items()},
)


@given(GRIDS, st.randoms())
def test_grid_is_the_product_in_order(lists, random):
    shuffled = dict(random.sample(list(lists.items()), len(lists)))
    items = expand(filled(shuffled))
    full = filled(lists)
    assert list(full) == list(parameters())
    assert [tuple(item.values()) for item in items] == list(itertools.product(*full.values()))
    assert len(items) == math.prod(map(len, lists.values())) * (1 if "family" in lists else 4)
    assert len({key(item) for item in items}) == len(items)
    for name, values in lists.items():
        assert list(dict.fromkeys(item[name] for item in items)) == values


@given(
    st.lists(st.integers(1, 999), min_size=1, max_size=4, unique=True),
    st.lists(st.integers(1, 99), min_size=1, max_size=3, unique=True),
    st.lists(st.integers(1, 99), min_size=1, max_size=3, unique=True),
)
def test_what_a_method_does_not_know_is_not_swept_there(widths, nets, ranks):
    lists = {
        "family": "bn_ff",
        "method": ["infinite", "sampled"],
        "width": widths,
        "nets": nets,
        "rank": ranks,
    }
    items = expand(filled(lists))
    infinite = [item for item in items if item["method"] == "infinite"]
    sampled = [item for item in items if item["method"] == "sampled"]
    assert [item["rank"] for item in infinite] == ranks
    assert [(item["width"], item["nets"]) for item in sampled] == list(itertools.product(widths, nets))
    assert {item["width"] for item in infinite} == {item["rank"] for item in sampled} == {None}
    assert len({key(item) for item in items}) == len(items) == len(infinite) + len(sampled)


def test_parameters_are_those_of_the_presets_and_of_scan():
    import inspect

    known = parameters()
    for name in inspect.signature(fm.bn_res).parameters:
        assert name in known
    assert {"method", "width", "nets", "every", "rank"} <= set(known)
    assert set(inspect.signature(fm.load_images).parameters) <= set(known)
    assert not {"network", "images", "threads", "progress"} & set(known)


def test_keys_do_not_change():
    # A journal outlives the process, so a key must not depend on it.
    item = {"family": "vanilla", "depth": 2, "epsilon": 0.001, "rank": None}
    assert key(item) == key(json.loads(json.dumps(item))) == "b735ca5b9c76755b"


def test_plain_values():
    lists = filled({"depth": np.arange(2, 5), "epsilon": [0, np.float64(0.5)], "source": Path("a/b.npy")})
    assert lists["depth"] == [2, 3, 4]
    assert [type(value) for value in lists["depth"]] == [int] * 3
    assert [repr(value) for value in lists["epsilon"]] == ["0.0", "0.5"]
    assert lists["source"] == [os.path.join("a", "b.npy")]
    assert filled({"depth": np.array(7)})["depth"] == [7]
    assert filled({"depth": range(2)})["depth"] == [0, 1]


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ([1, 2], "grid must map parameters to lists of values"),
        ({"epsilom": 1}, "unknown parameter 'epsilom' (did you mean 'epsilon'?)"),
        ({"threads": 1}, "unknown parameter 'threads'"),
        ({"depth": []}, "depth has no values"),
        ({"depth": [5, 7, 5]}, "depth lists the value 5 twice"),
        ({"epsilon": [1, 1.0]}, "epsilon lists the value 1.0 twice"),
        ({"epsilon": [0.1, math.nan]}, "epsilon must be finite"),
        ({"family": "bnff"}, "family must be one of vanilla, residual, bn_ff, bn_res, not 'bnff'"),
        ({"method": ["infinite", "exact"]}, "method must be one of infinite, finite, sampled, not 'exact'"),
        ({"depth": [5, -1]}, "depth must be a whole number from 0 to 1000000, not -1"),
        ({"depth": [5, "ten"]}, "depth must be a whole number from 0 to 1000000, not 'ten'"),
        ({"depth": [[5]]}, "depth must be numbers, texts or truth values, not [5]"),
        ({"padding": "same"}, "padding must be one of"),
        ({"input_conv": "no"}, "input_conv must be true or false, not 'no'"),
        ({"epsilon": -1}, "epsilon must be"),
        ({"source": np.zeros((4, 8, 8))}, "save an array as .npy"),
        ({"layout": ["nhwc", "hwc"]}, "layout must be one of auto, nhwc, nchw, not 'hwc'"),
        ({"layout": "nchw"}, "fashion-mnist: the order of these axes is known"),
        ({"size": "8x8"}, "only PNG and JPEG images"),
        ({"source": "fashion-mnst"}, "did you mean 'fashion-mnist'?"),
        ({"count": [8, 1000]}, "count is 1000, but there are only 256 images"),
        ({"seed": [0, -1]}, "seed must be a whole number"),
        ({"every": 0}, "every must be a positive whole number, not 0"),
        ({"width": 64}, 'width belongs to method="finite" or "sampled"'),
        ({"method": "sampled", "width": [64, 0]}, "width must be a whole number from 1 to 1000000, not 0"),
        ({"method": "sampled", "nets": 2.5}, "nets must be a whole number from 1 to 1000000, not 2.5"),
        ({"rank": 0}, "rank must be a positive whole number, not 0"),
        ({"draw": "dice", "method": "sampled"}, "draw must be one of"),
        ({"depth": range(1000), "seed": range(1000)}, "the grid has 4000000 scans, more than 100000"),
    ],
)  # fmt: skip
def test_refusals_come_before_anything_runs(wrong, words, tmp_path):
    class Never(Executor):
        def submit(self, *arguments):
            raise AssertionError("nothing may run")

    with pytest.raises(ValueError, match=re.escape(words)) as caught:
        fm.sweep(wrong, executor=Never(), output=tmp_path / "x.csv")
    assert "\n" not in str(caught.value)
    assert os.listdir(tmp_path) == []


def test_rows_are_the_ends_of_scans():
    lists = {"family": ["bn_res"], "depth": [20], "source": "synthetic:4x4", "seed": 3, "every": 2}
    (row,) = fm.sweep(lists, processes=1)
    scan = fm.scan(fm.bn_res(20), fm.load_images("synthetic:4x4", 8, 3), every=2, threads=1)
    assert row["verdict"] == scan.verdict.label
    assert (row["law"], row["rate"]) == (scan.verdict.law, scan.verdict.rate)
    for name in scan.moments:
        assert row[name] == scan[name][0 if name in BACKWARD else -1]
    assert row["layer_error"] == scan.provenance["layer_error"]
    assert row["error"] is None
    assert not any(name.endswith("_sigma") for name in row)


def test_images_are_read_as_the_grid_says(tmp_path):
    images = np.random.default_rng(0).random((8, 3, 3, 3))
    np.save(tmp_path / "a.npy", images)
    found = {}
    for layout, array in (("nhwc", images), ("nchw", images.transpose(0, 2, 3, 1))):
        lists = filled({"family": "bn_ff", "depth": 2, "source": tmp_path / "a.npy", "layout": layout})
        (item,) = expand(lists)
        assert len(check([item])) == 1
        found[layout] = compute(item, fm.__version__)
        scan = fm.scan(fm.bn_ff(2), fm.load_images(array, 8, layout="nhwc"), threads=1)
        assert (found[layout]["chi"], found[layout]["layout"]) == (scan["chi"][-1], layout)
    assert found["nhwc"]["chi"] != found["nchw"]["chi"]


def test_sampled_rows_have_deviations():
    lists = {
        "family": "vanilla",
        "depth": 3,
        "source": "synthetic:4x4",
        "method": "sampled",
        "width": 8,
        "seed": 2,
    }
    (row,) = fm.sweep({**lists, "nets": 3}, processes=1)
    images = fm.load_images("synthetic:4x4", 8, 2)
    scan = fm.scan(fm.vanilla(3), images, fm.Sampled(width=8, nets=3, seed=2), threads=1)
    assert (row["width"], row["nets"]) == (8, 3)
    assert (row["chi"], row["chi_sigma"]) == (scan["chi"][-1], scan.curve("chi").sigma[-1])


def test_unforeseen_problems_are_rows_too(monkeypatch):
    problems = iter([MemoryError(), TypeError("a\ndefect"), np.linalg.LinAlgError("no convergence")])

    def fail(*arguments, **options):
        raise next(problems)

    item = expand(filled(SMALL))[0]
    monkeypatch.setattr(grid, "scan", fail)
    monkeypatch.setattr(grid, "_defaults", lambda function, without=(): {})
    monkeypatch.setattr(grid, "_network", lambda item, network: None)
    errors = [compute(item, fm.__version__)["error"] for _ in range(3)]
    assert errors == [
        "There is not enough memory; use fewer or smaller images.", "TypeError: a defect", "no convergence"
    ]  # fmt: skip


def test_warming_up_takes_one_tiny_scan_of_a_kind(monkeypatch):
    small = []
    monkeypatch.setattr(grid, "compute", lambda item, version, network: small.append(item))
    items = expand(filled({**SMALL, "method": ["infinite", "sampled"], "count": [3, None], "nets": 7}))
    grid.warm(items)
    assert len(items) == 32
    assert {(item["family"], item["method"]) for item in small} == set(
        itertools.product(SMALL["family"], ["infinite", "sampled"])
    )
    assert len(small) == 4
    assert {(item["depth"], item["count"]) for item in small} == {(1, 2)}
    assert {item["nets"] for item in small} == {None, 1}


def test_a_scan_has_one_thread(monkeypatch):
    threads, scan = [], grid.scan

    @functools.wraps(scan)
    def spied(*arguments, **options):
        threads.append(options["threads"])
        return scan(*arguments, **options)

    monkeypatch.setattr(grid, "scan", spied)
    fm.sweep({**SMALL, "depth": 2}, processes=1)
    assert len(threads) > 4
    assert set(threads) == {1}
