"""How much memory is free, and what is said of what does not fit."""

import pytest

from fastmoments import memory


def test_the_system_says_how_much_is_free():
    free = memory.free_memory()
    assert free is None or 1e6 < free < 1e15


def test_what_does_not_fit_is_said(monkeypatch):
    monkeypatch.setattr(memory, "free_memory", lambda: 2_000_000_000)
    assert memory.excess(memory.SAFE * 2e9) is None
    assert memory.excess(6e9) == "takes 6.00 GB of memory, and 2.00 GB are free"
    monkeypatch.setattr(memory, "free_memory", lambda: None)
    assert memory.excess(1e30) is None


@pytest.mark.parametrize(("size", "said"), [(0, "0 MB"), (5e6, "5 MB"), (1.234e9, "1.23 GB")])
def test_bytes_as_people_read_them(size, said):
    assert memory.in_units(size) == said
