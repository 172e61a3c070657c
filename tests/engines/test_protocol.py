"""What engines and those behind them agree on."""

from hypothesis import given
from hypothesis import strategies as st

from fastmoments.engines.protocol import recorded_depths


def test_depths():
    assert recorded_depths(0, 5) == [0]
    assert recorded_depths(7, 3) == [3, 6, 7]
    assert recorded_depths(2, 10) == [2]


@given(st.integers(1, 300), st.integers(1, 300))
def test_depths_rise_in_steps_and_end_at_the_last(depth, every):
    depths = recorded_depths(depth, every)
    assert depths[-1] == depth
    assert all(one % every == 0 for one in depths[:-1])
    assert depths == sorted(set(depths)) and len(depths) == -(-depth // every)
