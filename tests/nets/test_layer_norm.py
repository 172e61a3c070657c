"""Layer and group norm: what they are, and what they refuse."""

import pytest

from fastmoments.nets.layer_norm import GroupNorm, LayerNorm


def test_what_they_take_their_statistics_over():
    assert (LayerNorm().image, LayerNorm(over="image").image, GroupNorm(4).image) == (False, True, True)
    assert (LayerNorm().parts, GroupNorm(4).parts) == (1, 4)
    assert GroupNorm(2).loc == "norm" and GroupNorm(2).output_grid((7, 5)) == (7, 5)


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (lambda: LayerNorm(-1.0), "LayerNorm: epsilon must be a finite non-negative number"),
        (lambda: LayerNorm(gamma=0.0), "LayerNorm: gamma must be a finite positive number"),
        (lambda: LayerNorm(over="batch"), "LayerNorm: over must be one of channels, image"),
        (lambda: GroupNorm(0), "GroupNorm: groups must be a positive whole number"),
        (lambda: GroupNorm(2, epsilon="a"), "GroupNorm: epsilon must be"),
    ],
)
def test_what_is_refused(made, said):
    with pytest.raises(ValueError, match=said):
        made()
