"""What may follow what: the law of a signal, rule by rule."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastmoments.maps import laws
from fastmoments.maps.laws import (
    ACTIVATED,
    CLOSED,
    DATA,
    DRAWN,
    GAUSSIAN,
    IMAGED,
    LEAKY,
    MIXED,
    NORMALISED,
    RECTIFIED,
    SUMMED,
    law_after,
    law_after_stack,
)
from fastmoments.nets import families
from fastmoments.nets.activations import Abs, LeakyReLU, ReLU
from fastmoments.nets.concat import Concat
from fastmoments.nets.dense import Dense
from fastmoments.nets.fixed import AvgPool, Flatten
from fastmoments.nets.layer_norm import GroupNorm, LayerNorm
from fastmoments.nets.linear import Conv
from fastmoments.nets.max_pool import MaxPool
from fastmoments.nets.network import Network, Residual
from fastmoments.nets.norms import BatchNorm

LAWS = (DATA, GAUSSIAN, NORMALISED, RECTIFIED, LEAKY, ACTIVATED, MIXED, SUMMED, CLOSED, IMAGED)
CONV, NORM, RELU, BENT = Conv(), BatchNorm(), ReLU(), LeakyReLU(0.1)
POPULATION = BatchNorm(statistics="population")
POOL, DEEP = MaxPool(), Conv(groups="depthwise")

#: The law behind a layer by the law before it; what is not here is refused.
RULES = {
    CONV: dict.fromkeys(LAWS, GAUSSIAN),
    NORM: {GAUSSIAN: NORMALISED},
    LayerNorm(): {**dict.fromkeys(LAWS[1:-1], MIXED), GAUSSIAN: GAUSSIAN},
    GroupNorm(2): {**dict.fromkeys(set(LAWS) - {DATA, IMAGED, MIXED}, MIXED), GAUSSIAN: GAUSSIAN},
    POPULATION: {**dict.fromkeys(LAWS[1:], MIXED), GAUSSIAN: GAUSSIAN, IMAGED: IMAGED},
    Dense(): dict.fromkeys(LAWS, GAUSSIAN),
    AvgPool(): {**dict.fromkeys(LAWS, MIXED), DATA: DATA, GAUSSIAN: GAUSSIAN, IMAGED: IMAGED},
    Flatten(): {**dict.fromkeys(LAWS, MIXED), DATA: DATA, IMAGED: IMAGED},
    RELU: {
        GAUSSIAN: RECTIFIED,
        NORMALISED: RECTIFIED,
        RECTIFIED: RECTIFIED,
        SUMMED: CLOSED,
        CLOSED: CLOSED,
    },
    BENT: dict.fromkeys((GAUSSIAN, NORMALISED, SUMMED), LEAKY),
}


def test_a_mixture_is_told_by_its_parts():
    found = laws.mixture([GAUSSIAN, laws.mixture([DRAWN, GAUSSIAN]), RECTIFIED])
    assert laws.parts(found) == (DRAWN, GAUSSIAN, RECTIFIED) and laws.unmixed(found) == MIXED
    assert laws.parts(GAUSSIAN) == () and laws.unmixed(GAUSSIAN) == GAUSSIAN
    assert laws.between_units(laws.mixture([NORMALISED, DRAWN])) == laws.mixture([MIXED, DRAWN])


def test_the_images_among_others_are_remembered_until_fresh_weights():
    assert (
        laws.unmixed(laws.mixture([GAUSSIAN, DATA])) == laws.unmixed(laws.mixture([MIXED, IMAGED])) == IMAGED
    )
    beside = Concat([(), (CONV,)])
    for behind in ((), (AvgPool(),), (AvgPool(), Residual([CONV])), (Residual([CONV]), DEEP, POPULATION)):
        net = Network([beside, *behind, LayerNorm(), CONV])
        with pytest.raises(ValueError, match=r"of a signal with few channels \(mixed with images\)"):
            laws.check(net)
    laws.check(Network([beside, CONV, LayerNorm()]))


def test_channels_of_a_mixture_go_through_what_treats_each_by_itself():
    dense = Concat([(), (NORM, RELU, CONV)])
    assert law_after_stack((dense,), GAUSSIAN) == laws.mixture([GAUSSIAN])
    assert law_after_stack((dense, NORM, RELU), GAUSSIAN) == laws.mixture([RECTIFIED])
    assert law_after_stack((dense, NORM, RELU, CONV), GAUSSIAN) == GAUSSIAN
    assert law_after_stack((dense,), DRAWN) == laws.mixture([DRAWN, GAUSSIAN])
    assert law_after_stack((dense, NORM), DRAWN) == laws.mixture([DRAWN, NORMALISED])
    assert law_after_stack((dense, AvgPool()), GAUSSIAN) == MIXED
    assert law_after_stack((Residual([dense, CONV]),), GAUSSIAN) == GAUSSIAN
    # A MaxPool behind it has the branches drawn to their ends.
    ends = Concat([(CONV, NORM, RELU), (CONV,)])
    assert law_after_stack((ends, ends, POOL), GAUSSIAN) == laws.mixture([DRAWN])
    assert laws.drawn_to_end((CONV, NORM, RELU), DRAWN) and not laws.drawn_to_end((AvgPool(),), DRAWN)
    assert not laws.drawn_to_end((CONV, NORM, RELU), laws.mixture([GAUSSIAN, RECTIFIED]))


@pytest.mark.parametrize("before", LAWS)
@pytest.mark.parametrize("layer", RULES, ids=lambda layer: type(layer).__name__)
def test_the_table_of_laws(layer, before):
    if before in RULES[layer]:
        assert law_after(layer, before) == RULES[layer][before]
    else:
        with pytest.raises(ValueError, match=f"{type(layer).__name__} of a signal .*\\({before}\\)"):
            law_after(layer, before)


@pytest.mark.parametrize(
    ("unit", "behind"),
    [
        (Residual([RELU, CONV]), GAUSSIAN),
        (Residual([CONV, NORM]), SUMMED),
        (Residual([CONV], [CONV, RELU]), SUMMED),
        (Residual([CONV], [CONV]), GAUSSIAN),
    ],
)
def test_a_sum_is_gaussian_if_both_sides_are(unit, behind):
    assert law_after(unit, GAUSSIAN) == behind


def test_images_and_sums_of_unknown_laws_stay_unknown():
    for law, behind in ((DATA, IMAGED), (IMAGED, IMAGED), (MIXED, MIXED)):
        assert law_after(Residual([CONV, NORM]), law) == behind
        assert law_after(Residual([CONV, NORM], scale=0.0), law) == law


def test_a_branch_that_ends_in_an_activation_is_refused():
    with pytest.raises(ValueError, match="the branch ends in a ReLU without fresh weights"):
        law_after(Residual([CONV, RELU]), GAUSSIAN)


STACKS = st.lists(st.sampled_from([CONV, RELU, NORM]), max_size=6)


def test_a_relu_of_a_leaky_relu_is_not_taken_for_itself():
    assert law_after(RELU, law_after(Abs(), GAUSSIAN)) == RECTIFIED
    with pytest.raises(ValueError, match="leaky"):
        law_after(RELU, law_after(BENT, GAUSSIAN))


@given(STACKS, STACKS)
def test_a_stack_has_the_law_of_its_layers_one_by_one(one, other):
    """Unless it is refused one by one: only the whole stack can be drawn where it was Gaussian last."""

    def law(*stacks):
        found = DATA
        try:
            for stack in stacks:
                found = law_after_stack(stack, found)
        except ValueError as problem:
            return str(problem)
        return found

    whole = law((*one, *other))
    assert whole == law((Network(one), Network(other)))
    assert law(tuple(one), tuple(other)) == whole or law(tuple(one), tuple(other)) not in (*LAWS, DRAWN)


@pytest.mark.parametrize(
    ("layers", "starts", "behind"),
    [
        ([CONV, RELU, NORM], {"0"}, DRAWN),
        ([CONV, CONV, RELU, NORM], {"2"}, DRAWN),
        ([CONV, RELU, CONV, NORM, RELU, POOL, CONV, NORM], {"3"}, NORMALISED),
        ([CONV, NORM, RELU, POOL, CONV, RELU, POOL], {"0", "5"}, DRAWN),
        ([CONV, NORM, RELU, DEEP, NORM, RELU, CONV], {"0"}, GAUSSIAN),
        ([CONV, RELU, DEEP, CONV], set(), GAUSSIAN),
        ([CONV, RELU, DEEP], set(), MIXED),
        ([CONV, POOL, Residual([NORM, RELU, CONV]), NORM], {"0"}, DRAWN),
        ([CONV, RELU, Residual([CONV, NORM]), RELU], set(), CLOSED),
        ([CONV, RELU, Residual([CONV], [CONV]), RELU], set(), RECTIFIED),
        ([Residual([CONV], [CONV]), BENT, BENT], {"1"}, DRAWN),
        ([Dense(), RELU, NORM], {"0"}, DRAWN),
    ],
)
def test_channels_are_drawn_where_the_signal_was_gaussian_last(layers, starts, behind):
    """Of the first Conv the weights are, on the images."""
    assert laws.course([(str(i), layer) for i, layer in enumerate(layers)], DATA) == (behind, starts)


def test_what_was_never_gaussian_is_not_drawn():
    for layers in ([POOL, CONV], [NORM, CONV], [RELU], [CONV, DEEP, CONV][1:]):
        with pytest.raises(ValueError, match="is not covered at infinite width"):
            laws.check(Network(layers))


@pytest.mark.parametrize("name", families.FAMILIES)
def test_presets_are_covered(name):
    laws.check(families.FAMILIES[name](3))


def test_a_station_between_units_forgets_a_batch_norm():
    """So a ReLU that begins the unit behind one that ends in a batch norm is drawn, but a Conv is not."""
    assert not laws.check(Network([CONV, NORM, CONV]))
    assert not laws.check(Network([CONV, NORM, RELU]))
    assert laws.check(Network([RELU, CONV], stem=[CONV, NORM])) == {"stem.0"}


def test_a_beta_is_drawn():
    assert not laws.check(Network([CONV, BatchNorm(gamma=2.0), RELU]))
    assert laws.check(Network([CONV, BatchNorm(beta=0.1), RELU])) == {"layers.0"}


def test_noise_moves_the_statistics_of_every_batch_norm_or_of_none():
    through = BatchNorm(noise="through")
    laws.check(Network([CONV, through, RELU] * 2))
    with pytest.raises(ValueError, match='noise="frozen" and of "through" is not covered'):
        laws.check(Network([CONV, through, RELU, Residual([NORM, RELU, CONV])]))


def test_what_is_nearly_linear_is_refused_beside_batch_norm():
    leaky = LeakyReLU(0.4)
    laws.check(Network([CONV, leaky]))
    laws.check(Network([CONV, NORM, LeakyReLU(0.2)]))
    with pytest.raises(ValueError, match=r"slope=0.4\) keeps signal and noise correlated"):
        laws.check(Network([CONV, leaky, CONV, NORM]))
