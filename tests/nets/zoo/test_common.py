"""What published nets have in common."""

import pytest

import fastmoments as fm
from fastmoments.nets.zoo.common import conv, head, separated


def test_weights_have_the_variance_2_over_fan_out():
    layer = conv(3, 16, 64, 2)
    variance = layer.weights.gain / (9 * 16)
    assert variance == pytest.approx(2.0 / (9 * 64))
    assert layer.output_grid((32, 32)) == (16, 16) and conv(1, 3, 3).output_grid((5, 5)) == (5, 5)


def test_a_classifier_is_as_pytorch_draws_it():
    """Weights and biases are uniform within 1 / sqrt(fan in), of variance 1 / (3 fan in)."""
    _, dense = head(64, 10)
    assert dense.weights.gain / 64 == pytest.approx(1.0 / (3 * 64))
    assert dense.weights.bias_variance == pytest.approx(1.0 / (3 * 64))


def test_layers_are_separated():
    one, two, relu = fm.Conv(), fm.Dense(), fm.ReLU()
    assert separated([one, two], [relu]) == (one, relu, two) and separated([one], [relu]) == (one,)
