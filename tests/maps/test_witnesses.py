"""What witnesses tell, and that they come back from a journal."""

import numpy as np
import pytest

from fastmoments.maps.witnesses import SURE, TABLES, Witnesses


def witnesses(found, doubt):
    parts = np.zeros((2, 4), np.float32)
    return Witnesses(
        np.arange(2), parts, parts, np.eye(2), 0.5, 3, 0.8, 0.25, np.array([0.1, 0.2]), np.array(found),
        np.array(doubt),
    )  # fmt: skip


def test_errors_are_those_of_curves():
    """Chi is half the difference of noise and signal; that of log(r_eff - 1) is scaled to r_eff."""
    errors = witnesses([0.02, 0.04, -0.02], [0.0, 0.0, 0.0]).errors
    expected = {"log_nu2_signal": 0.0, "log_mu2_signal": 0.02, "log_mu2_noise": 0.02, "log_chi": 0.02}
    assert errors == pytest.approx(
        {name: TABLES + value for name, value in (expected | {"reff_signal": 0.01}).items()}
    )
    doubtful = witnesses([0.0, 0.0, 0.0], [4e-4, 1e-4, 0.0]).errors
    assert doubtful["log_mu2_signal"] == pytest.approx(TABLES + SURE * 0.02)
    assert doubtful["log_chi"] == pytest.approx(TABLES + 0.5 * SURE * 0.02)
    assert doubtful["reff_signal"] == pytest.approx(TABLES + 0.25 * SURE * 0.01)


def test_witnesses_are_taken_and_restored():
    told = witnesses([0.02, 0.04, -0.02], [4e-4, 1e-4, 0.0])
    again = Witnesses.restored(*told.taken())
    for name, value in told.__dict__.items():
        assert np.array_equal(getattr(again, name), value), name
