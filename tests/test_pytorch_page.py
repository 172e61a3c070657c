"""docs/pytorch.md: its table is what the code does."""

from pathlib import Path

import pytest

PAGE = Path(__file__).parents[1] / "docs" / "pytorch.md"


def test_the_table_of_translated_modules_is_true():
    pytest.importorskip("torch")
    from torch_table import table

    assert table() in PAGE.read_text()
