"""Plain values as TOML."""

import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastmoments.nets.toml_text import NONE, folded, toml_text

keys = st.text()
plain = st.recursive(
    st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inside: st.lists(inside, max_size=3) | st.dictionaries(keys, inside, max_size=3),
)


@given(st.dictionaries(keys, plain))
def test_what_is_written_is_read_by_tomllib(table):
    assert tomllib.loads(toml_text(table)) == table


def test_one_line_for_each_table_of_an_array():
    table = {
        "name": "x",
        "pad": None,
        "layers": [{"type": "Residual", "branch": [{"type": "Conv", "gain": 0.1}, {"type": "ReLU"}]}],
    }
    assert (
        toml_text(table)
        == f"""\
name = "x"
pad = "{NONE}"
layers = [
    {{ type = "Residual", branch = [
        {{ type = "Conv", gain = 0.1 }},
        {{ type = "ReLU" }},
    ] }},
]
"""
    )


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ("", ""),
        ("abc", "abc"),
        ("aaa", "3(a)"),
        ("aab", "2(a)b"),
        ("xababab", "x3(ab)"),
        ("aabaab", "2(aab)"),
        ("abbbbcabbbbc", "2(abbbbc)"),
    ],
)
def test_repetitions_are_folded(given, wanted):
    def said(tables):
        return "".join(
            f"{each['repeat']}({said(each['layers'])})" if "repeat" in each else each["type"]
            for each in tables
        )

    assert said(folded([{"type": letter} for letter in given])) == wanted
