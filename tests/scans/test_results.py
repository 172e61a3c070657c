import json
import math

import numpy as np
import pytest

import fastmoments as fm
from fastmoments.covariances.scales import log
from fastmoments.engines.protocol import Station, recorded_depths
from fastmoments.scans.files import checked_ending, write_atomically
from fastmoments.scans.results import MOMENTS, gather


@pytest.fixture(scope="module")
def scans():
    images = fm.load_images("synthetic:6x6x2", 3)
    return {
        "infinite": fm.scan(fm.bn_res(4), images, every=2),
        "sampled": fm.scan(fm.bn_res(4), images, fm.Sampled(width=8, nets=3), every=2),
        "shallow": fm.scan(fm.vanilla(0), images),
        "deep": fm.scan(fm.residual(1200, 1), images, every=600),
    }


@pytest.mark.parametrize("name", ["infinite", "sampled", "shallow", "deep"])
@pytest.mark.parametrize("ending", ["json", "npz"])
def test_a_saved_scan_comes_back_whole(scans, name, ending, tmp_path):
    fm.save_scan(scans[name], tmp_path / f"scan.{ending}")
    assert fm.load_scan(tmp_path / f"scan.{ending}").to_dict() == scans[name].to_dict()
    assert [path.name for path in tmp_path.iterdir()] == [f"scan.{ending}"]


def test_the_json_follows_its_schema(scans):
    values = json.loads(json.dumps(scans["infinite"].to_dict(), allow_nan=False))
    assert values["schema"] == "fastmoments.scan/2"
    assert values["depth"] == [2, 4]
    assert values["locs"] == ["input", "norm", "act", "conv", "branch", "merge"]
    assert list(values["moments"]) == list(MOMENTS)
    assert values["moments"]["chi"]["merge"]["sigma"] is None
    assert values["data"] == {
        "source": "synthetic:6x6x2", "images": 3, "height": 3, "width": 3, "points": 27, "seed": 0,
    }  # fmt: skip
    assert values["verdict"]["label"] is None
    assert set(values["provenance"]) >= {"fastmoments", "numba", "seconds", "threads", "dtype"}


def test_values_beyond_float64_are_null_and_their_logarithms_are_not(scans):
    moments = scans["deep"].to_dict()["moments"]
    assert moments["nu2_signal"]["merge"]["mean"] == [pytest.approx(2.0**600, rel=0.5), None]
    assert moments["log_nu2_signal"]["merge"]["mean"][1] == pytest.approx(1200 * math.log(2), rel=1e-3)


def test_rows_and_frame(scans):
    rows = scans["sampled"].rows()
    assert [(row["depth"], row["loc"]) for row in rows[:2]] == [(2, "input"), (2, "norm")]
    assert rows[1]["chi_sigma"] > 0
    frame = pytest.importorskip("pandas") and scans["infinite"].to_dataframe()
    assert frame.loc[(4, "merge"), "chi"] == scans["infinite"]["chi"][-1]


def test_csv(scans, tmp_path):
    fm.save_scan(scans["infinite"], tmp_path / "scan.csv")
    head, *lines = (tmp_path / "scan.csv").read_text().splitlines()
    assert head.split(",")[:2] == ["depth", "loc"]
    assert len(lines) == 2 * 6


def test_curves_are_found_by_name_and_station(scans):
    scan = scans["infinite"]
    np.testing.assert_array_equal(scan["chi"], scan["chi", "merge"])
    np.testing.assert_array_equal(scan["mu4_signal"], scan["mu4_signal", "norm"])
    np.testing.assert_array_equal(scan["reff_signal"], scan["reff_signal", "act"])
    growth = scan["chi", "conv"] / scan["chi", "input"]
    np.testing.assert_allclose(scan["delta_chi"], growth)
    np.testing.assert_allclose(scan["delta_chi_bn"] * scan["delta_chi_phi"], growth)
    assert np.all(scan.standard_error("chi") == 0)
    assert np.all(scans["sampled"].standard_error("chi") > 0)
    with pytest.raises(KeyError, match="no moment"):
        scan["kappa"]
    with pytest.raises(KeyError, match="no chi at station"):
        scan["chi", "output"]
    assert repr(scan).startswith("<Scan of bn_res: infinite, 2 depths to 4, 27 points")


def test_nets_are_averaged_net_by_net():
    """The mean of chi is that of each net's chi; growth is taken within each net."""
    stations = [
        Station(f"layers.{loc}", "ReLU", 1, loc, {"log_chi": value}, net=net)
        for net, pair in enumerate([(0.0, 1.0), (1.0, 3.0)])
        for loc, value in zip(("input", "act"), pair, strict=True)
    ]
    _, locs, moments = gather(stations, [1], 2)
    assert locs == ("input", "act")
    assert moments["chi"]["act"].mean == pytest.approx((math.e + math.e**3) / 2)
    assert moments["delta_chi"]["act"].mean == pytest.approx((math.e + math.e**2) / 2)
    assert moments["log_chi"]["act"].sigma == pytest.approx(math.sqrt(2))


def test_depths():
    assert recorded_depths(0, 5) == [0]
    assert recorded_depths(7, 3) == [3, 6, 7]
    assert recorded_depths(2, 10) == [2]
    assert log(0.0) == -math.inf
    assert math.isnan(log(math.nan))


def test_a_failed_write_leaves_what_was_there(tmp_path):
    path = tmp_path / "result.json"
    path.write_text("old")
    with pytest.raises(TypeError):
        write_atomically(path, "not bytes")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(ValueError, match="Cannot write"):
        write_atomically(tmp_path / "missing" / "result.json", b"")
    with pytest.raises(ValueError, match="must end in"):
        checked_ending("result.txt")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.json", b"{"),
        ("a.json", b"[]"),
        ("a.json", b'{"schema": "other/1"}'),
        ("a.npz", b"PK nonsense"),
        ("a.npz", b""),
    ],
)
def test_a_damaged_file_is_refused(name, content, tmp_path):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match="not a scan saved by fastmoments"):
        fm.load_scan(tmp_path / name)


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(ValueError, match="There is no file"):
        fm.load_scan(tmp_path / "none.json")
