"""`fastmoments doctor`."""

from command_line import run


def test_doctor(monkeypatch):
    output = run("doctor").stdout
    for word in ("numba", "threads", "cache", "relu            ok", "batch norm      ok"):
        assert word in output
    assert output.endswith("\nok\n")
    from fastmoments.cli import selftest

    monkeypatch.setitem(selftest.TESTS, "relu", lambda: selftest._difference([1.0], 2.0, 1e-3))
    result = run("doctor", code=1)
    assert "relu            FAILED: off by 1.0e+00" in result.stdout
    assert result.stderr == "Error: The self-test failed: relu.\n"
