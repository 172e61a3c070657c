"""`fastmoments compare`."""

import csv
import io
import json

from command_line import DEEP, SMALL, run

from fastmoments.nets.families import FAMILIES


def test_compare_sets_the_families_side_by_side():
    output = run("compare", *DEEP, "--every", 2, "--count", 8).stdout
    lines = output.splitlines()
    for name in FAMILIES:
        assert sum(line.startswith(name) for line in lines) == 1
    assert sum(line.split()[-4:] == list(FAMILIES) for line in lines) == 2
    assert "At depth 20: 8 images of synthetic:8x8x3, 8 points; infinite width" in output


def test_compare_json_and_csv():
    values = json.loads(run("compare", *SMALL, "--format", "json").stdout)
    assert values["schema"] == "fastmoments.compare/1"
    assert [each["architecture"]["name"] for each in values["scans"]] == list(FAMILIES)
    rows = list(csv.DictReader(io.StringIO(run("compare", *SMALL, "--format", "csv").stdout)))
    assert list(rows[0])[:3] == ["architecture", "depth", "loc"]
    assert list(dict.fromkeys(row["architecture"] for row in rows)) == list(FAMILIES)
    last = [row for row in rows if (row["architecture"], row["loc"]) == ("bn_res", "merge")][-1]
    assert float(last["chi"]) == values["scans"][-1]["moments"]["chi"]["merge"]["mean"][-1]
    assert last["delta_chi_bn"] == ""  # a moment of another station
