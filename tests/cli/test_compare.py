"""`fastmoments compare`."""

import csv
import io
import json

import numpy as np
from command_line import DEEP, SMALL, needs_matplotlib, run

import fastmoments as fm
from fastmoments.nets.families import FAMILIES
from fastmoments.nets.zoo import NETS


def test_compare_sets_the_families_side_by_side():
    output = run("compare", *DEEP, "--every", 2, "--count", 8).stdout
    lines = output.splitlines()
    for name in FAMILIES:
        assert sum(line.startswith(name) for line in lines) == 1
    assert sum(line.split()[-4:] == list(FAMILIES) for line in lines) == 2
    assert "At depth 20: 8 images of synthetic:8x8x3, 8 points; infinite width" in output


def test_any_nets_side_by_side(tmp_path):
    (tmp_path / "mine.toml").write_text(fm.bn_ff(20).to_toml().replace("bn_ff", "mine"))
    nets = ["resnet20", "bn_res", tmp_path / "mine.toml"]
    options = ["--images", "synthetic:8x8x3", "--count", 2, "--depth", 30, "--quiet"]
    output = run("compare", *nets, *options).stdout
    assert "At the last depth: 2 images of synthetic:8x8x3" in output
    rows = {line.split()[0]: line.split() for line in output.splitlines() if line.strip()}
    images = fm.load_images("synthetic:8x8x3", 2)
    for name, net in (("resnet20", NETS["resnet20"]()), ("bn_res", fm.bn_res(30)), ("mine", fm.bn_ff(20))):
        scan = fm.scan(net, images)
        assert rows[name][1] == str(net.depth)
        assert {f"{scan['chi'][-1]:.4g}", f"{-20 * np.log10(scan['chi'][-1]):.1f}"} <= {*rows[name]}
    half = rows["50%"]
    assert half[1] == f"{fm.scan(NETS['resnet20'](), images)['chi'][4]:.4g}" or len(half) == 4
    assert "chi at a share of the depth  resnet20  bn_res" in output
    assert json.loads(run("compare", *nets, *options, "--format", "json").stdout)["scans"][0]["depth"] == [
        *range(1, 11)
    ]


@needs_matplotlib
def test_the_figure_of_nets_of_different_depth(tmp_path):
    options = ["--images", "synthetic:8x8x3", "--count", 2, "--every", 1, "--quiet"]
    run("compare", "resnet20", "mlp", *options, "--plot", tmp_path / "x.png")
    assert (tmp_path / "x.png").read_bytes().startswith(b"\x89PNG")


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
