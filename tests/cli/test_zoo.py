import json

from command_line import run

from fastmoments.nets.zoo import NETS


def test_every_net_is_listed_with_its_layers():
    lines = {line.split()[0]: line.split()[1:] for line in run("zoo").stdout.splitlines() if line.strip()}
    assert set(NETS) < set(lines)
    # 17 convolutions and a dense layer, which the name counts, and three projections.
    assert lines["resnet18"] == ["9", "21"] and lines["vgg16"] == ["16", "16"]


def test_a_published_net_is_scanned_by_its_name():
    common = ("scan", "resnet20", "--images", "synthetic:32x32x3", "--count", "2", "--quiet")
    found = json.loads(run(*common, "--format", "json").stdout)
    assert found["architecture"]["name"] == "resnet20" and found["stations"][-1]["layer"] == "Dense"
    assert "resnet20: " in run(*common, "--dry-run").stdout


def test_a_published_net_has_no_parameters_of_a_family():
    said = run("scan", "resnet20", "--depth", "3", code=2).stderr
    assert "--depth is for one of vanilla, residual, bn_ff, bn_res; resnet20 is as published" in said
