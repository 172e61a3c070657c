import json
import math

import numpy as np
import pytest

import fastmoments as fm
from fastmoments.nets.network import walk

IMAGES = fm.load_images("synthetic:8x8x3", 4, seed=0)
NET = fm.bn_res(4)
UNIT = [
    *(f"branch.{index}" for index in range(6)),
    "",
]


def unit(depth):
    return [f"layers.{depth - 1}.{part}".rstrip(".") for part in UNIT]


@pytest.mark.parametrize("engine", [fm.InfiniteWidth(), fm.Sampled(16, 3)], ids=["infinite", "sampled"])
def test_every_layer_has_a_station_in_walking_order(engine):
    scan = fm.scan(NET, IMAGES, engine)
    paths = ["", "stem.0", *(path for depth in range(1, 5) for path in unit(depth))]
    assert [station.path for station in scan.stations] == paths
    kinds = ["images", "Conv", *(type(layer).__name__ for _, layer in walk(NET.layers))]
    assert [station.layer for station in scan.stations] == kinds
    assert scan.stations[0].grid == (8, 8) and scan.stations[1].grid == (4, 4)
    assert scan.station("layers.1.branch.5").loc == "branch"


def test_they_agree_with_the_curves():
    scan = fm.scan(NET, IMAGES, every=2)
    for station in scan.stations:
        if station.loc and station.depth:
            at = scan.depth.tolist().index(station.depth)
            for name in ("chi", "log_chi", "mu2_signal"):
                assert station.mean[name] == scan[name, station.loc][at]
    # The input of a recorded unit is the output of one that is not.
    assert [s.path for s in scan.stations][:3] == ["", "stem.0", "layers.0"]
    assert scan.station("layers.0").mean["chi"] == scan["chi", "input"][0]
    assert scan.station("layers.0").loc is None


def test_the_last_convolution_of_a_branch_is_the_one_before_the_merge():
    """Of a plain residual unit the merge adds the last convolution's variance, not the first's."""
    scan = fm.scan(fm.residual(3), IMAGES, fm.InfiniteWidth())
    before = scan["nu2_signal", "input"]
    np.testing.assert_allclose(scan["nu2_signal", "merge"], before + scan["nu2_signal", "branch"])
    last = [scan.station(f"layers.{unit}.branch.3").mean["nu2_signal"] for unit in range(3)]
    np.testing.assert_array_equal(last, scan["nu2_signal", "branch"])


def test_sampled_stations_are_means_over_nets():
    stations = []
    scan = fm.scan(fm.vanilla(2), IMAGES, fm.Sampled(8, 4), progress=stations.append)
    values = np.exp([s.moments["log_chi"] for s in stations if s.path == "layers.3"])
    assert scan.station("layers.3").mean["chi"] == pytest.approx(values.mean(), rel=1e-14)
    assert scan.station("layers.3").sigma["chi"] == pytest.approx(values.std(ddof=1), rel=1e-12)


def test_signal_to_noise_in_decibels():
    scan = fm.scan(NET, IMAGES)
    station = scan.station("layers.2")
    assert station.snr_db == pytest.approx(-20.0 * math.log10(station.mean["chi"]))
    assert scan.station("layers.2.branch.1").directions == scan["reff_signal"][2]
    assert station.directions is None


def test_report_says_what_each_layer_costs():
    rows = {row["path"]: row for row in fm.scan(NET, IMAGES).report().rows}
    assert rows["images"]["snr_db"] == pytest.approx(0.0, abs=1e-12)
    assert rows["images"]["snr_change_db"] is None
    # Along a branch the changes add up to that of the branch; a merge is compared with where it parts.
    change = sum(rows[path]["snr_change_db"] for path in unit(2)[:-1])
    assert change == pytest.approx(rows["layers.1.branch.5"]["snr_db"] - rows["layers.0"]["snr_db"])
    merge = rows["layers.1"]["snr_db"] - rows["layers.0"]["snr_db"]
    assert rows["layers.1"]["snr_change_db"] == pytest.approx(merge)


def test_report_of_nested_stacks():
    conv, relu = fm.Conv(), fm.ReLU()
    stage = fm.Network([conv, relu])
    projected = fm.Residual([conv, relu, conv], shortcut=[fm.Conv(1)])
    rows = {row["path"]: row for row in fm.scan(fm.Network([stage, projected]), IMAGES).report().rows}
    at = rows["layers.0.layers.1"]["snr_db"]
    for path in ("layers.1.branch.0", "layers.1.shortcut.0", "layers.1"):
        assert rows[path]["snr_change_db"] == pytest.approx(rows[path]["snr_db"] - at)


def test_report_as_a_table():
    text = str(fm.scan(NET, IMAGES, every=4).report())
    head, *lines = text.splitlines()
    assert head.startswith("Scan of bn_res: infinite")
    assert "layers.3.branch.4  ReLU" in text and "gaussian" in text
    remarks, table = lines[: lines.index("")], lines[lines.index("") :]
    assert remarks[0].startswith("SNR ") and remarks[-1].startswith("layers that lost most: layers.3.branch")
    assert len(table) == 3 + 3 + 7
    # What its input is has not been recorded.
    cells = table[5].split()
    assert cells[:2] == ["layers.2", "Residual"] and cells[6] == "-"
    finite = str(fm.scan(NET, IMAGES, fm.FiniteWidth(64)).report())
    assert "law" not in finite.splitlines()[2]


def test_json_holds_the_stations_and_files_of_scan_1_are_read(tmp_path):
    scan = fm.scan(NET, IMAGES, fm.FiniteWidth(64))
    values = json.loads(json.dumps(scan.to_dict(), allow_nan=False))
    row = next(row for row in values["stations"] if row["path"] == "layers.3.branch.0")
    assert (row["layer"], row["depth"], row["loc"], row["channels"]) == ("BatchNorm", 4, "norm", 64)
    assert set(row["moments"]["chi"]) == {"mean", "sigma"}
    old = {**values, "schema": "fastmoments.scan/1"}
    del old["stations"]
    (tmp_path / "old.json").write_text(json.dumps(old))
    again = fm.load_scan(tmp_path / "old.json")
    assert again.stations == ()
    np.testing.assert_array_equal(again["chi"], scan["chi"])


def test_what_is_not_there_is_said():
    with pytest.raises(KeyError, match=r"no station at 'layers\.9'"):
        fm.scan(NET, IMAGES).station("layers.9")


def test_activation_behind_a_merge_has_a_station():
    """Sampled, such a net had no number at every second depth."""
    unit = [fm.Residual([fm.Conv(), fm.BatchNorm(), fm.ReLU(), fm.Conv(), fm.BatchNorm()]), fm.ReLU()]
    net = fm.Network([fm.Conv(), fm.ReLU(), *unit * 3])
    scan = fm.scan(net, IMAGES, fm.Sampled(32, 2))
    assert net.depth == 4
    assert np.isfinite(scan["chi", "out"][1:]).all()
    assert np.isnan(scan["chi", "out"][0])
