"""What all fuzz targets share: how many cases, how long one may take, what may come of it.

Whatever is given to the package, it computes or it refuses in one sentence. Together the targets run 10,000
cases under the marker `slow`, and some hundred of them always.
"""

import contextlib
import faulthandler
import math
import os
import signal
import sys
import tempfile

import numpy as np
import pytest
from hypothesis import HealthCheck, currently_in_test_context, event, given, settings
from hypothesis import strategies as st

from fastmoments.scans.verdict import LAW

#: Cases that always run, of every target.
FEW = 40
#: Seconds of computing in which a case must be done (the first may have to compile), and on the clock.
SECONDS, PATIENCE = 60, 600

#: What stands where something else is expected.
JUNK = st.one_of(
    st.none(), st.booleans(), st.text(max_size=4), st.integers(-3, 9), st.floats(),
    st.sampled_from(
        [10**20, -(10**9), 10**400, 1e308, 5e-324, "NaN", "=cmd|'/C calc'!A0", "", [], {}, [[]], [None],
         {"a": 1}]
    ),
)  # fmt: skip


def mostly(usual, rare, times=9):
    """A strategy that draws what is usual so many times as often as what is rare."""
    return st.integers(0, times).flatmap(lambda number: rare if number == times else usual)


class TooLong(AssertionError):
    """A case was not done in time."""


@contextlib.contextmanager
def in_time():
    """Fail a case that computes for ever; where one waits for ever, end the process and say where."""

    def ring(number, frame):
        raise TooLong(f"not done in {SECONDS} seconds")

    before = signal.signal(signal.SIGPROF, ring)
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    faulthandler.dump_traceback_later(PATIENCE, exit=True, file=sys.__stderr__)
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()
        signal.setitimer(signal.ITIMER_PROF, 0.0)
        signal.signal(signal.SIGPROF, before)


@contextlib.contextmanager
def a_folder():
    """An empty folder as the working directory."""
    before = os.getcwd()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        try:
            yield folder
        finally:
            os.chdir(before)


def fuzzed(check, cases, strategy, few=FEW):
    """Two tests of a property: of a few cases, and, marked slow, of many.

    Parameters
    ----------
    check : callable
        Of a case; it fails where the package does what it must not.
    cases : int
    strategy : hypothesis strategy
        Draws cases.
    few : int
        Cases that always run.
    """

    def of(number):
        def test(case):
            with in_time():
                check(case)

        quiet = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]
        return settings(max_examples=number, suppress_health_check=quiet)(given(strategy)(test))

    return of(few), pytest.mark.slow(of(cases))


def is_sentence(problem):
    """Whether an exception says in one sentence what is wrong."""
    said = str(problem)
    return said.rstrip(")").endswith((".", "?")) and "\n" not in said and 10 < len(said) < 1000


def count(what):
    """Have hypothesis count an event, where it runs."""
    if currently_in_test_context():
        event(what)


def refused(call, *arguments, **options):
    """What a call returns, or None if it was refused in one sentence (events for hypothesis's statistics)."""
    try:
        found = call(*arguments, **options)
        count(f"{call.__name__}: done")
        return found
    except (ValueError, ArithmeticError) as problem:
        assert not isinstance(problem, np.linalg.LinAlgError), repr(problem)
        assert is_sentence(problem), repr(problem)
        count(f"{call.__name__}: refused")
        return None


def check_scan(scan):
    """What is said of a net must be known: no NaN under a verdict, no error without a size."""
    assert scan.depth.size and (np.diff(scan.depth) > 0).all()
    if scan.verdict.source == LAW:  # which rests on curves
        for name in ("log_chi", "reff_signal"):
            assert not np.isnan(scan[name]).any(), name
    elif scan.verdict.label is not None:  # on what is left at the output
        left = scan.verdict.budget
        assert left is not None and math.isfinite(left.snr_db) and (left.directions or 0.0) >= 1.0 - 1e-6
    if scan.verdict.reff_last is not None:
        assert scan.verdict.reff_last > 0.0
    assert not math.isnan(scan.provenance.get("layer_error", 0.0))
