import pytest

import fastmoments as fm


@pytest.mark.parametrize("kind", [fm.MaxPool, fm.AvgPool])
def test_windows_of_all_pools_are_alike(kind):
    pool = kind(3, pad=1)
    assert pool.step == 3 and pool.output_grid((7, 8)) == (3, 3) and not pool.pointwise
    assert kind(3, stride=2, pad=None).output_grid((7, 8)) == (4, 4)
    assert kind(1).pointwise and not kind(1, stride=2).pointwise


@pytest.mark.parametrize("kind", [fm.MaxPool, fm.AvgPool])
@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"size": 0}, "size must be a whole number from 1"),
        ({"stride": 0}, "stride must be a whole number from 1"),
        ({"size": 3, "pad": 2}, "pad must be a whole number from 0 to 1, at most half of the size 3, not 2"),
    ],
)
def test_windows_out_of_range(kind, given, said):
    with pytest.raises(ValueError, match=f"{kind.__name__}: {said}"):
        kind(**given)
