"""What the doctor tries: each test sees a fault of its kind."""

import numpy as np
import pytest

from fastmoments.cli import selftest


@pytest.mark.parametrize("name", selftest.TESTS)
def test_a_sound_installation_passes(name):
    assert selftest.TESTS[name]() is None


def test_a_difference_is_said_with_its_size_and_its_bound():
    assert selftest._difference([1.0, 2.0], np.array([1.0, 2.0 + 1e-9]), 1e-8) is None
    assert selftest._difference([1.0, 2.5], 2.0, 0.5) == "FAILED: off by 1.0e+00, more than 5e-01"


def test_a_wrong_kernel_is_seen(monkeypatch):
    exact = selftest.kernel
    monkeypatch.setattr(selftest, "kernel", lambda *net, **options: 1.00001 * exact(*net, **options))
    assert selftest.arc_cosine().startswith("FAILED: off by")


def test_a_wrong_batch_norm_is_seen(monkeypatch):
    exact = selftest.scan

    def wrong(*net, **options):
        found = exact(*net, **options)
        return {("mu2_signal", "norm"): 1.001 * found["mu2_signal", "norm"]}

    monkeypatch.setattr(selftest, "scan", wrong)
    assert selftest.batch_norm().startswith("FAILED: off by")


def test_threads_that_differ_in_the_last_bit_are_seen(monkeypatch):
    exact = selftest.scan

    def rounded(*net, threads):
        chi = exact(*net, threads=threads)["chi"]
        return {"chi": np.nextafter(chi, np.inf) if threads == 1 else chi}

    monkeypatch.setattr(selftest, "scan", rounded)
    assert selftest.two_threads().startswith("FAILED: off by")
