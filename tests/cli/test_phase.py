"""`fastmoments phase`."""

import csv
import io
import json

import pytest
from command_line import run


def test_the_table_has_the_critical_gains():
    lines = run("phase", "tanh", "--points", "11").stdout.splitlines()
    assert lines[0].startswith("Tanh: ") and "ordered" in lines[0] and "chaotic of 121 points" in lines[0]
    rows = {line.split()[0]: line.split()[1:] for line in lines[4:]}
    assert rows["0"][:3] == ["1", "0", "yes"] and rows["0.05"][:2] == ["1.761", "0.57"]
    assert "-" in run("phase", "ReLU", "--points", "3").stdout


def test_json_csv_and_a_figure(tmp_path):
    common = ("phase", "gelu", "--gain", "1.5:2.5", "--bias", "0:0.2", "--points", "5")
    found = json.loads(run(*common, "--format", "json", "--plot", str(tmp_path / "x.png")).stdout)
    assert len(found["points"]) == 25 and found["activation"] == {"type": "GELU"}
    assert (tmp_path / "x.png").read_bytes().startswith(b"\x89PNG")
    run(*common, "--output", str(tmp_path / "x.csv"))
    rows = list(csv.DictReader(io.StringIO((tmp_path / "x.csv").read_text())))
    assert len(rows) == 25 and rows[0]["gain"] == "1.5" and rows[0]["phase"] == "ordered"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (("tanhh",), "'tanhh' is not one of"),
        (("tanh", "--gain", "4:1"), "'4:1' is not two rising numbers"),
        (("tanh", "--gain", "0:1"), "--gain must begin above 0"),
        (("tanh", "--bias", "nan:1"), "'nan:1' is not two rising numbers"),
        (("tanh", "--bias", "0:1e9"), "bias_variance must be at most 1000"),
        (("tanh", "--points", "1"), "1 is not in the range"),
        (("tanh", "--plot", "x.bmp"), "its name must end in .png"),
    ],
)
def test_a_wrong_call(given, said):
    result = run("phase", *given, code=2)
    assert said in result.stderr and "Traceback" not in result.stderr
