"""`fastmoments verify`."""

import csv
import io
import json

from command_line import SMALL, run

VERIFY = ["verify", "bn_ff", *SMALL, "--depth", "2", "--widths", "16,32", "--nets", "8", "--quiet"]


def test_verify_agrees():
    assert "agrees: largest |z|" in run(*VERIFY).stdout
    values = json.loads(run(*VERIFY, "--format", "json").stdout)
    assert values["agrees"] is True
    assert (values["widths"], values["nets"]) == ([16, 32], 8)
    rows = list(csv.DictReader(io.StringIO(run(*VERIFY, "--format", "csv").stdout)))
    assert len(rows) == len(values["comparisons"])
    assert float(rows[0]["z"]) == values["comparisons"][0]["z"]


def test_verify_at_finite_width():
    plain = ["verify", "vanilla", *SMALL, "--kernel-size", "1", "--depth", "2", "--nets", "8", "--quiet"]
    rows = list(csv.DictReader(io.StringIO(run(*plain, "--method", "finite", "--format", "csv").stdout)))
    assert {row["of"] for row in rows} == {"mean", "sigma"}
    assert {row["width"] for row in rows} == {"256"}
    assert "sigma: of the logarithm" in run(*plain, "--method", "finite", "--widths", "64").stdout


def test_verify_disagrees_with_a_wrong_formula(monkeypatch):
    from fastmoments.scans import verification

    exact = verification._values

    def wrong(stations):
        values = exact(stations)
        if len({station.net for station in stations}) == 1:  # the analytic ones
            values[2, "act"]["chi"][0] += 1.0
        return values

    monkeypatch.setattr(verification, "_values", wrong)
    result = run(*VERIFY, code=3)
    assert "DISAGREES" in result.stdout
    assert "chi at depth 2 (act) is" in result.stderr
