import pytest

from fastmoments.nets.norms import BatchNorm


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: BatchNorm(float("inf")), "epsilon"),
        (lambda: BatchNorm(statistics="all"), "BatchNorm: statistics must be one of batch, population"),
        (
            lambda: BatchNorm(noise="through", statistics="population"),
            'moves statistics="batch", and no others',
        ),
        (lambda: BatchNorm(noise="thru"), "BatchNorm: noise must be one of frozen, through, not 'thru'"),
    ],
)
def test_wrong_parameters_are_refused_in_one_sentence(make, words):
    with pytest.raises(ValueError, match=words) as caught:
        make()
    assert "\n" not in str(caught.value)
