import json
import math

import numpy as np
import pytest

from fastmoments.scans.curves import MOMENTS


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
    assert values["verdict"]["sensitivity"] == {"law": None, "rate": None}
    assert (values["verdict"]["label"], values["verdict"]["source"]) == ("well-behaved", "budget")
    assert values["verdict"]["budget"]["snr_db"] < 0.0
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
