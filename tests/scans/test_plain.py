"""Plain values back into scans: all that can be one, and nothing else."""

import copy
import json
import math

import numpy as np
import pytest

from fastmoments.engines.protocol import Station
from fastmoments.scans.plain import checked_fields, from_dict, station_from
from fastmoments.scans.results import SCHEMA


def test_values_that_are_null_come_back_as_none_are(scans):
    described = scans["infinite"].to_dict()
    described["moments"]["chi"]["act"]["mean"][0] = None
    again = from_dict(described)
    assert np.isnan(again["chi", "act"][0]) and again["chi", "act"][1] == scans["infinite"]["chi", "act"][1]
    with pytest.raises(ValueError, match="Unknown schema"):
        from_dict({"schema": "fastmoments.scan/0"})


@pytest.mark.parametrize("name", ["infinite", "sampled", "shallow", "deep"])
def test_scans_come_back(scans, name):
    assert from_dict(json.loads(json.dumps(scans[name].to_dict()))).to_dict() == scans[name].to_dict()


def test_the_older_schema_has_no_stations(scans):
    described = scans["infinite"].to_dict() | {"schema": "fastmoments.scan/1"}
    del described["stations"]
    assert from_dict(described).stations == ()


#: Where in the plain values of a scan, and what cannot stand there.
WRONG = [
    (("architecture",), ["bn_ff", None, {}, {"name": 3}, {"name": ""}]),
    (("method",), ["dice", None, 3, []]),
    (("width",), [0, "64", 1e20, 10**20, True]),
    (("nets",), [-1, 2.5, "NaN", 10**20]),
    (("data",), [None, [], {"points": 3}]),
    (("data", "points"), [None, 0, "9", 2.5]),
    (("data", "source"), [3, None]),
    (("depth",), [None, 4, [], [2], [4, 2], [2, 2], [2, "4"], [-2, 4], [2, 10**9], [[2], [4]]]),
    (("locs",), [None, ["=cmd"], [3], [["act"]]]),
    (("moments",), [None, [], {"gamma": {}}, {"chi": {}}, {"chi": []}, {"chi": {"=cmd": {}}}]),
    (("moments", "chi", "act"), [None, [], {}, {"mean": [1.0, 2.0]}]),
    (("moments", "chi", "act", "mean"), [None, [], [1.0], [1.0, "2"], [1.0, [2.0]], [10**400, 1], [True, 1]]),
    (("moments", "chi", "act", "sigma"), [[], ["NaN", 1.0], "none"]),
    (("stations",), [None, {}, [None], [{}], [[]]]),
    (("stations", 0, "path"), [None, 3, "layers", "layers.x", "layers." * 1000, ["layers.1"]]),
    (("stations", 0, "depth"), [None, -1, 10**9, "1"]),
    (("stations", 0, "loc"), ["=cmd", 3]),
    (("stations", 0, "grid"), [3, [3], [3, 0], ["3", "3"]]),
    (("stations", 0, "channels"), [0, "many"]),
    (("stations", 0, "law"), [3, []]),
    (("stations", 0, "error"), ["small", []]),
    (("stations", 0, "moments"), [None, [], {"gamma": {"mean": 1.0}}, {"chi": {}}, {"chi": {"mean": "1"}}]),
    (("provenance",), [None, "here"]),
]


@pytest.mark.parametrize(
    ("where", "value"), [(where, value) for where, values in WRONG for value in values], ids=repr
)
def test_what_cannot_be_a_scan_is_refused(scans, where, value):
    described = copy.deepcopy(scans["infinite"].to_dict())
    at = described
    for key in where[:-1]:
        at = at[key]
    at[where[-1]] = value
    with pytest.raises(ValueError):
        from_dict(described)
    del at[where[-1]]
    if where not in (("stations",), ("moments", "chi", "act"), ("stations", 0, "channels")):
        with pytest.raises(ValueError):
            from_dict(described)


def test_what_is_no_table_is_refused():
    for nothing in (None, [], 3, "scan", {}, {"schema": SCHEMA}, {"schema": [1]}):
        with pytest.raises(ValueError):
            from_dict(nothing)
    with pytest.raises((ValueError, KeyError)):
        checked_fields({"architecture": {}})


STATION = {"path": "layers.1", "layer": "ReLU", "depth": 1, "loc": "act", "moments": {"log_chi": -1.5}}


def test_stations_come_back():
    assert station_from(STATION, None) == Station("layers.1", "ReLU", 1, "act", {"log_chi": -1.5})
    unknown = station_from(STATION | {"moments": {"log_chi": math.nan, "reff_signal": math.nan}}, None)
    assert math.isnan(unknown.moments["log_chi"])
    assert station_from(STATION | {"net": 2, "grid": [4, 3]}, 3).grid == (4, 3)


@pytest.mark.parametrize(
    "wrong",
    [
        {"depth": 10**9}, {"depth": -1}, {"depth": "1"}, {"loc": "=cmd"}, {"loc": 3}, {"path": "nowhere"},
        {"path": 3}, {"layer": None}, {"moments": {"gamma": 1.0}}, {"moments": {"log_chi": "1"}},
        {"moments": {"reff_signal": -1.0}}, {"moments": []}, {"net": 3}, {"net": -1}, {"error": -1.0},
        {"error": "none"}, {"sigmas": {"log_chi": -0.1}}, {"grid": [0, 1]}, {"grid": 3}, {"channels": 0},
        {"law": 3}, {"colour": "red"},
    ],
    ids=str,
)  # fmt: skip
def test_what_cannot_be_a_station_is_refused(wrong):
    with pytest.raises((ValueError, TypeError)):
        station_from(STATION | wrong, 3)
