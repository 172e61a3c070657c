"""Nodes in series against the enumeration of all paths."""

from hypothesis import given
from hypothesis import strategies as st

from fastmoments.engines.measured.series import between, in_series

GRAPHS = (
    st.integers(2, 9)
    .flatmap(
        lambda count: st.tuples(*(st.sets(st.integers(0, node - 1), max_size=3) for node in range(1, count)))
    )
    .map(lambda before: [set(), *before])
)


def paths(before, source, sink):
    if sink == source:
        return [[source]]
    return [[*path, sink] for node in before[sink] for path in paths(before, source, node)]


@given(GRAPHS, st.data())
def test_all_paths_pass(before, data):
    last = len(before) - 1
    sinks = data.draw(st.sets(st.integers(0, last), min_size=1, max_size=3))
    every = [path for sink in sinks for path in paths(before, 0, sink)]
    assert between(before, 0, sinks) == sorted(set().union(*every))
    if every and len(sinks) == 1:
        assert in_series(before, 0, sinks) == sorted(set.intersection(*map(set, every)))


def test_several_ends_part_the_way():
    before = [set(), {0}, {1}, {2}, {2}]
    assert in_series(before, 0, {3, 4}) == [0, 1, 2]
    assert in_series(before, 0, {2, 4}) == [0, 1, 2]
