"""Graphs of operations become nested layers: what nests comes back, what does not is refused."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastmoments.nets.concat import Concat
from fastmoments.nets.fixed import Scale
from fastmoments.nets.graphs import CONCAT, SUM, Step, network, reduced
from fastmoments.nets.linear import Conv, Gaussian
from fastmoments.nets.network import Residual

counts = st.integers(1, 10**6)


def convolutions(gain):
    """A layer that no other is equal to."""
    return Conv(3, Gaussian(float(gain)))


@st.composite
def stacks(draw, depth=3):
    """Layers nested at random, each convolution with a gain of its own."""
    count = draw(st.integers(1, 3))
    return tuple(draw(layers(depth)) for _ in range(count))


@st.composite
def layers(draw, depth):
    kind = draw(st.sampled_from(("conv", "residual", "concat"))) if depth else "conv"
    if kind == "residual":
        branch = draw(stacks(depth - 1))
        return Residual(branch, draw(st.just(()) | st.just((convolutions(draw(counts)),))))
    if kind == "concat":
        return Concat([draw(st.just(())), draw(stacks(depth - 1)), draw(stacks(depth - 1))])
    return convolutions(draw(counts))


def graph(stack):
    """The steps of nested layers, as a trace would give them, and the name of the last."""
    steps = [Step("images")]

    def add(**given):
        steps.append(Step(f"step{len(steps)}", **given))
        return steps[-1].name

    def through(stack, start):
        for layer in stack:
            if isinstance(layer, Residual):
                ends = (through(layer.branch, start), through(layer.shortcut, start))
                start = add(inputs=ends, join=SUM)
            elif isinstance(layer, Concat):
                start = add(inputs=tuple(through(branch, start) for branch in layer.branches), join=CONCAT)
            else:
                start = add(inputs=(start,), layers=(layer,))
        return start

    return steps, through(stack, "images")


@settings(deadline=None)
@given(stacks())
def test_nested_layers_come_back(stack):
    assert canonical(reduced(*graph(stack)).layers) == canonical(stack)


def canonical(stack):
    """Layers as nested values in which the two ways of a sum have no order."""
    found = []
    for layer in stack:
        if isinstance(layer, Residual):
            found.append(("sum", *sorted((canonical(layer.branch), canonical(layer.shortcut)), key=repr)))
        elif isinstance(layer, Concat):
            found.append(("concat", *map(canonical, layer.branches)))
        else:
            found.append((layer.weights.gain,))
    return tuple(found)


A, B, C = (convolutions(gain) for gain in (1, 2, 3))


def test_the_way_with_more_weights_is_the_branch():
    steps = [
        Step("x"),
        Step("a", ("x",), (A,)),
        Step("b", ("x",), (B,)),
        Step("c", ("b",), (C,)),
        Step("+", ("a", "c"), join=SUM),
    ]
    assert reduced(steps, "+").layers == (Residual((B, C), (A,)),)


def test_a_growing_list_is_nested_concatenations():
    """A dense block whose layers concatenate all before them again."""
    steps = [
        Step("x"),
        Step("all0", ("x",), join=CONCAT),
        Step("a", ("all0",), (A,)),
        Step("all1", ("x", "a"), join=CONCAT),
        Step("b", ("all1",), (B,)),
        Step("all2", ("x", "a", "b"), join=CONCAT),
        Step("again", ("x", "a", "b"), join=CONCAT),
        Step("c", ("again",), (C,)),
    ]
    assert reduced(steps, "c").layers == (Concat([(), (A,)]), Concat([(), (B,)]), C)


def test_what_starts_at_zero_shuts_a_branch_off():
    steps = [
        Step("x"),
        Step("a", ("x",), (A,)),
        Step("zero", ("a",), (B,), zero=True),
        Step("scale", ("zero",), (Scale(0.5),)),
        Step("+", ("x", "scale"), join=SUM),
    ]
    assert reduced(steps, "+").layers == (Residual((A, B, Scale(0.5)), scale=0.0),)
    with pytest.raises(ValueError, match="The weights of zero are 0, and so is everything behind it"):
        reduced(steps, "scale")


def test_a_value_added_to_itself_is_twice_as_large():
    assert reduced([Step("x"), Step("+", ("x", "x"), join=SUM)], "+").layers == (Scale(2.0),)


def test_a_way_that_leaves_a_branch_is_refused():
    steps = [
        Step("x"),
        Step("a", ("x",), (A,)),
        Step("b", ("a",), (B,)),
        Step("+", ("x", "b"), join=SUM),
        Step("c", ("+",), (C,)),
        Step("last", ("c", "a"), join=SUM),
    ]
    with pytest.raises(ValueError, match=r"^What a computes is used in several places"):
        reduced(steps, "last")


def test_two_ways_without_weights_are_refused():
    steps = [Step("x"), Step("a", ("x",), (Scale(2.0),)), Step("+", ("x", "a"), join=SUM)]
    with pytest.raises(ValueError, match=r"^\+ adds two ways without weights"):
        reduced(steps, "+")


def test_the_stem_ends_at_the_first_unit():
    net = network([A, Residual((B,)), C], "mine")
    assert (net.stem, net.layers, net.name) == ((A,), (Residual((B,)), C), "mine")
    assert network([A, B], "flat").stem == ()
